"""Plots of what was measured of attention maps."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from at_repro.report.figures.theme import (
    COLOURS,
    INK,
    WIDTH,
    name_dots,
    stamped,
    style,
    unavailable,
)


def against_error(table: pd.DataFrame, quantity: str, stamp: str) -> Figure:
    """What was measured of maps at every level against the test error: a plot per level, a dot per network.

    A dot carries its label in the frame; methods of Table 1 have their colour, and all others are hollow.

    Args:
        table: index the labels; columns test_error (percent), then one per level, and before them maybe method; see
            `across_studies.distance_and_error` and `across_studies.table`.
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
