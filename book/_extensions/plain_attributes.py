"""Keeps docstrings of names and properties as they are: napoleon takes what stands before a colon for a type."""

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-process-docstring", _begin_without_colon, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _begin_without_colon(app: Sphinx, what: str, name: str, value: object, options: dict, lines: list[str]) -> None:
    if what in ("attribute", "data", "property"):
        lines.insert(0, "\\")  # napoleon looks at the first line alone; an escaped end of a line shows nothing
