"""Every plot and every panel of attention maps, in one style; each function returns a matplotlib figure.

Each takes a `stamp`, the figure's label: what it was made from, see `Study.stamp`; the book writes it
below the caption. Where there is nothing to draw, the figure says so with it, so that its number in the book stays.
"""

from at_repro.report.figures.notebook_output import Touchable
from at_repro.report.figures.panels import map_panel, overlay_panel
from at_repro.report.figures.plots import against_error, cost, curves, error_panels, gains, gradient_norms, lengths
from at_repro.report.figures.schematics import mappings, pairing, transfer
from at_repro.report.figures.theme import WIDTH

__all__ = [
    "WIDTH", "Touchable", "against_error", "cost", "curves", "error_panels", "gains", "gradient_norms", "lengths",
    "map_panel", "mappings", "overlay_panel", "pairing", "transfer",
]  # fmt: skip
