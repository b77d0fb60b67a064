"""Plots of what was measured of attention maps."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from at_repro.data import ImageSet
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

Box = tuple[float, float, float, float]


def on_object(shares: pd.DataFrame, stamp: str) -> Figure:
    """Attention on the object per level, a line per network, with the 95 % interval of the mean over images.

    On the left the share of its mass, on the right the surplus over another image's map.

    Args:
        shares: columns network, level, share and surplus (percent), see `on_object.shares`.
    """
    labels = {"share": "attention on the object (%)", "surplus": "surplus (% of the object's own)"}
    figure = _side_by_side(shares, labels, stamp, linewidth=1.5)
    for axis in figure.axes if len(shares) else ():
        axis.set_ylim(min(0, axis.get_ylim()[0]), None)
    return figure


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
    axis.axhline(1, color=INK, linestyle="--", linewidth=1)
    axis.annotate("after\nnormalisation", (1.01, 1), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    return figure


def concentration(measured: pd.DataFrame, stamp: str) -> Figure:
    """How concentrated maps are per level, a dot per network, with the 95 % interval of the mean over images.

    The dashed line is a map that is the same everywhere; where a tenth of the places is no whole number, its mass in
    the top tenth is a little more: 7 of 64.

    Args:
        measured: entropy and top share, see `map_statistics.measure`.
    """
    labels = {"entropy": "entropy (% of a uniform map's)", "top share": "mass in the top tenth (%)"}
    wide = measured.pivot_table(index=["network", "level", "image"], columns="statistic", values="value", sort=False)
    # Limits from the data: networks differ little.
    figure = _side_by_side(wide.reset_index(), labels, stamp, linestyle="none")
    for axis, even in zip(figure.axes if len(measured) else (), (100, 10), strict=False):
        axis.axhline(even, color=INK, linestyle="--", linewidth=1)
    return figure


def _side_by_side(measured: pd.DataFrame, labels: dict[str, str], stamp: str, **marks) -> Figure:
    """A plot per column of the frame in `labels`, against the levels, in one colour per network; `marks` are seaborn's.

    With the 95 % interval of the mean over images, and one legend above.
    """
    if measured.empty:
        return unavailable(stamp)
    style()
    figure, axes = plt.subplots(1, len(labels), figsize=(WIDTH, 3.6))
    colours = colours_of(pd.unique(measured["network"]))
    for axis, (value, label) in zip(axes, labels.items(), strict=True):
        sns.pointplot(
            measured, x="level", y=value, hue="network", palette=colours, errorbar=("se", 1.96), markersize=5,
            dodge=min(0.05 * len(colours), 0.4) if len(colours) > 1 else False, ax=axis, **marks,
        )  # fmt: skip
        axis.set(xlabel="level", ylabel=label)
        handles, names = axis.get_legend_handles_labels()
        axis.get_legend().remove()
    figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 5), frameon=False)
    return stamped(figure, stamp)


def on_parts(images: ImageSet | None, levels: dict[str, Tensor], boxes: dict[str, Box], stamp: str) -> Figure:
    """The average image and the average map of each level, each with the same boxes drawn on it.

    The maps have one scale, whose unit is what a map that is the same everywhere has.

    Args:
        levels: maps (N, H, W) of the images, by level; each image's map counts by its shares of mass.
        boxes: top, bottom, left and right as shares of the picture, by name, see `faces.PARTS`.
    """
    if images is None or not levels:
        return unavailable(stamp)
    style()
    figure, axes = plt.subplots(1, 1 + len(levels), figsize=(WIDTH, 0.45 + WIDTH / (1 + len(levels))))
    axes[0].imshow(images.images.float().mean(0).permute(1, 2, 0).cpu().numpy() / 255, extent=(0, 1, 1, 0))
    averages = [(maps / maps.mean((1, 2), keepdim=True)).nanmean(0) for maps in levels.values()]  # all-zero: no shares
    most = max(average.max().item() for average in averages)
    for axis, average in zip(axes[1:], averages, strict=True):
        colours = {"cmap": ATTENTION, "vmin": 0, "vmax": most}
        shown = axis.imshow(average.cpu().numpy(), **colours, extent=(0, 1, 1, 0), interpolation="nearest")
    figure.colorbar(shown, ax=axes, label="times an even map's", shrink=0.7)
    for axis, title in zip(axes, ["average image", *levels], strict=True):
        axis.set(xticks=[], yticks=[], title=title)
        axis.grid(False)
        for top, bottom, left, right in boxes.values():
            axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white"))
    return stamped(figure, stamp)


def matrices(frames: dict[str, pd.DataFrame], stamp: str, most: float = 1.0, digits: int = 2) -> Figure:
    """Numbers in a matrix per level, coloured from 0 to `most`.

    Args:
        frames: by level, see `concentration.mapping_correlations` and `on_object.matrices`.
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


def distance(distances: pd.DataFrame, stamp: str) -> Figure:
    """Attention distance to the teacher per level, a dot per network.

    Args:
        distances: columns network, level, distance, see `measure.distances`.
    """
    return _by_level(distances, "distance", "distance to the teacher's map", 3, stamp,
                     errorbar=None, markersize=6, linestyle="none")  # fmt: skip


def against_error(found: pd.DataFrame, quantity: str, stamp: str) -> Figure:
    """What was measured of maps at every level against the test error: a plot per level, a dot per network.

    A dot carries its label in the frame; methods of Table 1 have their colour, and all others are hollow.

    Args:
        found: index the labels; columns test_error (percent), then one per level, and before them maybe method; see
            `tables.distance_and_error` and `collection.table`.
        quantity: what was measured, with its unit.
    """
    levels = list(found.columns[found.columns.get_loc("test_error") + 1 :])
    found = found.dropna(subset=levels)
    if found.empty:
        return unavailable(stamp)
    style()
    figure, axes = plt.subplots(1, len(levels), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    methods = found["method"] if "method" in found else pd.Series("", found.index)
    colours = [COLOURS.get(method, "none") for method in methods]
    edges = [COLOURS.get(method, INK) for method in methods]
    longest = max(len(str(label)) for label in found.index)
    for axis, level in zip(axes[0], levels, strict=True):
        axis.scatter(found[level], found["test_error"], facecolors=colours, edgecolors=edges, zorder=3)
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
        name_dots(axis, found[level], found["test_error"])
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
