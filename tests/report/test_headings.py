"""Tables of the pages have headings for readers, and keep the library's names as text."""

import re
from types import SimpleNamespace

import pandas as pd
from IPython.core.formatters import DisplayFormatter

from at_repro.report import headings
from at_repro.report.figures import notebook_output


def shown(table: pd.DataFrame) -> list[str]:
    return re.findall(r"<th[^>]*>([^<]+)</th>", headings.html(table))


def test_columns_and_axes_are_named_for_readers():
    index = pd.MultiIndex.from_tuples([("WRNs", 0.1)], names=["of", "learning_rate"])
    table = pd.DataFrame({"test_error": [8.0], "rho": 0.5, "seeds": 1}, index)
    assert shown(table) == ["test error (%)", "rank correlation", "seeds", "among", "learning rate", "WRNs", "0.1"]
    assert "test_error" in repr(table), "what is compared keeps its name"


def test_rows_that_are_only_counted_have_no_number():
    table = pd.DataFrame({"question": ["which run?"], "answer": ["this one"]})
    assert shown(table) == ["question", "answer"] and "which run?" in headings.html(table)
    assert shown(table.rename_axis("number")) == ["question", "answer", "number", "0"]


def test_a_notebook_shows_tables_so(monkeypatch):
    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)
    table = pd.DataFrame({"rho": 1.0, "words": "x" * 60}, [f"row {number}" for number in range(61)])
    with pd.option_context("display.max_colwidth", 50, "display.max_rows", 60):  # at which pandas cuts by itself
        notebook_output.use_in_notebook()
        shown_as, metadata = shell.display_formatter.format(table)
        table.attrs["stamp"] = "preset smoke, seed 0, CPU"
        _, with_stamp = shell.display_formatter.format(table)
    assert metadata == {} and with_stamp == {"stamp": "preset smoke, seed 0, CPU"}
    assert all("row 30" in shown_as[kind] for kind in ("text/html", "text/plain")), "and none left out"
    assert "<th>rank correlation</th>" in shown_as["text/html"] and "rho" in shown_as["text/plain"]
    assert all("x" * 60 in shown_as[kind] for kind in ("text/html", "text/plain")), "whole"
