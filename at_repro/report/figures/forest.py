"""The forest plot: effects with their intervals, one below the other."""

from textwrap import shorten

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from at_repro.claims import CONTRADICTED, SUPPORTED
from at_repro.report.figures.theme import INK, PALETTE, WIDTH, stamped, style, unavailable

_COLOURS = {SUPPORTED: PALETTE[2], CONTRADICTED: PALETTE[3]}


def forest(compared: pd.DataFrame, stamp: str) -> Figure:
    """Differences of test errors with their 95 % intervals: filled in the paper's setting, open in a shortened one.

    Args:
        compared: columns comparison, difference, low, high (points), setting and verdict, see `claims.comparisons`.
    """
    if compared.empty:
        return unavailable(stamp)
    style()
    names = list(dict.fromkeys(compared["comparison"]))
    figure, axis = plt.subplots(figsize=(WIDTH, 1 + 0.24 * len(names)))
    axis.axvline(0, color=INK, linewidth=1)
    for row in compared.itertuples():
        own = row.setting == "the paper's"
        colour = _COLOURS.get(row.verdict, INK)
        place = names.index(row.comparison) + (-0.17 if own else 0.17)
        axis.hlines(place, row.low, row.high, color=colour, linewidth=1.5)
        axis.plot(row.difference, place, "o", color=colour, markerfacecolor=colour if own else "none", markersize=5)
    axis.set(ylim=(len(names) - 0.4, -0.6), xlabel="difference of test errors (points)")
    axis.set_yticks(range(len(names)), [shorten(name, 50, placeholder=" …") for name in names], fontsize=7)
    axis.grid(visible=False, axis="y")
    marks = [Line2D([], [], color=colour, marker="o", label=verdict) for verdict, colour in _COLOURS.items()]
    marks += [
        Line2D([], [], color=INK, marker="o", label="undecided"),
        Line2D([], [], color=INK, marker="o", markerfacecolor="none", label="hollow: fewer epochs"),
    ]
    axis.legend(handles=marks, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False)
    return stamped(figure, stamp)
