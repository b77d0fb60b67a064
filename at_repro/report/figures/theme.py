"""The house style of every figure: width, colours, letters.

A figure has no ground of its own, and its letters and lines are of a grey that can be read on a light page and on a
dark one.
"""

import itertools
from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

ATTENTION = "viridis"  # perceptually uniform, and readable for the colour-blind
INK = "0.46"  # its contrast is 4.6 to 1 with white, and 3.9 to 1 with the book's dark pages
DIFFERENCE = "vlag"  # seaborn's, from blue through white to red
OVERLAY_OPACITY = 0.65  # of maps over photographs
PALETTE = sns.color_palette("colorblind")
# One colour per method, on every page.
COLOURS = {
    "student": PALETTE[7],
    "AT": PALETTE[0],
    "F-ActT": PALETTE[4],
    "KD": PALETTE[1],
    "AT+KD": PALETTE[2],
    "teacher": PALETTE[3],
}
ALIASES = dict.fromkeys(("sum-2", "all groups", "code form, beta 1000"), "AT")  # what other tables call that column
# For everything that is no method: the rest of the palette, then the same darker and lighter.
_REST = [colour for colour in PALETTE if colour not in COLOURS.values()]
SPARE = [*_REST, *(sns.set_hls_values(colour, l=lightness) for lightness in (0.25, 0.8) for colour in _REST)]
WIDTH = 7.5  # inches; the text column of the book
NARROW = 4.0  # inches; what is seen whole on a phone
LETTERS = 8  # points, of the smallest letters: the book's style sheet shows them on a phone with 9 pixels


def style() -> None:
    """The house style, for every figure that follows."""
    lines = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    colours = dict.fromkeys(lines, INK) | dict.fromkeys(grounds, "none")
    settings = {"figure.dpi": 150, "figure.constrained_layout.use": True, "grid.alpha": 0.35}
    sns.set_theme("paper", "whitegrid", font_scale=1.1, rc=settings | colours)


def unavailable(stamp: str) -> Figure:
    """A figure that only says why it cannot be drawn."""
    style()
    figure, axis = plt.subplots(figsize=(WIDTH, 0.8))
    axis.axis("off")
    axis.text(0.5, 0.5, f"Nothing to show: {stamp}", ha="center", va="center", wrap=True, fontsize=LETTERS)
    return figure


def canvas(stamp: str, height: float, *grid: int, width: float = WIDTH, **settings: Any) -> tuple[Figure, Any]:
    """A figure in the house style, with the stamp as its label, and its axes, see `plt.subplots`; sizes in inches."""
    style()
    figure, axes = plt.subplots(*grid, figsize=(width, height), **settings)
    figure.set_label(stamp)
    return figure, axes


def colours_of(names: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """By name, in their order. Names that are not in `COLOURS` take those of `SPARE`, never one of a method."""
    spare = itertools.cycle(SPARE)
    method = {name: ALIASES.get(name, name) for name in names}
    return {name: COLOURS[method[name]] if method[name] in COLOURS else next(spare) for name in method}


def name_dots(axis: Axes, across: pd.Series, up: pd.Series) -> None:
    """Writes each dot's label beside it, and higher where it would cover another dot or the label of a lower one."""
    letter, line, gap = 0.7 * LETTERS, LETTERS + 1, 4  # points
    point = axis.figure.dpi / 72
    dots = axis.transData.transform(np.column_stack([across, up])) / point
    boxes = [(x - gap, x + gap, y - line / 2) for x, y in dots]  # from left to right, and the lower edge

    def free(left: float, right: float, lower: float) -> bool:
        covers = (left < end and start < right and abs(lower - other) < line for start, end, other in boxes)
        return axis.bbox.x0 < left * point and right * point < axis.bbox.x1 and not any(covers)

    for index in up.argsort():
        label, (x, y) = str(up.index[index]), dots[index]
        wide, lower = letter * len(label), y - line / 2
        spans = {"left": (x + gap, x + gap + wide), "right": (x - gap - wide, x - gap)}  # by the label's alignment
        while not (alignments := [alignment for alignment, span in spans.items() if free(*span, lower)]):
            lower += 1
        alignment = alignments[0]
        boxes.append((*spans[alignment], lower))
        at, offset = (across.iloc[index], up.iloc[index]), (gap if alignment == "left" else -gap, lower - y + 1)
        axis.annotate(label, at, offset, textcoords="offset points", fontsize=LETTERS, ha=alignment)


def name_lines(figure: Figure) -> None:
    """Writes each full line's label right of its axes, joined to the line's end, and apart from the other labels."""
    figure.draw_without_rendering()  # so that heights on the paper are known
    for axis in figure.axes:
        lines = [line for line in axis.lines if line.get_linestyle() == "-" and np.size(line.get_xdata())]
        ends = np.array([(np.asarray(line.get_xdata())[-1], np.asarray(line.get_ydata())[-1]) for line in lines])
        heights = axis.transAxes.inverted().transform(axis.transData.transform(ends))[:, 1]
        line_height = (LETTERS + 2) / (axis.bbox.height * 72 / figure.dpi)  # of the axes' height
        for line, end, position in zip(lines, ends, apart(heights, line_height), strict=True):
            colour = line.get_color()
            joint = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "relpos": (0, 0.5), "shrinkB": 0}
            axis.annotate(str(line.get_label()), (end[0], end[1]), (1.05, position), "data", "axes fraction", joint,
                          va="center", color=colour, fontsize=LETTERS)  # fmt: skip


def apart(values: ArrayLike, distance: float) -> np.ndarray:
    """The positions nearest to these values, by their squares, that are so far apart and in the same order."""
    order = np.argsort(values, kind="stable")
    steps = distance * np.arange(len(order))
    positions = np.empty(len(order))
    positions[order] = isotonic_regression(np.take(values, order) - steps).x + steps
    return positions
