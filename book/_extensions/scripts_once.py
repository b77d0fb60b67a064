"""Keeps each inline script of a page once.

Jupyter Book 1 puts the settings of Thebe, which this book does not use, on every page twice: an error in the console of
each, since a constant is declared again.
"""

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", _keep_once, priority=900)  # after all that add scripts
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _keep_once(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    scripts = {script.attributes.get("body") or id(script): script for script in context["script_files"]}
    context["script_files"] = list(scripts.values())
