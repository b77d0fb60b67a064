"""Panels of images and their attention maps."""

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import Tensor

from at_repro.analysis.map_statistics import LUMINANCE
from at_repro.data import ImageSet
from at_repro.report.figures.theme import ATTENTION, DIFFERENCE, LETTERS, OVERLAY_OPACITY, WIDTH, canvas, unavailable

_BELOW = 0.3  # inches below the rows, for two bars


def map_panel(images: ImageSet | None, columns: dict[str, Tensor], stamp: str) -> Figure:
    """A row per image: the image, and its attention maps at their own resolution, a square per position.

    Each map is scaled to its own maximum: dark is no attention, bright is the most of this map. Maps with negative
    values are differences: their colours run from as much less to as much more, with nothing in the middle.

    Args:
        images: the images, uint8 (N, 3, H, W).
        columns: maps (N, h, w) by the label of their column, which is broken at ", ".
    """
    if images is None or not columns:
        return unavailable(stamp)
    count, wide = len(images), 1 + len(columns)
    is_signed = {label: (maps < 0).any().item() for label, maps in columns.items()}
    labels = [label.replace(", ", "\n") for label in ("image", *columns)]
    left = 0.8  # inches, for class names
    top = 0.12 + 0.12 * max(label.count("\n") + 1 for label in labels)
    cell = min(0.85, (WIDTH - left) / wide)
    width = min(WIDTH, left + cell * wide)
    height = top + cell * count + _BELOW
    figure, axes = canvas(stamp, height, count, wide, width=width, squeeze=False, layout="none")
    figure.subplots_adjust(left / width, _BELOW / height, 1, 1 - top / height, 0.05, 0.05)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    for row, name in enumerate(images.names):
        axes[row, 0].imshow(images.images[row].permute(1, 2, 0).cpu().numpy())
        axes[row, 0].set_ylabel(name, fontsize=LETTERS, rotation=0, ha="right", va="center", parse_math=False)
        for index, (label, maps) in enumerate(columns.items(), 1):
            most = maps[row].abs().max().item() or 1
            colours = {"cmap": DIFFERENCE, "vmin": -most} if is_signed[label] else {"cmap": ATTENTION, "vmin": 0}
            axes[row, index].imshow(maps[row].cpu().numpy(), **colours, vmax=most, interpolation="nearest")
    for axis, label in zip(axes[0], labels, strict=True):
        axis.set_title(label, fontsize=LETTERS, pad=3)
    if not all(is_signed.values()):
        _bar(figure, _BELOW - 0.12, ATTENTION, "no attention", "the most of this map")
    if any(is_signed.values()):
        _bar(figure, _BELOW - (0.12 if all(is_signed.values()) else 0.22), DIFFERENCE, "less", "more")
    return figure


def overlay_panel(
    images: ImageSet | None, columns: dict[str, Tensor], titles: Sequence[str], stamp: str, width: float = 0.55 * WIDTH
) -> Figure:
    """A row per photograph: the photograph, and each of its maps laid over it in grey.

    Each map covers the whole photograph at its own resolution, a square per position, so that no detail is invented;
    its colours run from 0 to its own maximum, see the bar below.

    Args:
        images: the photographs, uint8 (N, 3, H, W).
        columns: maps (N, h, w), not negative, by the label of their column, which is broken at ", ".
        titles: what stands above each row, one line per photograph.
        width: of the figure, in inches.
    """
    if images is None or not columns:
        return unavailable(stamp)
    count, wide = len(images), 1 + len(columns)
    labels = [label.replace(", ", "\n") for label in ("image", *columns)]
    top = 0.02 + 0.12 * max(label.count("\n") + 1 for label in labels)  # inches; for the labels of columns
    cell, gap = width / wide, 0.16
    height = top + count * (cell + gap) + _BELOW
    figure, axes = canvas(stamp, height, count, wide, width=width, squeeze=False, layout="none")
    figure.subplots_adjust(0, _BELOW / height, 1, 1 - (top + gap) / height, 0.02, gap / cell)
    for axis in axes.flat:
        axis.axis("off")
    photographs = images.images.permute(0, 2, 3, 1).cpu().numpy()
    extent = (0, photographs.shape[2], photographs.shape[1], 0)
    for row, (photograph, title) in enumerate(zip(photographs, titles, strict=True)):
        axes[row, 0].imshow(photograph)
        axes[row, 0].set_title(title, fontsize=LETTERS, loc="left", pad=1.5, parse_math=False)
        grey = photograph @ np.array(LUMINANCE)
        for axis, maps in zip(axes[row, 1:], columns.values(), strict=True):
            axis.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
            colours = {"cmap": ATTENTION, "vmin": 0, "alpha": OVERLAY_OPACITY}
            axis.imshow(maps[row].cpu().numpy(), **colours, extent=extent, interpolation="nearest")
    for index, label in enumerate(labels):
        figure.text((index + 0.5) / wide, 1 - 0.02 / height, label, fontsize=LETTERS, ha="center", va="top")
    _bar(figure, _BELOW - 0.12, ATTENTION, "no attention", "the most of this map", OVERLAY_OPACITY)
    return figure


def _bar(figure: Figure, bottom: float, colours: str, least: str, most: str, alpha: float = 1) -> None:
    """A colour bar so many inches above the figure's lower edge, with what its ends mean; over grey if transparent."""
    height = figure.get_figheight()
    axis = figure.add_axes((0.3, bottom / height, 0.4, 0.07 / height))
    axis.set_facecolor("0.5")
    bar = figure.colorbar(ScalarMappable(cmap=colours), cax=axis, orientation="horizontal", ticks=[])
    if bar.solids is not None:  # as it is for lines
        bar.solids.set_alpha(alpha)
    for across, label, alignment in ((-0.03, least, "right"), (1.03, most, "left")):
        axis.text(across, 0.5, label, transform=axis.transAxes, fontsize=LETTERS, ha=alignment, va="center")
