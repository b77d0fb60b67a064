"""The house style of every figure: width, colours, and what stands below."""

import itertools
from collections.abc import Iterable

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

ATTENTION = "viridis"  # perceptually uniform, and readable for the colour-blind
DIFFERENCE = "vlag"  # seaborn's, from blue through white to red
PALETTE = sns.color_palette("colorblind")
# One colour per method, on every page.
COLOURS = {
    "student": PALETTE[7],
    "AT": PALETTE[0],
    "F-ActT": PALETTE[4],
    "KD": PALETTE[1],
    "AT+KD": PALETTE[2],
    "teacher": (0.0, 0.0, 0.0),
    "even map": (0.8, 0.8, 0.8),
}
ALIASES = dict.fromkeys(("sum-2", "all groups", "code form, beta 1000"), "AT")  # what other tables call that column
# For everything that is no method: the rest of the palette, then the same darker and lighter.
_REST = [colour for colour in PALETTE if colour not in COLOURS.values()]
SPARE = [*_REST, *(sns.set_hls_values(colour, l=lightness) for lightness in (0.25, 0.8) for colour in _REST)]
WIDTH = 7.5  # inches; the text column of the book


def style() -> None:
    """The house style, for every figure that follows."""
    sns.set_theme("paper", "whitegrid", font_scale=1.1)
    plt.rcParams.update({"figure.dpi": 150, "figure.facecolor": "white", "figure.constrained_layout.use": True})


def unavailable(stamp: str) -> Figure:
    """A figure that only says why it cannot be drawn."""
    style()
    figure, axis = plt.subplots(figsize=(WIDTH, 0.8))
    axis.axis("off")
    axis.text(0.5, 0.5, f"Nothing to show: {stamp}", ha="center", va="center", wrap=True, fontsize=8)
    return figure


def stamped(figure: Figure, stamp: str) -> Figure:
    """The figure with the stamp below it, small and grey."""
    figure.supxlabel(stamp, fontsize=6, color="0.4", x=0.99, ha="right", wrap=True)
    return figure


def colours_of(names: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """By name, in their order. Names that are not in `COLOURS` take those of `SPARE`, never one of a method."""
    spare = itertools.cycle(SPARE)
    method = {name: ALIASES.get(name, name) for name in names}
    return {name: COLOURS[method[name]] if method[name] in COLOURS else next(spare) for name in method}
