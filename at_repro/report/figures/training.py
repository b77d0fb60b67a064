"""Plots of gains, of curves, and of what training costs."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from at_repro.report.figures.theme import INK, PALETTE, WIDTH, colours_of, stamped, style, unavailable


def gains(table: pd.DataFrame, stamp: str) -> Figure:
    """What each method gains over the plain student, ours against the paper's: on the grey line both are the same.

    Args:
        table: columns pair, method, ours and paper, in percentage points, see `tables.gains`.
    """
    both = table.dropna()
    if both.empty:
        return unavailable(stamp)
    style()
    figure, axis = plt.subplots(figsize=(WIDTH, 4.2))
    sns.scatterplot(
        both,
        x="paper",
        y="ours",
        hue="method",
        style="pair",
        palette=colours_of(pd.unique(both["method"])),
        s=70,
        ax=axis,
    )
    low = min(both[["paper", "ours"]].min(axis=None), 0) - 0.1
    high = max(both[["paper", "ours"]].max(axis=None), 0) + 0.1
    axis.plot([low, high], [low, high], color=INK, linewidth=1, zorder=0)
    axis.axhline(0, color=INK, linewidth=0.5, zorder=0)
    axis.axvline(0, color=INK, linewidth=0.5, zorder=0)
    axis.set(xlabel="paper: minus the student's error", ylabel="ours: minus the student's error")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return stamped(figure, stamp)


def _apart(values: Iterable[float], distance: float) -> list[float]:
    """Places for labels near these values, in their order, that do not cover each other."""
    values = list(values)
    places = dict.fromkeys(range(len(values)), 0.0)
    last = -float("inf")
    for index in sorted(places, key=values.__getitem__):
        last = places[index] = max(values[index], last + distance)
    return list(places.values())


def curves(epochs: pd.DataFrame, stamp: str) -> Figure:
    """Error per epoch: on the left test error as a full line and train error (on augmented images) as a dashed one, on
    the right the test error of the last phase, at the lowest learning rate, where each method is named.

    Args:
        epochs: columns column, seed, epoch, learning_rate, train_error and test_error, see `Study.curves`.
    """
    if epochs.empty:
        return unavailable(stamp)
    style()
    figure, (whole, end) = plt.subplots(1, 2, figsize=(WIDTH, 3.8), width_ratios=[3, 2])
    last_rate = epochs.groupby("column")["learning_rate"].transform("min")
    ends = {}
    for method, colour in colours_of(pd.unique(epochs["column"])).items():
        of_method = epochs["column"] == method
        medians = epochs[of_method].groupby("epoch")[["test_error", "train_error"]].median()
        last = medians["test_error"][epochs[of_method & (epochs["learning_rate"] == last_rate)]["epoch"].unique()]
        whole.plot(medians["test_error"], color=colour, linewidth=1.5, label=method)
        whole.plot(medians["train_error"], color=colour, linewidth=0.9, dashes=(3, 2), label=method)
        end.plot(last, color=colour, linewidth=1.5, label=method)
        ends[method] = (last.index[-1], last.iloc[-1], colour)
    low, high = end.get_ylim()
    places = _apart((error for _, error, _ in ends.values()), 0.06 * (high - low))
    for (method, (epoch, _, colour)), place in zip(ends.items(), places, strict=True):
        end.annotate(method, (epoch, place), (4, 0), textcoords="offset points", color=colour, va="center", fontsize=8)
    end.margins(x=0.3)
    whole.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None), title="test (full), train (dashed)")
    end.set(xlabel="epoch", title="test, last phase")
    return stamped(figure, stamp)


def lengths(final: pd.DataFrame, stamp: str) -> Figure:
    """Test error, and what each method has less than the plain student, against the length of training.

    Args:
        final: columns method, epochs, test_error and difference, see `training_lengths.final`.
    """
    if final.empty:
        return unavailable(stamp)
    style()
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    ticks = sorted(pd.unique(final["epochs"]))
    for axis, column, label in zip(
        axes, ("test_error", "difference"), ("test error (%)", "minus the plain student's"), strict=True
    ):
        for method, colour in colours_of(pd.unique(final["method"])).items():
            of_method = final[final["method"] == method].sort_values("epochs")
            axis.plot(of_method["epochs"], of_method[column], color=colour, marker="o", linewidth=1.5, label=method)
        axis.set(xscale="log", xlabel="epochs of training", ylabel=label)
        axis.set_xticks(ticks, map(str, ticks))
        axis.minorticks_off()
    _legend_above(figure, axes)
    return stamped(figure, stamp)


def _legend_above(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend for all panels, of every line that any of them has."""
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles), frameon=False)


def cost(measured: pd.DataFrame, stamp: str) -> Figure:
    """Images per second of the field's loop and of ours, and the cost of a step against the number of students.

    Args:
        measured: columns case, measured, value and unit, see `bench.frame`.
    """
    if measured.empty:
        return unavailable(stamp)
    style()
    figure, (speed, growth) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    loops = measured[(measured["case"] == "against the plain loop") & (measured["unit"] == "images/s")].copy()
    loops[["pair", "loop"]] = loops["measured"].str.rsplit(": ", n=1, expand=True).to_numpy()
    loops["pair"] = loops["pair"].str.replace(" from ", "\nfrom ")
    sns.barplot(loops, x="value", y="pair", hue="loop", palette=[PALETTE[7], PALETTE[0]], ax=speed)
    speed.set(xlabel="images/s, data included", ylabel="")
    sns.move_legend(speed, "lower center", bbox_to_anchor=(0.5, 1), ncols=2, title=None, frameon=False)
    students = measured["measured"].str.extract(r"^step with (\d+) AT students$")[0].dropna().astype(int)
    growth.plot(students, measured.loc[students.index, "value"], marker="o", color=PALETTE[0])
    growth.set(xlabel="AT students in the cohort", ylabel="ms per step", xlim=(0, None), ylim=(0, None))
    return stamped(figure, stamp)
