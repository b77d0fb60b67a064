"""Every plot and every panel of attention maps, in one style; each function returns a matplotlib figure.

The last argument of each is `stamp`, which stands below the figure: what it was made from, see `Study.stamp`. Where
there is nothing to draw, the figure holds the stamp alone, so that its number in the book stays.
"""

from at_repro.figures.attention import (
    by_height,
    concentration,
    correlations,
    distance,
    distance_and_error,
    norms,
    on_object,
)
from at_repro.figures.panels import map_panel, overlay_panel
from at_repro.figures.theme import ATTENTION, COLOURS, WIDTH, style, unavailable
from at_repro.figures.training import betas, cost, curves, decays, errors, gains, leads, lengths, slopes, softened

__all__ = [
    "ATTENTION",
    "COLOURS",
    "WIDTH",
    "betas",
    "by_height",
    "concentration",
    "correlations",
    "cost",
    "curves",
    "decays",
    "distance",
    "distance_and_error",
    "errors",
    "gains",
    "leads",
    "lengths",
    "map_panel",
    "norms",
    "on_object",
    "overlay_panel",
    "slopes",
    "softened",
    "style",
    "unavailable",
]
