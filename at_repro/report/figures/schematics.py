"""What the method does to one picture, drawn with the maps that trained networks really have of it.

Positions are inches from the upper left corner. Letters are large: pages show these figures smaller than they are
drawn, and whole on a phone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from at_repro import attention
from at_repro.analysis import map_statistics
from at_repro.data import ImageSet
from at_repro.report.figures.theme import ATTENTION, COLOURS, INK, canvas, unavailable

_WIDTH = 5.2
_LETTERS = 9.5  # points
_CARDS = 8  # channels of a stack


def transfer(images: ImageSet | None, groups: Mapping[str, Sequence[Tensor]], stamp: str) -> Figure:
    """Attention transfer (the paper's Figure 1b): teacher, student, their maps, and what is added to the loss.

    Args:
        images: the first one is shown.
        groups: activations (N, C, H, W), low to top, of teacher, student, and AT, the student after transfer, see
            `network_maps.groups`.
    """
    if images is None or not {"teacher", "student", "AT"} <= groups.keys():
        return unavailable(stamp)
    maps = {name: [attention.power_sum(group)[:1] for group in own] for name, own in groups.items()}
    figure, axis = _canvas(stamp, 4.08)
    size, lefts = 0.8, [1.12 + 0.97 * index for index in range(len(maps["teacher"]))]
    rows = {"teacher": (0.05, 0.48), "student": (3.68, 2.8)}  # of boxes and of maps, the upper edges
    middle, end = 1.52, lefts[-1] + size
    _show(axis, images.images[0].permute(1, 2, 0).cpu().numpy(), 0.05, middle, size)
    _write(axis, 0.05 + size / 2, middle - 0.07, "image")
    for name, (boxes, top_of_maps) in rows.items():
        colour = COLOURS[name]
        arrow_from, arrow_to = (middle - 0.2, boxes + 0.35) if name == "teacher" else (middle + size, boxes)
        _arrow(axis, (0.45, arrow_from), (0.45, arrow_to))
        _write(axis, 0.45, boxes + 0.17, name, weight="bold")
        for index, left in enumerate(lefts):
            _, channels, height, width = groups[name][index].shape
            axis.add_patch(FancyBboxPatch((left + 0.04, boxes + 0.04), size - 0.08, 0.26, "round,pad=0.04",
                                          edgecolor=colour, facecolor=(*colour, 0.15)))  # fmt: skip
            _write(axis, left + size / 2, boxes + 0.17, f"group {index + 1}\n{channels}×{height}×{width}", fontsize=8)
            _arrow(axis, (left - 0.17 if index else 0.8, boxes + 0.17), (left, boxes + 0.17))
            _show_map(axis, maps[name][index][0], left, top_of_maps, size)
        _arrow(axis, (end, boxes + 0.17), (end + 0.2, boxes + 0.17))
        _write(axis, end + 0.23, boxes + 0.17, "scores of\nclasses", ha="left")
        _write(axis, end + 0.23, top_of_maps + size / 2, f"{name}'s\nmaps", ha="left")
    for index, left in enumerate(lefts):
        same = dict(zip(maps, attention.same_size(*(own[index] for own in maps.values())), strict=True))
        own, target = (attention.normalize(same[name])[0] for name in ("student", "teacher"))
        _show_map(axis, (own - target).abs(), left, middle, size, target.max().item())
        before, after = (map_statistics.distance(same[name], same["teacher"]).item() for name in ("student", "AT"))
        _write(axis, left + size / 2, middle + size + 0.15, f"{before:.2f} → {after:.2f}")
        _arrow(axis, (left + size / 2, rows["teacher"][1] + size), (left + size / 2, middle))
        _arrow(axis, (left + size / 2, rows["student"][1]), (left + size / 2, middle + size + 0.28))
    _write(axis, end + 0.23, middle + size / 2, "difference:\nadded to\nthe loss", ha="left")
    _write(axis, end + 0.23, middle + size + 0.15, "→ after AT", ha="left")
    return figure


def mappings(groups: Sequence[Tensor], stamp: str) -> Figure:
    """From channels to one map (the paper's Figure 2): the strongest channels of a middle group, and a map per mapping
    function.

    Args:
        groups: activations (N, C, H, W), low to top, of the first image; empty: nothing is drawn.
    """
    if not groups:
        return unavailable(stamp)
    activations = groups[len(groups) // 2][:1]
    figure, axis = _canvas(stamp, 1.55)
    strongest = activations[0].square().sum((1, 2)).argsort(descending=True, stable=True)[:_CARDS].tolist()
    size, step = 0.7, 0.06
    for index, channel in enumerate(reversed(strongest)):
        at = step * (len(strongest) - 1 - index)
        _show_map(axis, activations[0, channel].abs(), 0.02 + at, 0.2 + step * len(strongest) - step - at, size)
    _write(axis, 0.6, 0.1, f"{activations.shape[1]} channels")
    wide = (_WIDTH - 1.75) / len(attention.MAPPINGS)
    _arrow(axis, (1.22, 0.75), (1.7, 0.75))
    for index, name in enumerate(attention.MAPPINGS):
        left = 1.75 + index * wide
        _show_map(axis, attention.mapping(name)(activations)[0], left, 0.75 - wide / 2 + 0.02, wide - 0.05)
        weight = "bold" if name == "sum-2" else "normal"
        _write(axis, left + wide / 2 - 0.02, 0.75 + wide / 2 + 0.1, name, weight=weight)
    _write(axis, 1.75 + wide * len(attention.MAPPINGS) / 2, 0.1, "power, then sum or maximum")
    return figure


def pairing(blocks: Mapping[str, Sequence[Sequence[Tensor]]], stamp: str) -> Figure:
    """A student and a deeper teacher (the paper's Figure 5): only the ends of groups are compared.

    Args:
        blocks: of student and teacher, by group the maps (N, H, W) after each of its blocks, of the first image, see
            `network_maps.of_blocks`.
    """
    if not {"student", "teacher"} <= blocks.keys():
        return unavailable(stamp)
    counts = {name: max(map(len, groups)) for name, groups in blocks.items()}
    gap, below = 0.35, 0.33
    size = (_WIDTH - gap) / (counts["student"] + counts["teacher"])
    lefts = {"student": 0.0, "teacher": size * counts["student"] + gap}
    figure, axis = _canvas(stamp, 0.2 + len(blocks["student"]) * (size + below))
    for name, left in lefts.items():
        _write(axis, left, 0.08, f"{name}, {counts[name]} blocks", ha="left", weight="bold")
    for group, of_group in enumerate(zip(blocks["student"], blocks["teacher"], strict=True)):
        top = 0.2 + group * (size + below)
        ends = []
        for name, maps in zip(("student", "teacher"), of_group, strict=True):
            for index, own in enumerate(maps):
                _show_map(axis, own[0], lefts[name] + size * index, top, size - 0.05)
            ends.append(lefts[name] + size * (len(maps) - 1))
            corner, width = (ends[-1], top), size - 0.05
            axis.add_patch(Rectangle(corner, width, width, fill=False, edgecolor=COLOURS["AT"], linewidth=2))
        line = top + size + 0.1
        across = [end + size / 2 for end in ends]
        axis.plot([across[0], *across, across[1]], [line - 0.15, line, line, line - 0.15], color=COLOURS["AT"])
        away = map_statistics.distance(of_group[0][-1][:1], of_group[1][-1][:1]).item()
        _write(axis, sum(across) / 2, line + 0.09, f"group {group + 1}: distance {away:.2f}")
    return figure


def _canvas(stamp: str, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches, and axes with a place for each of them."""
    figure, axis = canvas(stamp, height, width=_WIDTH, layout="none")
    axis.set_position((0, 0, 1, 1))
    axis.set(xlim=(0, _WIDTH), ylim=(height, 0), autoscale_on=False)
    axis.axis("off")
    return figure, axis


def _show(axis: Axes, pixels: np.ndarray, left: float, top: float, size: float, **colours: Any) -> None:
    axis.imshow(pixels, extent=(left, left + size, top + size, top), interpolation="nearest", aspect="auto", **colours)


def _show_map(axis: Axes, pixels: Tensor, left: float, top: float, size: float, most: float | None = None) -> None:
    _show(axis, pixels.cpu().numpy(), left, top, size, cmap=ATTENTION, vmin=0, vmax=most or pixels.max().item() or 1)


def _write(
    axis: Axes, across: float, down: float, text: str, ha: str = "center", fontsize: float = _LETTERS, **font: Any
) -> None:
    axis.text(across, down, text, ha=ha, va="center", fontsize=fontsize, linespacing=1.1, **font)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK, "shrinkA": 1, "shrinkB": 1})
