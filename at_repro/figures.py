"""Every plot and every panel of attention maps, in one style; each function returns a matplotlib figure.

The last argument of each is `stamp`, which stands below the figure: what it was made from, see `Study.stamp`. Where
there is nothing to draw, the figure holds the stamp alone, so that its number in the book stays.
"""

import itertools
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from at_repro.data import ImageSet
from at_repro.training import schedules

ATTENTION = "viridis"  # perceptually uniform, and readable for the colour-blind
_PALETTE = sns.color_palette("colorblind")
# One colour per method, on every page.
COLOURS = {
    "student": _PALETTE[7],
    "AT": _PALETTE[0],
    "F-ActT": _PALETTE[4],
    "KD": _PALETTE[1],
    "AT+KD": _PALETTE[2],
    "teacher": (0.0, 0.0, 0.0),
    "even map": (0.6, 0.6, 0.6),
}
WIDTH = 7.5  # inches; the text column of the book


def style() -> None:
    """The house style, for every figure that follows."""
    sns.set_theme("paper", "whitegrid", font_scale=1.1)
    plt.rcParams.update({"figure.dpi": 150, "figure.facecolor": "white", "figure.constrained_layout.use": True})


def map_panel(images: ImageSet | None, rows: dict[str, Tensor], stamp: str) -> Figure:
    """A column per image; the image on top and its attention maps below, at their own resolution.

    Each map is scaled to its own maximum: dark is no attention, bright is the most of this map.

    Args:
        images: the images, uint8 (N, 3, H, W).
        rows: maps (N, h, w) by the label of their row.
    """
    if images is None or not rows:
        return unavailable(stamp)
    style()
    count, tall = len(images), 1 + len(rows)
    left, top, bottom = 1.1, 0.25, 0.3  # inches, for row labels, class names and the stamp
    cell = (WIDTH - left) / count
    height = top + cell * tall + bottom
    figure, axes = plt.subplots(tall, count, figsize=(WIDTH, height), squeeze=False, layout="none")
    figure.subplots_adjust(left / WIDTH, bottom / height, 1, 1 - top / height, 0.05, 0.05)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    for column in range(count):
        axes[0, column].imshow(images.images[column].permute(1, 2, 0).cpu().numpy())
        axes[0, column].set_title(images.classes[images.labels[column]], fontsize=7)
        for row, maps in enumerate(rows.values(), 1):
            axes[row, column].imshow(maps[column].cpu().numpy(), cmap=ATTENTION, vmin=0, interpolation="nearest")
    for axis, label in zip(axes[:, 0], ["image", *rows], strict=True):
        axis.set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center")
    return _stamped(figure, stamp)


def overlay_panel(
    images: ImageSet | None, columns: dict[str, Tensor], titles: Sequence[str], stamp: str, width: float = 0.55 * WIDTH
) -> Figure:
    """A row per photograph: the photograph, and each of its maps laid over it in grey.

    Each map covers the whole photograph at its own resolution, a square per place, so that no detail is invented; its
    colours run from 0 to its own maximum, see the bar below.

    Args:
        images: the photographs, uint8 (N, 3, H, W).
        columns: maps (N, h, w), not negative, by the label of their column.
        titles: what stands above each row, one line per photograph.
        width: of the figure, in inches.
    """
    if images is None or not columns:
        return unavailable(stamp)
    style()
    count, wide = len(images), 1 + len(columns)
    cell, gap, top, bottom = width / wide, 0.16, 0.14, 0.42  # inches, for titles, column labels, and bar and stamp
    height = top + count * (cell + gap) + bottom
    figure, axes = plt.subplots(count, wide, figsize=(width, height), squeeze=False, layout="none")
    figure.subplots_adjust(0, bottom / height, 1, 1 - (top + gap) / height, 0.02, gap / cell)
    for axis in axes.flat:
        axis.axis("off")
    photographs = images.images.permute(0, 2, 3, 1).cpu().numpy()
    extent = (0, photographs.shape[2], photographs.shape[1], 0)
    for row, (photograph, title) in enumerate(zip(photographs, titles, strict=True)):
        axes[row, 0].imshow(photograph)
        axes[row, 0].set_title(title, fontsize=6, loc="left", pad=1.5)
        grey = photograph @ np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601
        for axis, maps in zip(axes[row, 1:], columns.values(), strict=True):
            axis.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
            colours = {"cmap": ATTENTION, "vmin": 0, "alpha": 0.65}
            shown = axis.imshow(maps[row].cpu().numpy(), **colours, extent=extent, interpolation="nearest")
    for place, label in enumerate(["photograph", *columns]):
        figure.text((place + 0.5) / wide, 1 - 0.02 / height, label, fontsize=6, ha="center", va="top")
    bar = figure.add_axes((0.3, 0.3 / height, 0.4, 0.07 / height))
    figure.colorbar(shown, cax=bar, orientation="horizontal", ticks=[]).solids.set_alpha(1)
    for place, label, side in ((-0.03, "no attention", "right"), (1.03, "the most of this map", "left")):
        bar.text(place, 0.5, label, transform=bar.transAxes, fontsize=6, ha=side, va="center")
    return _stamped(figure, stamp)


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
    colours = _colours(pd.unique(measured["network"]))
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
    return _stamped(figure, stamp)


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
    for (level, of_level), colour in zip(shares.groupby("level", sort=False), _PALETTE, strict=False):
        profile.plot(of_level["share"], of_level["height"], color=colour, label=level)
    profile.axvline(100, color=COLOURS["even map"], linestyle="--", linewidth=1, label="even map")
    profile.set(xlabel="attention (% of an even map's)", ylim=(100, 0))
    profile.legend(frameon=False)
    return _stamped(figure, stamp)


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
    return _stamped(figure, stamp)


def softened(images: ImageSet | None, probabilities: pd.DataFrame, stamp: str) -> Figure:
    """A row per image and a column per temperature: the probability of every class, a bar per network.

    Args:
        images: the images that the numbers in the column image count.
        probabilities: columns image, network, temperature, class, probability, see `measure.softened`.
    """
    if images is None or probabilities.empty:
        return unavailable(stamp)
    style()
    shown, temperatures = pd.unique(probabilities["image"]), pd.unique(probabilities["temperature"])
    colours = _colours(pd.unique(probabilities["network"]))
    figure, axes = plt.subplots(
        len(shown), 1 + len(temperatures), figsize=(WIDTH, 0.7 + 1.6 * len(shown)), squeeze=False,
        width_ratios=[1.6, *[3] * len(temperatures)],
    )  # fmt: skip
    for row, image in enumerate(shown):
        picture = axes[row, 0]
        picture.imshow(images.images[image].permute(1, 2, 0).cpu().numpy())
        picture.set_title(images.classes[images.labels[image]], fontsize=8)
        picture.axis("off")
        for column, temperature in enumerate(temperatures, 1):
            axis = axes[row, column]
            cell = (probabilities["image"] == image) & (probabilities["temperature"] == temperature)
            sns.barplot(
                probabilities[cell], x="probability", y="class", hue="network", palette=colours, saturation=1, ax=axis
            )
            last = row == len(shown) - 1
            axis.set(xlim=(0, 1), xlabel="probability" if last else "", ylabel="")
            axis.set_title(f"T = {temperature:g}" if row == 0 else "")
            axis.tick_params(labelsize=7, labelleft=column == 1, labelbottom=last)
            handles, labels = axis.get_legend_handles_labels()
            axis.get_legend().remove()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    return _stamped(figure, stamp)


def errors(table: pd.DataFrame, stamp: str) -> Figure:
    """Test errors of all methods: ours as dots with their interval, the paper's, if any, as open marks.

    Args:
        table: index method; columns ours, low, high and paper, in percent, see `tables.errors`.
    """
    if table[["ours", "paper"]].isna().all(axis=None):
        return unavailable(stamp)
    style()
    figure, axis = plt.subplots(figsize=(WIDTH, 0.6 + 0.4 * len(table)))
    places = range(len(table))
    colours = list(_colours(table.index).values())
    axis.hlines(places, table["low"], table["high"], color=colours, linewidth=2)
    axis.scatter(table["ours"], places, c=colours, zorder=3, label="ours, with interval")
    if table["paper"].notna().any():
        axis.scatter(table["paper"], places, facecolors="none", edgecolors=colours, marker="D", zorder=3, label="paper")
    axis.set(yticks=places, yticklabels=table.index, xlabel="test error (%)", ylim=(len(table) - 0.4, -0.6))
    legend = axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    for mark in legend.legend_handles:  # of no method
        mark.set_edgecolor("0.3")
    legend.legend_handles[0].set_facecolor("0.3")
    return _stamped(figure, stamp)


def slopes(table: pd.DataFrame, stamp: str) -> Figure:
    """What each method gains over the plain student, in the paper and here: lines that cross are another order.

    Gains, since errors depend on the length of training.

    Args:
        table: index method with a row "student"; columns ours and paper, in percent, see `tables.errors`.
    """
    both = table[["paper", "ours"]].dropna()
    if "student" not in both.index or len(both) < 2:
        return unavailable(stamp)
    style()
    gains = both.drop(["student", "teacher"], errors="ignore") - both.loc["student"]
    figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
    places = _apart(gains["ours"], 0.09 * (max(0.0, gains.max(axis=None)) - gains.min(axis=None)))
    for (method, colour), place in zip(_colours(gains.index).items(), places, strict=True):
        axis.plot([0, 1], gains.loc[method], color=colour, marker="o", linewidth=1.5)
        axis.annotate(f"{method} {gains.loc[method, 'ours']:+.2f}", (1.04, place), color=colour, va="center")
    axis.axhline(0, color=COLOURS["student"], linestyle="--", linewidth=1)
    axis.annotate("student", (-0.04, 0), color=COLOURS["student"], va="bottom", ha="right")
    axis.set(xlim=(-0.3, 1.5), xticks=[0, 1], xticklabels=["paper", "ours"], ylabel="test error minus the student's")
    return _stamped(figure, stamp)


def _apart(values: Iterable[float], distance: float) -> list[float]:
    """Places for labels near these values, in their order, that do not cover each other."""
    values = list(values)
    places = dict.fromkeys(range(len(values)), 0.0)
    last = -float("inf")
    for index in sorted(places, key=values.__getitem__):
        last = places[index] = max(values[index], last + distance)
    return list(places.values())


def curves(epochs: pd.DataFrame, stamp: str) -> Figure:
    """Error per epoch: test error as a full line, train error (on augmented images) as a dashed one.

    Args:
        epochs: columns column, seed, epoch, train_error and test_error, see `Study.curves`.
    """
    if epochs.empty:
        return unavailable(stamp)
    style()
    figure, axis = plt.subplots(figsize=(WIDTH, 3.8))
    colours = _colours(pd.unique(epochs["column"]))
    for metric, dashes in (("test_error", ""), ("train_error", (3, 2))):
        for method, colour in colours.items():
            of_method = epochs[epochs["column"] == method].groupby("epoch")[metric].median()
            axis.plot(
                of_method.index, of_method, color=colour, dashes=dashes or (None, None),
                linewidth=1.5 if not dashes else 0.9, label=method if not dashes else None,
            )  # fmt: skip
    axis.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, title="test (full), train (dashed)")
    return _stamped(figure, stamp)


def distance(distances: pd.DataFrame, stamp: str) -> Figure:
    """Attention distance to the teacher per level, a dot per network.

    Args:
        distances: columns network, level, distance, see `measure.distances`.
    """
    return _by_level(distances, "distance", "distance to the teacher's map", 3, stamp,
                     errorbar=None, markersize=6, linestyle="none")  # fmt: skip


def decays(epochs: int, stamp: str) -> Figure:
    """The factor on a term's weight in every epoch of a training, by the name of its decay."""
    style()
    figure, axis = plt.subplots(figsize=(WIDTH, 2.8))
    for name, factors in schedules.decays(epochs).items():
        axis.step(range(epochs), factors, where="post", color=_colours(schedules.DECAYS)[name], label=name)
    axis.set(xlabel="epoch", ylabel="factor on the weight", ylim=(0, 1.05))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, title="decay")
    return _stamped(figure, stamp)


def cost(measured: pd.DataFrame, stamp: str) -> Figure:
    """Images per second of the field's loop and of ours, and the cost of a step against the number of students.

    Args:
        measured: columns case, measured, value and unit, see `bench.frame`.
    """
    if measured.empty:
        return unavailable(stamp)
    style()
    figure, (speed, growth) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    loops = measured[measured["unit"] == "images/s"].copy()
    loops[["pair", "loop"]] = loops["measured"].str.rsplit(": ", n=1, expand=True).to_numpy()
    loops["pair"] = loops["pair"].str.replace(" from ", "\nfrom ")
    sns.barplot(loops, x="value", y="pair", hue="loop", palette=[_PALETTE[7], _PALETTE[0]], ax=speed)
    speed.set(xlabel="images/s, data included", ylabel="")
    sns.move_legend(speed, "lower center", bbox_to_anchor=(0.5, 1), ncols=2, title=None, frameon=False)
    students = measured["measured"].str.extract(r"^step with (\d+) AT students$")[0].dropna().astype(int)
    growth.plot(students, measured.loc[students.index, "value"], marker="o", color=_PALETTE[0])
    growth.set(xlabel="AT students in the cohort", ylabel="ms per step", xlim=(0, None), ylim=(0, None))
    return _stamped(figure, stamp)


def unavailable(stamp: str) -> Figure:
    """A figure that only says why it cannot be drawn."""
    style()
    figure, axis = plt.subplots(figsize=(WIDTH, 0.8))
    axis.axis("off")
    axis.text(0.5, 0.5, f"Nothing to show: {stamp}", ha="center", va="center", wrap=True, fontsize=8)
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
        palette=_colours(order),
        dodge=0.3 if len(order) > 1 else False,  # seaborn divides by the number of others
        ax=axis,
        **marks,
    )
    axis.set(xlabel="level", ylabel=label, **{"yscale": "log"} if log else {"ylim": (0, None)})
    sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), title=None, frameon=False)
    return _stamped(figure, stamp)


def _stamped(figure: Figure, stamp: str) -> Figure:
    figure.supxlabel(stamp, fontsize=6, color="0.4", x=0.99, ha="right", wrap=True)
    return figure


def _colours(names: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """By name, in their order. Names that are not in `COLOURS` take what no method there has."""
    spare = itertools.cycle(colour for colour in _PALETTE if colour not in COLOURS.values())
    return {name: COLOURS[name] if name in COLOURS else next(spare) for name in names}
