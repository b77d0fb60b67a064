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
from matplotlib.path import Path
from matplotlib.transforms import Bbox
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


def unavailable(stamp: str) -> Figure:
    """A figure that only says why it cannot be drawn."""
    figure, axis = canvas("", 0.8)
    axis.axis("off")
    axis.text(0.5, 0.5, f"Nothing to show: {stamp}", ha="center", va="center", wrap=True, fontsize=LETTERS)
    return figure


def canvas(stamp: str, height: float, *grid: int, width: float = WIDTH, **settings: Any) -> tuple[Figure, Any]:
    """A figure in the house style, with the stamp as its label, and its axes, see `plt.subplots`; sizes in inches."""
    lines = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    colours = dict.fromkeys(lines, INK) | dict.fromkeys(grounds, "none")
    style = {"figure.dpi": 150, "figure.constrained_layout.use": True, "grid.alpha": 0.35}
    sns.set_theme("paper", "whitegrid", font_scale=1.1, rc=style | colours)
    figure, axes = plt.subplots(*grid, figsize=(width, height), **settings)
    figure.set_label(stamp)
    return figure, axes


def colour_of(method: str) -> Any:
    """Of a method of Table 1, a variant of it such as "AT, beta 327", or a teacher; INK of what is none of these."""
    name = "teacher" if method.startswith("teacher") else ALIASES.get(method, method.split(", ")[0])
    return COLOURS.get(name, INK)


def colours_of(names: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """By name, in their order. Names that are not in `COLOURS` take those of `SPARE`, never one of a method."""
    spare = itertools.cycle(SPARE)
    return {name: COLOURS.get(ALIASES.get(name, name)) or next(spare) for name in names}


def name_dots(figure: Figure, axis: Axes, across: pd.Series, up: pd.Series) -> None:
    """Writes each dot's label as near to it as it covers no dot, line or text, and joins what is not beside its dot.

    Ticks replace the grid, which would strike labels. Where nothing else is left what joins a label to its dot crosses
    another; a label without any room in the frame stands right of its dot.
    """
    axis.grid(visible=False)
    axis.tick_params(left=True, bottom=True, length=3, color=INK)
    figure.draw_without_rendering()  # so that positions on the paper are known
    point = figure.dpi / 72
    gap = 5 * point  # between a dot and its label; in pixels, as all that follows
    dots: np.ndarray = axis.transData.transform(np.column_stack([across, up]))
    covered = [Bbox([dot - 0.6 * gap, dot + 0.6 * gap]) for dot in dots]
    covered += [text.get_window_extent() for text in axis.texts]
    lines = [line.get_transform().transform_path(line.get_path()) for line in axis.lines]

    def is_free(box: Bbox) -> bool:
        return (
            axis.bbox.count_contains(box.get_points()) == 2
            and not box.count_overlaps(covered)
            and not any(line.intersects_bbox(box, filled=False) for line in lines)
        )

    def crosses(joint: Path) -> bool:
        dot = np.asarray(joint.vertices)[0]
        return any(joint.intersects_bbox(other) for other in covered if not other.contains(*dot))

    for index in up.argsort():
        at, text = (across.iloc[index], up.iloc[index]), str(up.index[index])
        trial = axis.text(0, 0, text, fontsize=LETTERS)
        places = _places(dots[index], np.array(trial.get_window_extent().size), gap)
        trial.remove()
        free = (place for place in places if is_free(place[0]))
        nearest = next(free, places[0])
        box, joint, towards = next((place for place in (nearest, *free) if not crosses(place[1])), nearest)
        covered.append(box.padded(0.8 * gap, 0))  # two numbers side by side would read as one
        lines.append(joint)
        is_far = np.ptp(joint.vertices, axis=0).max() > 1.5 * gap
        arrow = {"arrowstyle": "-", "color": INK, "linewidth": 0.6, "relpos": towards, "shrinkA": 0, "shrinkB": 0}
        axis.annotate(text, at, (box.min - dots[index]) / point, textcoords="offset points", fontsize=LETTERS,
                      va="bottom", arrowprops=arrow if is_far else None)  # fmt: skip


def _places(dot: np.ndarray, size: np.ndarray, gap: float) -> list[tuple[Bbox, Path, np.ndarray]]:
    """Around a dot, the nearest first: a label's box, what joins them, and where that ends in the box, from 0 to 1."""
    places = []
    degrees = sorted(range(0, 360, 15), key=lambda angle: abs((angle + 90) % 180 - 90))  # beside it sooner than above
    for distance, angle in itertools.product(gap * np.arange(1, 20), np.radians(degrees)):
        way = np.array([np.cos(angle), np.sin(angle)])
        towards = (1 - np.clip(1.5 * way, -1, 1)) / 2
        end = dot + distance * way
        lower = end - size * towards
        places.append((Bbox([lower, lower + size]), Path([dot, end]), towards))
    return places


def name_lines(figure: Figure) -> None:
    """Writes each full line's label right of its axes, and apart from the other labels.

    What joins it to the line's end is dotted: it may cross a part of the axes which the line does not reach.
    """
    figure.draw_without_rendering()  # so that heights on the paper are known
    for axis in figure.axes:
        lines = [line for line in axis.lines if line.get_linestyle() == "-" and np.size(line.get_xdata())]
        if not lines:
            continue
        ends = np.array([(np.asarray(line.get_xdata())[-1], np.asarray(line.get_ydata())[-1]) for line in lines])
        heights = axis.transAxes.inverted().transform(axis.transData.transform(ends))[:, 1]
        line_height = (LETTERS + 2) / (axis.bbox.height * 72 / figure.dpi)  # of the axes' height
        for line, end, position in zip(lines, ends, apart(heights, line_height), strict=True):
            joint = {"arrowstyle": "-", "color": line.get_color(), "linewidth": 1, "linestyle": ":", "relpos": (0, 0.5),
                     "shrinkB": 0}  # fmt: skip
            axis.annotate(str(line.get_label()), (end[0], end[1]), (1.05, position), "data", "axes fraction", joint,
                          va="center", fontsize=LETTERS)  # fmt: skip


def apart(values: ArrayLike, distance: float) -> np.ndarray:
    """The positions nearest to these values, by their squares, that are so far apart and in the same order."""
    order = np.argsort(values, kind="stable")
    steps = distance * np.arange(len(order))
    positions = np.empty(len(order))
    positions[order] = isotonic_regression(np.take(values, order) - steps).x + steps
    return positions
