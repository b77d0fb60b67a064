"""Plots of what was measured of attention maps."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from at_repro.report.figures.theme import (
    ATTENTION,
    COLOURS,
    INK,
    WIDTH,
    colours_of,
    name_dots,
    stamped,
    style,
    unavailable,
)


def norms(measured: pd.DataFrame, stamp: str) -> Figure:
    """Norms of raw maps per level on a log axis: the median of all images, and the range that 95 % of them lie in.

    A line at 1 marks where `attention.normalize` brings every one of them.

    Args:
        measured: columns network, level, norm, see `network_maps.norms`.
    """
    if measured.empty:
        return unavailable(stamp)
    figure = _by_level(measured, "norm", "l2 norm of the map", 3.4, stamp, log=True,
                       estimator="median", errorbar=("pi", 95), markersize=6, linestyle="none")  # fmt: skip
    (axis,) = figure.axes
    axis.axhline(1, color=INK, linestyle="--", linewidth=1)
    axis.annotate("after\nnormalisation", (1.01, 1), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    return figure


def matrices(frames: dict[str, pd.DataFrame], stamp: str, most: float = 1.0, digits: int = 2) -> Figure:
    """Numbers in a matrix per level, coloured from 0 to `most`.

    Args:
        frames: by level, see `network_maps.mapping_correlations`.
        digits: behind the point.
    """
    if not frames:
        return unavailable(stamp)
    style()
    tall = 1.4 + 0.24 * max(len(frame) for frame in frames.values())
    figure, axes = plt.subplots(1, len(frames), figsize=(WIDTH, tall), squeeze=False)
    for place, (axis, (level, frame)) in enumerate(zip(axes[0], frames.items(), strict=True)):
        sns.heatmap(
            frame, vmin=0, vmax=most, cmap=ATTENTION, annot=True, fmt=f".{digits}f", annot_kws={"size": 7}, ax=axis,
            cbar=False, yticklabels=place == 0,
        )  # fmt: skip
        axis.set(title=level, xlabel="", ylabel="")
        axis.tick_params(labelsize=7, rotation=0)
        axis.tick_params("x", rotation=45)
    return stamped(figure, stamp)


def against_error(table: pd.DataFrame, quantity: str, stamp: str) -> Figure:
    """What was measured of maps at every level against the test error: a plot per level, a dot per network.

    A dot carries its label in the frame; methods of Table 1 have their colour, and all others are hollow.

    Args:
        table: index the labels; columns test_error (percent), then one per level, and before them maybe method; see
            `collection.distance_and_error` and `collection.table`.
        quantity: what was measured, with its unit.
    """
    levels = list(table.columns[table.columns.get_loc("test_error") + 1 :])
    table = table.dropna(subset=levels)
    if table.empty:
        return unavailable(stamp)
    style()
    figure, axes = plt.subplots(1, len(levels), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    methods = table["method"] if "method" in table else pd.Series("", table.index)
    colours = [COLOURS.get(method, "none") for method in methods]
    edges = [COLOURS.get(method, INK) for method in methods]
    longest = max(len(str(label)) for label in table.index)
    for axis, level in zip(axes[0], levels, strict=True):
        axis.scatter(table[level], table["test_error"], facecolors=colours, edgecolors=edges, zorder=3)
        axis.set_title(level)
        axis.margins(x=0.1, y=0.1)
        low, high = axis.get_xlim()  # room for the label of a dot at the right edge
        axis.set_xlim(low, high + 0.06 * longest * (high - low))
    axes[0, 0].set_ylabel("test error (%)")
    axes[0, len(levels) // 2].set_xlabel(quantity)
    named = {method: COLOURS[method] for method in pd.unique(methods) if method in COLOURS}
    if named:
        marks = [Line2D([], [], color=colour, marker="o", linestyle="none") for colour in named.values()]
        figure.legend(marks, named, loc="outside upper center", ncols=len(named), frameon=False)
    stamped(figure, stamp)
    figure.draw_without_rendering()  # so that places on the paper are known
    for axis, level in zip(axes[0], levels, strict=True):
        name_dots(axis, table[level], table["test_error"])
    return figure


def _by_level(
    measured: pd.DataFrame, value: str, label: str, height: float, stamp: str, log: bool = False, **marks
) -> Figure:
    """A column of the frame against the levels, in one colour per network; `marks` are seaborn's."""
    if measured.empty:
        return unavailable(stamp)
    style()
    figure, axis = plt.subplots(figsize=(WIDTH, height))
    order = list(pd.unique(measured["network"]))
    sns.pointplot(
        measured,
        x="level",
        y=value,
        hue="network",
        hue_order=order,
        palette=colours_of(order),
        dodge=0.3 if len(order) > 1 else False,  # seaborn divides by the number of others
        ax=axis,
        **marks,
    )
    axis.set(xlabel="level", ylabel=label, **{"yscale": "log"} if log else {"ylim": (0, None)})
    sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), title=None, frameon=False)
    return stamped(figure, stamp)
