"""Plots of what was measured of attention maps."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from at_repro.data import ImageSet
from at_repro.figures.theme import ATTENTION, COLOURS, PALETTE, WIDTH, colours_of, stamped, style, unavailable


def on_object(shares: pd.DataFrame, stamp: str) -> Figure:
    """Share of attention on the object per level, a line per network, with the 95 % interval of the mean over images.

    Args:
        shares: columns network, level, share in percent, see `measure.object_shares`.
    """
    return _by_level(shares, "share", "attention on the object (%)", 3.4, stamp,
                     errorbar=("se", 1.96), markersize=5, linewidth=1.5)  # fmt: skip


def norms(measured: pd.DataFrame, stamp: str) -> Figure:
    """Norms of raw maps per level on a log axis: the median of all images, and the range that 95 % of them lie in.

    A line at 1 marks where `attention.normalize` brings every one of them.

    Args:
        measured: columns network, level, norm, see `measure.norms`.
    """
    if measured.empty:
        return unavailable(stamp)
    figure = _by_level(measured, "norm", "l2 norm of the map", 3.4, stamp, log=True,
                       estimator="median", errorbar=("pi", 95), markersize=6, linestyle="none")  # fmt: skip
    (axis,) = figure.axes
    axis.axhline(1, color="0.4", linestyle="--", linewidth=1)
    axis.annotate("after\nnormalisation", (1.01, 1), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    return figure


def concentration(measured: pd.DataFrame, stamp: str) -> Figure:
    """How concentrated maps are per level, a line per network, with the 95 % interval of the mean over images.

    Args:
        measured: columns network, level, entropy and top_share, see `concentration.concentrations`.
    """
    if measured.empty:
        return unavailable(stamp)
    style()
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    colours = colours_of(pd.unique(measured["network"]))
    labels = {"entropy": "entropy (% of an even map's)", "top_share": "mass in the top 10 % of places (%)"}
    for axis, (value, label) in zip(axes, labels.items(), strict=True):
        sns.pointplot(
            measured, x="level", y=value, hue="network", palette=colours, errorbar=("se", 1.96), markersize=5,
            linewidth=1.5, ax=axis,
        )  # fmt: skip
        axis.set(ylabel=label, ylim=(0, 100))
        handles, names = axis.get_legend_handles_labels()
        axis.get_legend().remove()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return stamped(figure, stamp)


def by_height(images: ImageSet | None, shares: pd.DataFrame, stamp: str) -> Figure:
    """The average image, and beside it how much attention each height gets, a line per level.

    Args:
        shares: columns level, height and share in percent, see `concentration.by_height`.
    """
    if images is None or shares.empty:
        return unavailable(stamp)
    style()
    figure, (picture, profile) = plt.subplots(1, 2, figsize=(WIDTH, 3.6), width_ratios=[1, 1.2])
    average = images.images.float().mean(0).permute(1, 2, 0).cpu().numpy() / 255
    picture.imshow(average, extent=(0, 100, 100, 0))
    picture.set(xticks=[], ylabel="height (% of the image)")
    picture.grid(False)
    for (level, of_level), colour in zip(shares.groupby("level", sort=False), PALETTE, strict=False):
        profile.plot(of_level["share"], of_level["height"], color=colour, label=level)
    profile.axvline(100, color=COLOURS["even map"], linestyle="--", linewidth=1, label="even map")
    profile.set(xlabel="attention (% of an even map's)", ylim=(100, 0))
    profile.legend(frameon=False)
    return stamped(figure, stamp)


def correlations(frames: dict[str, pd.DataFrame], stamp: str) -> Figure:
    """How alike mapping functions are: a matrix of correlations per level.

    Args:
        frames: square frames by level, see `concentration.mapping_correlations`.
    """
    if not frames:
        return unavailable(stamp)
    style()
    figure, axes = plt.subplots(1, len(frames), figsize=(WIDTH, 0.9 + WIDTH / len(frames)), squeeze=False)
    for place, (axis, (level, frame)) in enumerate(zip(axes[0], frames.items(), strict=True)):
        sns.heatmap(
            frame, vmin=0, vmax=1, cmap=ATTENTION, annot=True, fmt=".2f", annot_kws={"size": 7}, square=True, ax=axis,
            cbar=False, yticklabels=place == 0,
        )  # fmt: skip
        axis.set_title(level)
        axis.tick_params(labelsize=7, rotation=0)
        axis.tick_params("x", rotation=45)
    return stamped(figure, stamp)


def distance(distances: pd.DataFrame, stamp: str) -> Figure:
    """Attention distance to the teacher per level, a dot per network.

    Args:
        distances: columns network, level, distance, see `measure.distances`.
    """
    return _by_level(distances, "distance", "distance to the teacher's map", 3, stamp,
                     errorbar=None, markersize=6, linestyle="none")  # fmt: skip


def distance_and_error(students: pd.DataFrame, stamp: str) -> Figure:
    """Test error against attention distance to the teacher, a plot per level and a named dot per student.

    Args:
        students: columns method, test_error (percent) and one per level, see `tables.distance_and_error`.
    """
    if students.empty:
        return unavailable(stamp)
    style()
    levels = list(students.columns[students.columns.get_loc("test_error") + 1 :])
    figure, axes = plt.subplots(1, len(levels), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    colours = colours_of(pd.unique(students["method"]))
    for axis, level in zip(axes[0], levels, strict=True):
        axis.scatter(
            students[level], students["test_error"], c=[colours[name] for name in students["method"]], zorder=3
        )
        for row in students.itertuples():
            axis.annotate(
                row.method, (getattr(row, level), row.test_error), (3, 3), textcoords="offset points", fontsize=6
            )
        axis.set(title=level, xlabel="distance to the teacher's map", xlim=(0, None))
        axis.margins(x=0.25)
    axes[0, 0].set_ylabel("test error (%)")
    return stamped(figure, stamp)


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
