"""Plots of test errors by method, and by the gradient norm of its term."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from at_repro.report.figures.theme import COLOURS, INK, WIDTH, name_dots, stamped, style, unavailable


def error_panels(tables: Mapping[str, pd.DataFrame], stamp: str, sharex: bool = False) -> Figure:
    """Test errors of several tables, a panel each, one above the other: ours with their interval, the paper's hollow.

    Dashed, with its interval, the plain student of the table. A method without an error has its reason instead.

    Args:
        tables: by the panel's title, see `tables.errors`.
        sharex: whether all panels have one axis, since all are of the same images; what they share stands in the first.
    """
    if sharex:
        first, *others = tables
        known = tables[first].index
        tables = {first: tables[first]} | {title: tables[title].drop(known, errors="ignore") for title in others}
    if all(table[["ours", "paper"]].isna().all(axis=None) for table in tables.values()):
        return unavailable(stamp)
    style()
    reference = next(iter(tables.values()))
    heights = [1.6 + len(table) for table in tables.values()]
    figure, axes = plt.subplots(
        len(tables), 1, figsize=(WIDTH, 0.4 + 0.24 * sum(heights)), height_ratios=heights, sharex=sharex, squeeze=False
    )
    for axis, (title, table) in zip(axes[:, 0], tables.items(), strict=True):
        _plain_student(axis, reference if sharex else table, along=axis.axvspan, across=axis.axvline)
        places = range(len(table))
        colours = [COLOURS.get(method, COLOURS["AT"]) for method in table.index]
        axis.hlines(places, table["low"], table["high"], color=colours, linewidth=2)
        axis.scatter(table["ours"], places, c=colours, zorder=3)
        axis.scatter(table["paper"], places, facecolors="none", edgecolors=colours, marker="D", s=22, zorder=3)
        for place, (_, row) in enumerate(table.iterrows()):
            if pd.isna(row["ours"]):
                reason = "diverged" if row.get("diverged") else "not run"
                axis.annotate(reason, (1, place), (-4, 0), axis.get_yaxis_transform(), "offset points",
                              ha="right", va="center", fontsize=7, color=INK, style="italic")  # fmt: skip
        axis.set(yticks=places, yticklabels=table.index, ylim=(len(table) - 0.4, -0.6))
        axis.set_title(title, loc="left", fontsize=9, fontweight="bold")
        axis.tick_params(labelsize=8)
    axes[-1, 0].set_xlabel("test error (%)")
    marks = {
        "ours, with its interval": Line2D([], [], color=INK, marker="o"),
        "paper": Line2D([], [], color=INK, marker="D", markerfacecolor="none", linestyle="none"),
        "plain student": Line2D([], [], color=COLOURS["student"], linestyle="--"),
    }
    if all(table["paper"].isna().all() for table in tables.values()):
        del marks["paper"]
    figure.legend(marks.values(), marks, loc="outside upper right", ncols=3, frameon=False, fontsize=8)
    return stamped(figure, stamp)


def gradient_norms(tables: Mapping[str, pd.DataFrame], norms: pd.Series, stamp: str) -> Figure:
    """Test error against the gradient norm of each method's term at the untrained student, a named dot per method.

    With intervals; a line joins what differs in beta alone; dashed, the plain student. What diverged has no error: it
    is named in the corner, with its norm. Methods without a norm, and those that are not run, are not drawn.

    Args:
        tables: see `tables.errors`; of a run that is in several of them, only the last is drawn.
        norms: by method, see `gradient_norms_at_init`.
    """
    table = pd.concat(tables.values())
    terms = table.join(norms.rename("gradient norm"), how="inner").sort_values("gradient norm")
    terms = terms[(terms["diverged"] > 0) | ~terms["run_id"].duplicated("last")]
    ended, diverged = terms[terms["ours"].notna()], terms[terms["diverged"] > 0]
    if ended.empty:
        return unavailable(stamp)
    style()
    figure, axis = plt.subplots(figsize=(WIDTH, 4.4))
    _plain_student(axis, table[~table.index.duplicated()], along=axis.axhspan, across=axis.axhline)
    for _, of_one in ended.groupby(ended.index.str.split(", beta").str[0]):
        axis.plot(of_one["gradient norm"], of_one["ours"], color=COLOURS["AT"], linewidth=1, alpha=0.5)
    axis.vlines(ended["gradient norm"], ended["low"], ended["high"], color=COLOURS["AT"], linewidth=1, alpha=0.25)
    axis.scatter(ended["gradient norm"], ended["ours"], color=COLOURS["AT"], zorder=3)
    axis.set(xscale="log", xlabel="gradient norm of the term at the initial weights", ylabel="test error (%)")
    axis.margins(x=0.3)
    if len(diverged):
        named = [f"{method}, at {norm:.2g}" for method, norm in diverged["gradient norm"].items()]
        axis.text(0.98, 0.03, "\n".join(["diverged:", *named]), transform=axis.transAxes, ha="right", fontsize=7)
    stamped(figure, stamp)
    figure.draw_without_rendering()  # so that places on the paper are known
    name_dots(axis, ended["gradient norm"], ended["ours"])
    return figure


def _plain_student(axis: Axes, table: pd.DataFrame, along: Callable, across: Callable) -> None:
    """Dashed, with its interval, the plain student, where the table has one: what all others are held against."""
    if "student" in table.index and pd.notna((plain := table.loc["student"])["ours"]):
        along(plain["low"], plain["high"], color=COLOURS["student"], alpha=0.15, linewidth=0)
        across(plain["ours"], color=COLOURS["student"], linestyle="--", linewidth=1, label="student")
