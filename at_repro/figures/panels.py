"""Panels of images and their attention maps."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from at_repro.data import ImageSet
from at_repro.figures.theme import ATTENTION, WIDTH, stamped, style, unavailable


def map_panel(images: ImageSet | None, rows: dict[str, Tensor], stamp: str) -> Figure:
    """A column per image; the image on top and its attention maps below, at their own resolution.

    Each map is scaled to its own maximum: dark is no attention, bright is the most of this map.

    Args:
        images: the images, uint8 (N, 3, H, W).
        rows: maps (N, h, w) by the label of their row.
    """
    if images is None or not rows:
        return unavailable(stamp)
    style()
    count, tall = len(images), 1 + len(rows)
    left, top, bottom = 1.1, 0.25, 0.3  # inches, for row labels, class names and the stamp
    cell = (WIDTH - left) / count
    height = top + cell * tall + bottom
    figure, axes = plt.subplots(tall, count, figsize=(WIDTH, height), squeeze=False, layout="none")
    figure.subplots_adjust(left / WIDTH, bottom / height, 1, 1 - top / height, 0.05, 0.05)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    for column in range(count):
        axes[0, column].imshow(images.images[column].permute(1, 2, 0).cpu().numpy())
        axes[0, column].set_title(images.classes[images.labels[column]], fontsize=7)
        for row, maps in enumerate(rows.values(), 1):
            axes[row, column].imshow(maps[column].cpu().numpy(), cmap=ATTENTION, vmin=0, interpolation="nearest")
    for axis, label in zip(axes[:, 0], ["image", *rows], strict=True):
        axis.set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center")
    return stamped(figure, stamp)


def overlay_panel(
    images: ImageSet | None, columns: dict[str, Tensor], titles: Sequence[str], stamp: str, width: float = 0.55 * WIDTH
) -> Figure:
    """A row per photograph: the photograph, and each of its maps laid over it in grey.

    Each map covers the whole photograph at its own resolution, a square per place, so that no detail is invented; its
    colours run from 0 to its own maximum, see the bar below.

    Args:
        images: the photographs, uint8 (N, 3, H, W).
        columns: maps (N, h, w), not negative, by the label of their column.
        titles: what stands above each row, one line per photograph.
        width: of the figure, in inches.
    """
    if images is None or not columns:
        return unavailable(stamp)
    style()
    count, wide = len(images), 1 + len(columns)
    cell, gap, top, bottom = width / wide, 0.16, 0.14, 0.42  # inches, for titles, column labels, and bar and stamp
    height = top + count * (cell + gap) + bottom
    figure, axes = plt.subplots(count, wide, figsize=(width, height), squeeze=False, layout="none")
    figure.subplots_adjust(0, bottom / height, 1, 1 - (top + gap) / height, 0.02, gap / cell)
    for axis in axes.flat:
        axis.axis("off")
    photographs = images.images.permute(0, 2, 3, 1).cpu().numpy()
    extent = (0, photographs.shape[2], photographs.shape[1], 0)
    for row, (photograph, title) in enumerate(zip(photographs, titles, strict=True)):
        axes[row, 0].imshow(photograph)
        axes[row, 0].set_title(title, fontsize=6, loc="left", pad=1.5)
        grey = photograph @ np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601
        for axis, maps in zip(axes[row, 1:], columns.values(), strict=True):
            axis.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
            colours = {"cmap": ATTENTION, "vmin": 0, "alpha": 0.65}
            shown = axis.imshow(maps[row].cpu().numpy(), **colours, extent=extent, interpolation="nearest")
    for place, label in enumerate(["photograph", *columns]):
        figure.text((place + 0.5) / wide, 1 - 0.02 / height, label, fontsize=6, ha="center", va="top")
    bar = figure.add_axes((0.3, 0.3 / height, 0.4, 0.07 / height))
    figure.colorbar(shown, cax=bar, orientation="horizontal", ticks=[]).solids.set_alpha(1)
    for place, label, side in ((-0.03, "no attention", "right"), (1.03, "the most of this map", "left")):
        bar.text(place, 0.5, label, transform=bar.transAxes, fontsize=6, ha=side, va="center")
    return stamped(figure, stamp)
