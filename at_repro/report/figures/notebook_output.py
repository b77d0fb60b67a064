"""What notebooks hold of figures: small files, and below a figure of lines these once more as data to touch."""

import base64
import io
import json
from html import escape

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from at_repro.report import headings


def encode(figure: Figure) -> bytes:
    """A figure as a PNG of 256 colours with a clear ground: a third of what matplotlib writes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight")
    picture = Image.open(stream).convert("RGBA")
    content = io.BytesIO()
    picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()


def use_in_notebook() -> None:
    """Lets this notebook show figures as `encode` gives them, and tables whole and as `headings.html` does.

    The stamp of either is in the metadata of its output, from where the book takes it into the caption. Where no
    notebook is executed nothing happens.
    """
    from IPython.core.getipython import get_ipython  # it comes with the extra `book`

    formatter = getattr(get_ipython(), "display_formatter", None)
    if formatter is None:
        return
    import matplotlib_inline.backend_inline  # noqa: F401  when first imported it sets a formatter of its own

    formatter.formatters["image/png"].pop(Figure, None)
    formatter.mimebundle_formatter.for_type(Figure, _bundle)
    pd.set_option("display.max_colwidth", None, "display.max_rows", None)
    formatter.mimebundle_formatter.for_type(pd.DataFrame, headings.bundle)


def _bundle(figure: Figure, **_: object) -> tuple[dict[str, str], dict[str, object]]:
    return {"image/png": base64.b64encode(encode(figure)).decode()}, {"stamp": figure.get_label()}


class Touchable:
    """What a notebook shows below a figure of lines, as HTML, for `book/_assets/curves.js`.

    The picture above stays for who reads without scripts, or on paper. Lines and bands are switched by their label.
    """

    def __init__(self, figure: Figure):
        figure.draw_without_rendering()  # limits and ticks are settled only now
        self.panels = [_panel(axes) for axes in figure.axes if axes.lines]

    def __repr__(self) -> str:
        return f"{sum(len(panel['lines']) for panel in self.panels)} lines to touch"

    def _repr_html_(self) -> str:
        panels = escape(json.dumps(self.panels, separators=(",", ":")))
        return f'<div class="curves" data-panels="{panels}"></div>'


def _panel(axes: Axes) -> dict:
    return {
        "title": axes.get_title(),
        "x": _axis(axes.get_xlabel(), axes.get_xlim(), axes.get_xticks(), axes.get_xscale()),
        "y": _axis(axes.get_ylabel(), axes.get_ylim(), axes.get_yticks(), axes.get_yscale()),
        "lines": [
            {"label": line.get_label(), "colour": to_hex(line.get_color()), "dashed": line.get_linestyle() != "-"}
            | _points(line.get_xydata())
            for line in axes.lines
        ],
        "bands": [
            {"label": band.get_label(), "colour": to_hex(tuple(np.asarray(band.get_facecolor())[0]))}
            | _points(band.get_paths()[0].vertices)
            for band in axes.collections
            if isinstance(band, PolyCollection)
        ],
    }


def _points(positions: ArrayLike) -> dict[str, list[float]]:
    """Without those that are not numbers, which matplotlib does not draw and JSON does not have; rounded where they are
    shown, as in tables."""
    points = np.asarray(positions, dtype=float)
    x, y = points[np.isfinite(points).all(1)].T
    return {"x": x.tolist(), "y": y.tolist()}


def _axis(label: str, limits: tuple[float, float], ticks: np.ndarray, scale: str) -> dict:
    low, high = limits
    positions = [tick for tick in _numbers(ticks) if low <= tick <= high]
    return {"label": label, "limits": _numbers(limits), "ticks": positions, "logarithmic": scale == "log"}


def _numbers(values: ArrayLike) -> list[float]:
    return [round(float(value), 3) for value in np.asarray(values)]
