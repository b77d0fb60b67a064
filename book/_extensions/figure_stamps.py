"""Writes what a figure or a table was made from below its caption: notebooks have it in the output's metadata."""

import json
import re
from pathlib import Path

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict:
    app.connect("source-read", _add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _add(app: Sphinx, page: str, content: list[str]) -> None:
    if Path(app.env.doc2path(page)).suffix != ".ipynb":
        return
    notebook = json.loads(content[0])
    for cell in notebook["cells"]:
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        stamps = [output.get("metadata", {}).get("stamp") for output in cell.get("outputs", [])]
        if figure and any(stamps):
            (stamp,) = filter(None, stamps)
            literal = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", stamp)  # it is no Markdown
            figure["caption"] += f"\n\n{literal}"
    content[0] = json.dumps(notebook)
