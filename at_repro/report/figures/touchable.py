"""The lines of a figure once more, as data: a script draws them so that readers switch them and read their values."""

import json
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure


class Touchable:
    """What a notebook shows below a figure of lines, as HTML, for `book/_assets/curves.js`.

    The picture above stays for who reads without scripts, or on paper. Lines are switched by their label.
    """

    def __init__(self, figure: Figure):
        figure.draw_without_rendering()  # limits and ticks are settled only now
        self.panels = [_panel(axes) for axes in figure.axes if axes.lines]
        self.stamp = figure.get_supxlabel()

    def __repr__(self) -> str:
        return f"{sum(len(panel['lines']) for panel in self.panels)} lines to touch"

    def _repr_html_(self) -> str:
        panels = escape(json.dumps(self.panels, separators=(",", ":")))
        return f'<div class="curves" data-panels="{panels}" data-stamp="{escape(self.stamp)}"></div>'


def _panel(axes: Axes) -> dict:
    return {
        "title": axes.get_title(),
        "x": _axis(axes.get_xlabel(), axes.get_xlim(), axes.get_xticks(), axes.get_xscale()),
        "y": _axis(axes.get_ylabel(), axes.get_ylim(), axes.get_yticks(), axes.get_yscale()),
        "lines": [
            {
                "label": line.get_label(),
                "colour": to_hex(line.get_color()),
                "dashed": line.get_linestyle() != "-",
                "x": _numbers(line.get_xdata()),
                "y": _numbers(line.get_ydata()),
            }
            for line in axes.lines
        ],
    }


def _axis(label: str, limits: tuple[float, float], ticks: np.ndarray, scale: str) -> dict:
    low, high = limits
    shown = [tick for tick in _numbers(ticks) if low <= tick <= high]
    return {"label": label, "limits": _numbers(limits), "ticks": shown, "logarithmic": scale == "log"}


def _numbers(values) -> list[float]:
    return [round(float(value), 3) for value in values]
