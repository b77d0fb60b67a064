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

from at_repro import data, experiments, files, networks
from at_repro.data import cifar10
from at_repro.errors import DataError, ParameterError
from at_repro.networks import imagenet
from at_repro.records import Store
from at_repro.runs import Run

FOLDER = "own_picture"
"""Below the book's `_assets`, made when the book is built: packages and records have these 14 MB of weights already."""

PHOTOGRAPH_NETWORK = "efficientnet-lite0"


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
    folder, absences = assets / FOLDER, []
    folder.mkdir(parents=True, exist_ok=True)
    large, small = {}, {}
    try:
        network = imagenet.pretrained(PHOTOGRAPH_NETWORK)
    except DataError as error:
        absences.append(f"{PHOTOGRAPH_NETWORK} ({error})")
    else:
        values = describe(network, imagenet.RESOLUTIONS[PHOTOGRAPH_NETWORK], data.normalization("photographs@64"))
        large[PHOTOGRAPH_NETWORK] = values | {"classes": imagenet.CATEGORIES}
    for name, run in students.items():
        record = store.find(run)
        if record is None or not record.has_network:
            absences.append(f"{name} (no weights of {run.run_id})")
            continue
        network = networks.build(run.network, len(cifar10.CLASSES))
        network.load_state_dict(record.weights())
        small[name] = describe(network, 32, data.normalization(run.dataset)) | {"classes": cifar10.CLASSES}
    _write(folder / "photographs.js", large)  # empty where it is not here: one script that is missing stops the others
    _write(folder / "students.js", small)
    return absences


def _write(path: Path, networks: Mapping[str, dict]) -> None:
    files.write(path, f"Object.assign(window.atReproNetworks ??= {{}}, {json.dumps(networks)});\n")


def describe(network: nn.Module, resolution: int, normalization: tuple[Sequence[float], Sequence[float]]) -> dict:
    """What a page needs to run a network: its operations in order, and its weights.

    Args:
        network: of this package; batch norms are folded where that can be done.
        resolution: of its images, in pixels.
        normalization: mean and standard deviation of each channel, in units of 0 to 255.

    Returns:
        For JSON: `resolution`, `mean`, `std`, `steps` (each an operation, its inputs' numbers and its settings;
        number 0 is the image, (1, H, W, 3), n what the n-th step gives), `groups` and `logits`, numbers of results, and
        `weights`, float16 in base64, in which a tensor is given by where it begins and its shape, channels last.

    Raises:
        ParameterError: for a network with an operation that is not known here.
    """
    writer = _Writer(fx.symbolic_trace(networks.fold_batch_norms(network)))
    with torch.no_grad():
        logits, groups = writer.run(torch.zeros(1, 3, resolution, resolution))
    mean, std = (list(map(float, values)) for values in normalization)
    return {
        "resolution": resolution,
        "mean": mean,
        "std": std,
        "steps": writer.steps,
        "groups": [writer.numbers[id(group)] for group in groups],
        "logits": writer.numbers[id(logits)],
        "weights": base64.b64encode(torch.cat(writer.weights).half().numpy().astype("<f2").tobytes()).decode(),
    }


class _Writer(fx.Interpreter):
    """Runs a traced network on an image, and writes each operation down with its weights."""

    def __init__(self, graph: fx.GraphModule):
        super().__init__(graph, garbage_collect_values=False)
        self.steps: list[list] = []
        self.numbers: dict[int, int] = {}  # of results, by the id of their tensor: all stay until the end
        self.padding: dict[int, tuple[Tensor, list[list[int]]]] = {}  # an image and what is added to its sides
        self.weights: list[Tensor] = []

    def run_node(self, n: fx.Node) -> Any:
        result, (args, _) = super().run_node(n), self.fetch_args_kwargs_from_env(n)
        if n.op == "placeholder":
            self.numbers[id(result)] = 0
        elif n.op.startswith("call_") and isinstance(result, Tensor):  # the others are sizes
            layers = [self.fetch_attr(str(n.target))] if n.op == "call_module" else []
            name = type(layers[0]).__name__ if layers else getattr(n.target, "__name__", n.target)
            if name not in _OPERATIONS:
                raise ParameterError("network", f"one with the operation {name}", sorted(_OPERATIONS))
            _OPERATIONS[name](self, result, *layers, *args)
        return result

    def step(self, result: Tensor, operation: str, *inputs: Tensor, **settings: Any) -> None:
        self.steps.append([operation, [self.numbers[id(each)] for each in inputs], settings])
        self.numbers[id(result)] = len(self.steps)

    def store(self, values: Tensor) -> list:
        """Keeps a tensor, and returns where it begins and its shape."""
        begin = sum(map(torch.numel, self.weights))
        self.weights.append(values.detach().flatten())
        return [begin, list(values.shape)]


def _convolution(writer: _Writer, result: Tensor, layer: nn.Conv2d, image: Tensor) -> None:
    # Padding is part of the convolution, which costs nothing there.
    image, sides = writer.padding.get(id(image), (image, [[layer.padding[0]] * 2] * 2))
    depthwise = layer.groups > 1
    # (out, in / groups, height, width) to (height, width, in, out), or where each channel has its own, (…, in, 1)
    kernel = writer.store(layer.weight.permute(2, 3, 0, 1) if depthwise else layer.weight.permute(2, 3, 1, 0))
    bias = writer.store(torch.zeros(layer.out_channels) if layer.bias is None else layer.bias)
    writer.step(result, "depthwise" if depthwise else "convolution", image, kernel=kernel, bias=bias,
                stride=layer.stride[0], padding=[[0, 0], *sides, [0, 0]])  # fmt: skip


def _batch_norm(writer: _Writer, result: Tensor, layer: nn.BatchNorm2d, image: Tensor) -> None:
    state = {name: value.double() for name, value in layer.state_dict().items()}
    scale = state["weight"] / (state["running_var"] + layer.eps).sqrt()
    plus = state["bias"] - state["running_mean"] * scale
    writer.step(result, "scale", image, by=writer.store(scale.float()), plus=writer.store(plus.float()))


def _add(writer: _Writer, result: Tensor, first: Tensor, second: Tensor) -> None:
    if id(second) in writer.numbers:
        return writer.step(result, "add", first, second)
    constant = second.flatten()
    writer.step(result, "scale", first, by=writer.store(torch.ones_like(constant)), plus=writer.store(constant))


def _multiply(writer: _Writer, result: Tensor, image: Tensor, constant: Tensor) -> None:
    by = constant.flatten()
    writer.step(result, "scale", image, by=writer.store(by), plus=writer.store(torch.zeros_like(by)))


def _pad(writer: _Writer, result: Tensor, image: Tensor, sides: Sequence[int]) -> None:
    left, right, up, down = sides
    writer.padding[id(result)] = image, [[up, down], [left, right]]


def _linear(writer: _Writer, result: Tensor, layer: nn.Linear, image: Tensor) -> None:
    writer.step(result, "linear", image, weight=writer.store(layer.weight.T), bias=writer.store(layer.bias))


_OPERATIONS: dict[str, Callable[..., None]] = {
    "Conv2d": _convolution,
    "BatchNorm2d": _batch_norm,
    "Linear": _linear,
    "Identity": lambda writer, result, layer, image: None,
    "ReLU6": lambda writer, result, layer, image: writer.step(result, "clip", image, most=6.0),
    "relu": lambda writer, result, image: writer.step(result, "clip", image, most=None),
    "mean": lambda writer, result, image, axes: writer.step(result, "mean", image),
    "add": _add,
    "mul": _multiply,
    "pad": _pad,
}
