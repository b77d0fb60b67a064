"""What a notebook, and a reader who touches a figure, get of it."""

import base64
import json
import math
import re
from html import unescape
from types import SimpleNamespace

import pytest
from figure_inputs import STAMP, epochs, table

from at_repro.report import figures
from at_repro.report.figures import notebook_output


def test_a_notebook_shows_figures_as_they_are_encoded(monkeypatch):
    from IPython.core.formatters import DisplayFormatter

    formatter = DisplayFormatter()
    with monkeypatch.context() as patched:
        patched.setattr("IPython.core.getipython.get_ipython", lambda: SimpleNamespace(display_formatter=formatter))
        notebook_output.use_in_notebook()
    shown, metadata = formatter.format(figure := figures.error_panels({"": table()}, STAMP))
    assert set(shown) == {"image/png", "text/plain"} and metadata["stamp"] == STAMP
    assert base64.b64decode(shown["image/png"]) == notebook_output.encode(figure)


def test_curves_are_handed_on_as_they_are_drawn():
    """A script draws them again, from nothing but this."""
    shown = figures.Touchable(figures.curves(epochs("student", "AT"), STAMP))
    whole, end = shown.panels
    assert [line["label"] for line in whole["lines"]] == ["student", "student", "AT", "AT"]
    assert [line["dashed"] for line in whole["lines"]] == [False, True, False, True]
    assert whole["lines"][0]["x"] == [1, 2, 3] and whole["lines"][0]["y"] == [41, 31, 21]
    assert len(end["lines"]) == 2 and whole["x"]["label"] == "epoch" and not whole["x"]["logarithmic"]
    assert all(low <= tick <= high for axis in (whole["x"], whole["y"]) for low, high in [axis["limits"]]
               for tick in axis["ticks"])  # fmt: skip


def test_a_value_that_is_missing_stops_no_script():
    """JSON has no NaN: a browser would draw none of the page's curves."""
    missing = epochs("student", "AT")
    missing.loc[missing.index[0], "test_error"] = math.nan
    html = figures.Touchable(figures.curves(missing.query("seed == 0"), STAMP))._repr_html_()
    (panels,) = re.findall(r'data-panels="(.*?)"', html)
    lines = json.loads(unescape(panels), parse_constant=pytest.fail)[0]["lines"]
    assert [len(line["x"]) for line in lines if not line["dashed"]] == [2, 3]


def test_nothing_to_touch_where_nothing_is_drawn():
    assert figures.Touchable(figures.curves(epochs(), STAMP)).panels == []
