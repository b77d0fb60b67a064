"""Networks as scripts that a page can run: the reader's own picture is looked at in the browser, without a server.

This module writes a network's operations and weights; `book/_assets/own_picture.js` runs them by TensorFlow.js. They
are scripts and no data files, since a page that was opened from a file may load nothing else.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from at_repro import data, experiments, files, networks
from at_repro.data import cifar10
from at_repro.errors import DataError, ParameterError
from at_repro.networks import imagenet
from at_repro.records import Store
from at_repro.runs import Run

Node = Any  # a `torch.fx.Node`, whose arguments may be anything

FOLDER = "own_picture"
"""Below the book's `_assets`, made when the book is built: packages and records have these 14 MB of weights already."""

PHOTOGRAPHS = "efficientnet-lite0"


def flagship() -> dict[str, Run]:
    """The runs that look at the reader's picture at 32 x 32 pixels, by their names: of the paper's full length."""
    columns = experiments.get("wrn-16-2-to-16-1").runs("paper", [0])[0]
    return {name: columns[name] for name in ("student", "AT", "teacher")}


def write(assets: Path, store: Store, students: Mapping[str, Run]) -> list[str]:
    """Writes the scripts of the book's page into `FOLDER` of its assets; returns which networks could not be, and why.

    Args:
        assets: the folder of the book's static files.
        store: with the records of the students.
        students: runs on CIFAR-10, by their names for readers.

    Raises UserError where the disk refuses.
    """
    folder, lacking = assets / FOLDER, []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        network = imagenet.pretrained(PHOTOGRAPHS)
    except DataError as error:
        lacking.append(f"{PHOTOGRAPHS} ({error})")
    else:
        values = describe(network, imagenet.RESOLUTIONS[PHOTOGRAPHS], data.normalization("photographs@64"))
        _write(folder / "photographs.js", {PHOTOGRAPHS: values | {"classes": imagenet.CATEGORIES}})
    small = {}
    for name, run in students.items():
        record = store.find(run)
        if record is None or not record.has_network:
            lacking.append(f"{name} (no weights of {run.run_id})")
            continue
        network = networks.build(run.network, len(cifar10.CLASSES))
        network.load_state_dict(record.weights())
        small[name] = describe(network, 32, data.normalization(run.dataset)) | {"classes": cifar10.CLASSES}
    _write(folder / "students.js", small)
    return lacking


def _write(path: Path, networks: Mapping[str, dict]) -> None:
    with files.replacement(path) as temporary:
        temporary.write_text(f"Object.assign(window.atReproNetworks ??= {{}}, {json.dumps(networks)});\n")


def describe(network: nn.Module, resolution: int, normalization: tuple[Sequence[float], Sequence[float]]) -> dict:
    """What a page needs to run a network: its operations in order, and its weights.

    Args:
        network: of this package; batch norms are folded where that can be done.
        resolution: of its images, in pixels.
        normalization: mean and standard deviation of each channel, in units of 0 to 255.

    Returns:
        For JSON: `resolution`, `mean`, `std`, `steps` (each an operation, its result's number, its inputs' numbers and
        its settings; number 0 is the image, (1, H, W, 3)), `groups` and `logits`, numbers of results, and `weights`,
        float16 in base64, in which a tensor is given by where it begins and its shape, channels last.

    Raises:
        ParameterError: for a network with an operation that is not known here.
    """
    folded = networks.fold_batch_norms(network)
    with torch.no_grad():
        traced = make_fx(lambda image: tuple(folded(image)))(torch.zeros(1, 3, resolution, resolution))
    writer = _Writer(traced)
    for node in traced.graph.nodes:
        writer.add(node)
    (logits, groups) = next(iter(reversed(traced.graph.nodes))).args[0]
    mean, std = (list(map(float, values)) for values in normalization)
    return {
        "resolution": resolution,
        "mean": mean,
        "std": std,
        "steps": writer.steps,
        "groups": [writer.numbers[group] for group in groups],
        "logits": writer.numbers[logits],
        "weights": base64.b64encode(torch.cat(writer.weights).half().numpy().astype("<f2").tobytes()).decode(),
    }


class _Writer:
    """Translates the nodes of a traced network one by one."""

    def __init__(self, traced: fx.GraphModule):
        self.traced = traced
        self.steps: list[list] = []
        self.numbers: dict[Node, int] = {}
        self.padded: dict[Node, tuple[Node, list[list[int]]]] = {}  # an image and what a convolution adds to its sides
        self.weights: list[Tensor] = []
        self.size = 0

    def add(self, node: Node) -> None:
        if node.op == "placeholder":
            self.numbers[node] = 0
        elif node.op == "call_function":
            name = getattr(node.target, "__name__", str(node.target)).partition(".")[0].rstrip("_")
            if name not in _OPERATIONS:
                raise ParameterError("network", f"one with the operation {name}", sorted(_OPERATIONS))
            _OPERATIONS[name](self, node)

    def step(self, node: Node, operation: str, inputs: Sequence[Node], **settings: Any) -> None:
        if alone := [each for each in inputs if each in self.padded]:
            raise ParameterError("network", f"one that pads {alone[0]} for {operation}", "padding before convolutions")
        self.numbers[node] = 1 + len(self.steps)
        self.steps.append([operation, self.numbers[node], [self.numbers[each] for each in inputs], settings])

    def tensor(self, node: Node) -> Tensor:
        """The constant that a node of the kind "get_attr" stands for."""
        return getattr(self.traced, node.target).detach()

    def store(self, values: Tensor) -> list:
        """Keeps a tensor, and returns where it begins and its shape."""
        begin = self.size
        self.weights.append(values.flatten())
        self.size += values.numel()
        return [begin, list(values.shape)]


def _convolution(writer: _Writer, node: Node) -> None:
    image, weight, bias, stride, (padding, _), _, _, _, groups = node.args
    # Part of the convolution, which costs nothing there.
    image, sides = writer.padded.get(image, (image, [[padding, padding]] * 2))
    kernel = writer.tensor(weight)
    depthwise = groups > 1
    # (out, in / groups, height, width) to (height, width, in, out), or where each channel has its own, (…, in, 1)
    kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(2, 3, 1, 0)
    biases = torch.zeros(writer.tensor(weight).shape[0]) if bias is None else writer.tensor(bias)
    writer.step(node, "depthwise" if depthwise else "convolution", [image], kernel=writer.store(kernel),
                bias=writer.store(biases), stride=stride[0], padding=[[0, 0], *sides, [0, 0]])  # fmt: skip


def _batch_norm(writer: _Writer, node: Node) -> None:
    image, weight, bias, mean, variance = node.args[:5]
    weight, bias, mean, variance = (writer.tensor(each).double() for each in (weight, bias, mean, variance))
    scale = weight / (variance + node.args[-1]).sqrt()
    writer.step(
        node, "scale", [image], by=writer.store(scale.float()), plus=writer.store((bias - mean * scale).float())
    )


def _item(writer: _Writer, node: Node) -> None:
    source, index = node.args
    if index == 0:  # of a batch norm; the others are statistics
        writer.numbers[node] = writer.numbers[source]


def _binary(writer: _Writer, node: Node, by: bool) -> None:
    first, second = node.args
    if second.op != "get_attr":
        writer.step(node, "add", [first, second])
        return
    constant = writer.tensor(second).flatten()
    pair = (constant, torch.zeros_like(constant)) if by else (torch.ones_like(constant), constant)
    writer.step(node, "scale", [first], by=writer.store(pair[0]), plus=writer.store(pair[1]))


def _pad(writer: _Writer, node: Node) -> None:
    image, (left, right, up, down), _ = node.args
    writer.padded[node] = image, [[up, down], [left, right]]


def _linear(writer: _Writer, node: Node) -> None:
    bias, image, weight = node.args
    values = writer.tensor(weight.args[0])  # transposed before
    writer.step(node, "linear", [image], weight=writer.store(values.T), bias=writer.store(writer.tensor(bias)))


_OPERATIONS: dict[str, Callable[[_Writer, Node], None]] = {
    "convolution": _convolution,
    "native_batch_norm": _batch_norm,
    "getitem": _item,
    "add": lambda writer, node: _binary(writer, node, False),
    "mul": lambda writer, node: _binary(writer, node, True),
    "constant_pad_nd": _pad,
    "relu": lambda writer, node: writer.step(node, "clip", [node.args[0]], most=None),
    "hardtanh": lambda writer, node: writer.step(node, "clip", [node.args[0]], most=node.args[2]),
    "mean": lambda writer, node: writer.step(node, "mean", [node.args[0]]),
    "addmm": _linear,
    "t": lambda writer, node: None,
    "empty": lambda writer, node: None,
}
