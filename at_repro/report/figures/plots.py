"""Plots of what was measured: test errors, gains, curves, what maps have to do with errors, and what training costs."""

from collections.abc import Callable, Mapping

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from at_repro.report.figures.theme import (
    COLOURS,
    INK,
    LETTERS,
    NARROW,
    PALETTE,
    canvas,
    colour_of,
    colours_of,
    name_dots,
    name_lines,
    unavailable,
)


def error_panels(tables: Mapping[str, pd.DataFrame], stamp: str, sharex: bool = False) -> Figure:
    """Test errors of several tables, a panel each, one above the other: ours with their interval, the paper's hollow.

    Dashed, with its interval, the plain student of the table. Methods are broken at ", "; one without an error has its
    reason instead.

    Args:
        tables: by the panel's title, see `error_tables.by_method`.
        sharex: whether all panels have one axis, since all are of the same images; what they share stands in the first.
    """
    if sharex:
        first, *others = tables
        first_methods = tables[first].index
        tables = {first: tables[first]} | {
            title: tables[title].drop(first_methods, errors="ignore") for title in others
        }
    if all(table[["ours", "paper"]].isna().all(axis=None) for table in tables.values()):
        return unavailable(stamp)
    reference = next(iter(tables.values()))
    rows = [1.6 + len(table) for table in tables.values()]
    is_broken = any(", " in method for table in tables.values() for method in table.index)
    height = 0.4 + (0.3 if is_broken else 0.24) * sum(rows)
    figure, axes = canvas(stamp, height, len(tables), 1, width=NARROW, height_ratios=rows, sharex=sharex, squeeze=False)
    for axis, (title, table) in zip(axes[:, 0], tables.items(), strict=True):
        _plain_student(reference if sharex else table, along=axis.axvspan, across=axis.axvline)
        positions = range(len(table))
        colours = [colour_of(method) for method in table.index]
        axis.hlines(positions, table["low"], table["high"], color=colours, linewidth=2)
        axis.scatter(table["ours"], positions, c=colours, zorder=3)
        axis.scatter(table["paper"], positions, facecolors="none", edgecolors=colours, marker="D", s=22, zorder=3)
        for position, (_, row) in enumerate(table.iterrows()):
            if pd.isna(row["ours"]):
                reason = "diverged" if row.get("diverged") else "not run"
                axis.annotate(reason, (1, position), (-4, 1), axis.get_yaxis_transform(), "offset points",
                              ha="right", va="bottom", fontsize=LETTERS, color=INK, style="italic")  # fmt: skip
        axis.set(yticks=positions, yticklabels=table.index.str.replace(", ", ",\n"), ylim=(len(table) - 0.4, -0.6))
        axis.set_title(title, loc="left", fontsize=9, fontweight="bold")
        axis.tick_params(labelsize=LETTERS)
    axes[-1, 0].set_xlabel("test error (%)")
    marks = {
        "ours, with its interval": Line2D([], [], color=INK, marker="o"),
        "paper": Line2D([], [], color=INK, marker="D", markerfacecolor="none", linestyle="none"),
        "plain student": Line2D([], [], color=COLOURS["student"], linestyle="--"),
    }
    if all(table["paper"].isna().all() for table in tables.values()):
        del marks["paper"]
    figure.legend(marks.values(), marks, loc="outside upper left", ncols=3, frameon=False, fontsize=LETTERS)
    return figure


def gradient_norms(tables: Mapping[str, pd.DataFrame], norms: pd.Series, stamp: str) -> Figure:
    """Test error against the gradient norm of each method's term at the untrained student, a named dot per method.

    A line joins what differs in beta alone; dashed, the plain student with its interval. What diverged has no error: it
    is named in the corner, with its norm. Methods without a norm, and those that are not run, are not drawn.

    Args:
        tables: see `error_tables.by_method`; of a run that is in several of them, only the last is drawn.
        norms: by method, see `gradient_norms_at_init`.
    """
    table = pd.concat(tables.values())
    terms = table.join(norms.rename("gradient norm"), how="inner")
    terms = terms[(terms["diverged"] > 0) | ~terms["run_id"].duplicated("last")].sort_values("gradient norm")
    finals, diverged = terms[terms["ours"].notna()], terms[terms["diverged"] > 0]
    if finals.empty:
        return unavailable(stamp)
    figure, axis = canvas(stamp, 4.4)
    _plain_student(table[~table.index.duplicated()], along=axis.axhspan, across=axis.axhline)
    for _, of_one in finals.groupby(finals.index.str.split(", beta").str[0]):
        axis.plot(of_one["gradient norm"], of_one["ours"], color=INK, linewidth=1, alpha=0.5)
    axis.scatter(finals["gradient norm"], finals["ours"], c=[colour_of(method) for method in finals.index], zorder=3)
    axis.set(xscale="log", xlabel="gradient norm of the term at the initial weights", ylabel="test error (%)")
    axis.margins(x=0.3)
    if len(diverged):
        lines = [f"{method}, at {norm:.3g}" for method, norm in diverged["gradient norm"].items()]
        axis.text(0.98, 0.03, "\n".join(["diverged:", *lines]), transform=axis.transAxes, ha="right", fontsize=LETTERS)
    name_dots(figure, axis, finals["gradient norm"], finals["ours"])
    return figure


def _plain_student(table: pd.DataFrame, along: Callable, across: Callable) -> None:
    """Dashed, with its interval, the plain student, where the table has one: what all others are held against."""
    if "student" in table.index and pd.notna((plain := table.loc["student"])["ours"]):
        along(plain["low"], plain["high"], color=COLOURS["student"], alpha=0.15, linewidth=0)
        across(plain["ours"], color=COLOURS["student"], linestyle="--", linewidth=1, label="student")


def against_error(table: pd.DataFrame, quantity: str, stamp: str) -> Figure:
    """What was measured of maps at the top level against the test error: a dot per network.

    A dot carries its label in the frame; methods of Table 1 have their colour, and all others are hollow.

    Args:
        table: index the labels; columns test_error (percent), maybe method, and the levels, of which the last is drawn;
            see `across_studies.distance_and_error` and `across_studies.table`.
        quantity: what was measured, with its unit.
    """
    level = table.columns[-1]
    table = table.dropna(subset=level)
    if table.empty:
        return unavailable(stamp)
    figure, axis = canvas(stamp, 3.6, width=NARROW)
    methods = table["method"] if "method" in table else pd.Series("", table.index)
    colours = [COLOURS.get(method, "none") for method in methods]
    edges = [COLOURS.get(method, INK) for method in methods]
    axis.scatter(table[level], table["test_error"], facecolors=colours, edgecolors=edges, zorder=3)
    axis.set(title=level, xlabel=quantity, ylabel="test error (%)")
    axis.margins(x=0.1, y=0.1)
    low, high = axis.get_xlim()  # room for the label of a dot at the right edge
    axis.set_xlim(low, high + 0.06 * max(len(str(label)) for label in table.index) * (high - low))
    of_methods = {method: COLOURS[method] for method in pd.unique(methods) if method in COLOURS}
    if of_methods:
        marks = [Line2D([], [], color=colour, marker="o", linestyle="none") for colour in of_methods.values()]
        figure.legend(marks, of_methods, loc="outside upper center", ncols=len(of_methods), frameon=False,
                      fontsize=LETTERS, columnspacing=1, handletextpad=0)  # fmt: skip
    name_dots(figure, axis, table[level], table["test_error"])
    return figure


def gains(table: pd.DataFrame, stamp: str) -> Figure:
    """How each method differs from the plain student, ours against the paper's: on the grey line both are the same.

    Args:
        table: columns pair, method, ours and paper, in percentage points, see `error_tables.gains`.
    """
    both = table.dropna()
    if both.empty:
        return unavailable(stamp)
    figure, axis = canvas(stamp, 4.2)
    colours = colours_of(pd.unique(both["method"]))
    sns.scatterplot(both, x="paper", y="ours", hue="method", style="pair", palette=colours, s=70, ax=axis)
    low = min(both[["paper", "ours"]].min(axis=None), 0) - 0.1
    high = max(both[["paper", "ours"]].max(axis=None), 0) + 0.1
    axis.plot([low, high], [low, high], color=INK, linewidth=1, zorder=0)
    axis.axhline(0, color=INK, linewidth=0.5, zorder=0)
    axis.axvline(0, color=INK, linewidth=0.5, zorder=0)
    axis.set(xlabel="paper: difference to the plain student (points)", ylabel="ours: difference (points)")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def curves(epochs: pd.DataFrame, stamp: str) -> Figure:
    """Error per epoch: on the left test error as a full line and train error (on augmented images) as a dashed one, on
    the right the test error of the last phase, at the lowest learning rate. Methods are named at the ends of lines. Of
    several seeds a line is their median, and a band behind the test error goes from the lowest to the highest.

    Args:
        epochs: columns column, seed, epoch, learning_rate, train_error and test_error, see `Study.curves`.
    """
    if epochs.empty:
        return unavailable(stamp)
    figure, (whole, end) = canvas(stamp, 3.8, 1, 2, width_ratios=[3, 2])
    last_rate = epochs["learning_rate"].min()  # of all: what diverged early never came to it
    for method, colour in colours_of(pd.unique(epochs["column"])).items():
        of_method = epochs["column"] == method
        by_epoch = epochs[of_method].groupby("epoch")
        medians = by_epoch[["test_error", "train_error"]].median()
        last = medians["test_error"][epochs[of_method & (epochs["learning_rate"] == last_rate)]["epoch"].unique()]
        if epochs[of_method]["seed"].nunique() > 1:
            low, high = by_epoch["test_error"].min(), by_epoch["test_error"].max()
            for axis, shown in ((whole, medians.index), (end, last.index)):
                axis.fill_between(shown, low[shown], high[shown], color=colour, alpha=0.2, linewidth=0, label=method)
        whole.plot(medians["test_error"], color=colour, linewidth=1.5, label=method)
        whole.plot(medians["train_error"], color=colour, linewidth=0.9, dashes=(3, 2), label=method)
        end.plot(last, color=colour, linewidth=1.5, label=method)
    lengths = epochs.groupby("column")["epoch"].transform("max")
    later = epochs[epochs["epoch"] > 0.05 * lengths]  # the first would take half of the height
    top = 1.05 * later[["test_error", "train_error"]].max(axis=None)
    whole.set(
        xlabel="epoch", ylabel="error (%)", ylim=(0, top if top > 0 else None), title="test (full), train (dashed)"
    )
    end.set(xlabel="epoch", title="test, last phase")
    for axis in (whole, end):
        axis.margins(x=0)  # it shows the last epoch, and nothing behind it
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    name_lines(figure)
    return figure


def lengths(final: pd.DataFrame, stamp: str) -> Figure:
    """Test error, and how many points fewer each method has than the plain student, against the length of training.

    The second axis is logarithmic where all have fewer: else the end would be lost beside the beginning.

    Args:
        final: columns method, epochs, test_error and difference, see `training_lengths.last_errors`.
    """
    if final.empty:
        return unavailable(stamp)
    figure, axes = canvas(stamp, 3.2, 1, 2)
    ticks = sorted(pd.unique(final["epochs"]))
    gains = final[final["method"] != "student"]
    gains = gains.assign(gain=-gains["difference"])
    shown = {"test_error": ("test error (%)", final), "gain": ("gain over the plain student (points)", gains)}
    for axis, (column, (label, rows)) in zip(axes, shown.items(), strict=True):
        for method, colour in colours_of(pd.unique(final["method"])).items():
            of_method = rows[rows["method"] == method].dropna(subset=column).sort_values("epochs")
            if len(of_method):
                axis.plot(of_method["epochs"], of_method[column], color=colour, marker="o", linewidth=1.5, label=method)
        axis.set(xscale="log", xlabel="epochs of training", ylabel=label)
        axis.set_xticks(ticks, map(str, ticks))
        axis.minorticks_off()
    if (gains["gain"] > 0).all() and gains["gain"].nunique() > 1:
        axes[1].set_yscale("log")
        axes[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[1].yaxis.set_major_formatter("{x:g}")
        axes[1].minorticks_off()
    name_lines(figure)
    return figure


def cost(results: pd.DataFrame, stamp: str) -> Figure:
    """Images per second of a plain PyTorch loop and of ours, and the cost of a step against the number of students.

    Args:
        results: columns case, measured, value and unit, see `bench.frame`.
    """
    figure, (speed, growth) = canvas(stamp, 3.2, 1, 2)
    loops = results[(results["case"] == "against the plain loop") & (results["unit"] == "images/s")].copy()
    if len(loops):  # a case that failed has no rows
        loops[["pair", "loop"]] = loops["measured"].str.rsplit(": ", n=1, expand=True).to_numpy()
        loops["pair"] = loops["pair"].str.replace(" from ", "\nfrom ")
        sns.barplot(loops, x="value", y="pair", hue="loop", palette=[PALETTE[7], PALETTE[0]], ax=speed)
        sns.move_legend(speed, "lower center", bbox_to_anchor=(0.5, 1), ncols=2, title=None, frameon=False)
    speed.set(xlabel="images/s, data included", ylabel="")
    students = results["measured"].str.extract(r"^step with (\d+) AT students$")[0].dropna().astype(int)
    growth.plot(students, results.loc[students.index, "value"], marker="o", color=PALETTE[0])
    for axis, measured in ((speed, loops), (growth, students)):
        if measured.empty:
            axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center")
    growth.set(xlabel="AT students in the cohort", ylabel="ms per step", xlim=(0, None), ylim=(0, None))
    return figure
