"""Attention maps of any model for any pictures: a figure of the first ones, and the statistics of all."""

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import matplotlib.cbook
import matplotlib.pyplot as plt
import torch
from matplotlib.backend_bases import FigureCanvasBase
from torch import Tensor, nn

from at_repro import attention, files, networks
from at_repro.analysis import map_statistics, network_maps
from at_repro.analysis.any_model import Model, load_model
from at_repro.data import ImageSet, augment, decoding, folders
from at_repro.errors import ParameterError, check_choice, check_count, foreign_code, printable
from at_repro.report import figures
from at_repro.training import engine

KINDS = ("activation", "gradient", "grad-cam")
"""Maps of activations (section 3.1), of the loss's gradient by the image (section 3.2), Grad-CAM of the top layer."""

DRAWN = 8
"""How many pictures a figure shows."""

_BATCH = 16
_CSV_STATISTICS = ("entropy", "top share")


def draw(
    model: str,
    pictures: Sequence[str],
    output: str | Path,
    *,
    layers: Sequence[str] = (),
    mapping: str = "sum-2",
    kind: str = "activation",
    weights: str | None = None,
    layout: str | None = None,
    grid: tuple[int, int] | None = None,
    size: int | None = None,
    device: str = "auto",
    csv: str | Path | None = None,
) -> int:
    """Writes a figure of the first `DRAWN` pictures, each with what the model takes it for and its maps.

    Pictures are resized to the model's resolution and cropped to a square. With `csv` all are looked at, a batch at a
    time, however many they are; else those that are drawn.

    Args:
        model, weights: see `any_model.load_model`.
        pictures: files, and folders with files in them; none: one that matplotlib ships.
        output: the figure, in any format of matplotlib's that needs no other program.
        layers: names, low to top, as `networks.tap` takes them; none: see `networks.choose_layers`.
        mapping: of kind "activation", see `attention.mapping`.
        kind: one of `KINDS`.
        layout, grid: see `networks.tap`.
        size: the model's resolution in pixels; None: that of its weights, 32 of a CIFAR network, else 224.
        device: "auto", "cpu" or "cuda".
        csv: a file for entropy and top share of every map, in percent, see `map_statistics`.

    Returns:
        How many pictures were looked at.

    Raises:
        ParameterError: for a value that is not allowed, or no pictures, before anything is written.
        DataError: a file that is no picture, of all before anything is computed by their first bytes; weights that are
            not here, see `any_model.load_model`.
        UserError: where a file cannot be written.
    """
    check_choice("kind", kind, KINDS)
    attention.mapping(mapping)
    if size is not None:
        check_count("size", size)
    target = engine.device(device)
    output, table = files.output(output), None if csv is None else files.output(csv, "csv")
    formats = [f".{name}" for name in FigureCanvasBase.get_supported_filetypes() if name != "pgf"]  # which needs LaTeX
    if output.suffix.lower() not in formats:
        raise ParameterError("output", str(output), f"a name that ends with {', '.join(formats)}")
    paths = _paths(pictures)
    files_read = {path.resolve() for path in [*paths, *([Path(weights)] if weights else [])]}
    for parameter, file in (("output", output), ("csv", table)):
        if file in files_read:
            raise ParameterError(parameter, str(file), "a file that is not looked at itself")
    if output == table:
        raise ParameterError("csv", str(table), "another file than the figure's")
    paths = paths if table else paths[:DRAWN]
    for path in paths:
        with decoding.open_image(path):
            pass
    subject = load_model(model, weights)
    subject = subject if size is None else subject._replace(resolution=size)
    layers, network = _tap(model, subject, layers, layout, grid)
    network.to(target)
    source = weights or ("its own" if networks.is_function(model) else "published")
    drawn = mapping if kind == "activation" else kind
    with ExitStack() as stack:
        rows = None if table is None else stack.enter_context(files.replacement(table))
        for start in range(0, len(paths), _BATCH):
            part = paths[start : start + _BATCH]
            images, maps, titles = _look(part, network, target, subject, layers, kind, mapping)
            if start == 0:
                _save(images, maps, titles, output, f"{model}; weights: {source}; {', '.join(layers)}")
            if rows is not None:
                frame = map_statistics.tabulate({model: {drawn: maps}}, images, _CSV_STATISTICS)
                frame["image"] = [printable(str(part[index])) for index in frame["image"]]
                mode = "a" if start else "w"  # what a killed process left there is overwritten
                frame.to_csv(rows, mode=mode, header=start == 0, index=False, float_format="%.6g")
                count = start + len(part)
                if sys.stderr.isatty() or count == len(paths):
                    end = "\n" if count == len(paths) else "\r"
                    print(f"{count} of {len(paths)} pictures", end=end, file=sys.stderr, flush=True)
    return len(paths)


def _paths(pictures: Sequence[str]) -> list[Path]:
    """Files in their order, and those of folders, all that are called as pictures, in the order of their names."""
    if not pictures:
        return [Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))]
    paths: list[Path] = []
    for picture in pictures:
        path = Path(os.path.expanduser(picture))  # of `Path` these raise, for a home or a place that nobody may see
        is_file = os.path.isfile(path)
        files_below = path.rglob("*") if os.path.isdir(path) else ()
        inside = sorted(file for file in files_below if file.name.lower().endswith(folders.PICTURES))
        if not (is_file or inside):
            raise ParameterError("pictures", picture, "a file, or a folder with pictures")
        paths += [path] if is_file else inside
    return paths


def _tap(
    name: str, model: Model, layers: Sequence[str], layout: str | None, grid: tuple[int, int] | None
) -> tuple[Sequence[str], nn.Module]:
    """The layers that are looked at, and the model tapped at them, which was called once: somebody else's code."""
    size = model.resolution
    requirement = f"one that takes images (N, 3, {size}, {size}); --size gives another height and width"
    with foreign_code("model", name, requirement):
        images = torch.zeros(2, 3, size, size)
        layers = layers or networks.choose_layers(model.network, images, layout, grid)
        network = networks.tap(model.network, layers, layout, grid)
        with torch.no_grad():
            network(images)
    return layers, network


def _look(
    paths: Sequence[Path],
    network: nn.Module,
    target: torch.device,
    model: Model,
    layers: Sequence[str],
    kind: str,
    mapping: str,
) -> tuple[ImageSet, dict[str, Tensor], list[str]]:
    """Pictures, their maps (N, h, w) by the label of the layer, and a title for each."""
    pictures = torch.stack([folders.load_square(path, model.resolution) for path in paths])
    pixels = augment.normalize(pictures.to(target), *model.normalization).requires_grad_(kind != "activation")
    with torch.set_grad_enabled(kind != "activation"):
        output = network(pixels)
        classes = output.logits.reshape(len(paths), -1).argmax(1)  # (N,) of one score each
        maps = _maps(output, pixels, classes, layers, kind, mapping)
    predictions = [f": {model.categories[label]}" if model.categories else "" for label in classes]
    images = ImageSet("pictures", "test", pictures, torch.zeros(len(paths), dtype=torch.int64), ("",))
    return images, maps, [f"{printable(path.name)}{name}" for path, name in zip(paths, predictions, strict=True)]


def _grad_cam(output: networks.Output, layers: Sequence[str]) -> dict[str, Tensor]:
    """Of the highest layer whose positions reach the scores: of a transformer's last block the class token is read."""
    errors = []
    for layer, group in reversed(list(zip(layers, output.groups, strict=True))):
        try:
            return {f"Grad-CAM, {layer}": attention.grad_cam(output.logits.amax(1), group).cpu()}
        except ParameterError as error:
            errors.append(error)
    raise errors[0]


def _maps(
    output: networks.Output, pixels: Tensor, labels: Tensor, layers: Sequence[str], kind: str, mapping: str
) -> dict[str, Tensor]:
    if kind != "activation" and output.logits.dim() != 2:
        raise ParameterError("kind", kind, "activation, of a model whose logits are not (N, K)")
    if kind == "gradient":
        # Of a sure network the softmax is 1 in float32, and J would be 0; not all models can be run in float64.
        losses = torch.nn.functional.cross_entropy(output.logits.double(), labels, reduction="none")
        return {"gradient": attention.power_sum(attention.input_gradient(losses, pixels), p=1).cpu()}
    if kind == "grad-cam":
        return _grad_cam(output, layers)
    levels = network_maps.of_groups(output.groups, [mapping])[mapping]
    return {f"{level}: {layer}": maps for layer, (level, maps) in zip(layers, levels.items(), strict=True)}


def _save(images: ImageSet, maps: Mapping[str, Tensor], titles: Sequence[str], output: Path, stamp: str) -> None:
    columns = {label: of_layer[:DRAWN] for label, of_layer in maps.items()}
    figure = figures.overlay_panel(images.select(slice(DRAWN)), columns, titles[:DRAWN], stamp, figures.WIDTH)
    figure.text(0.01, 0, textwrap.fill(stamp, 100), va="top", fontsize=8, parse_math=False)
    with files.replacement(output) as path:
        figure.savefig(path, format=output.suffix.removeprefix("."), facecolor="white", bbox_inches="tight")
    plt.close(figure)
