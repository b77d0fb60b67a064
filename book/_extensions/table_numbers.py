"""Numbers the tables of notebooks as tables: MyST-NB makes a figure of whatever has a caption."""

from docutils import nodes
from sphinx.application import Sphinx


class Table(nodes.figure):
    """A figure whose name begins as those of tables do."""


def setup(app: Sphinx) -> dict:
    drawn = (lambda it, node: it.visit_figure(node), lambda it, node: it.depart_figure(node))
    app.add_enumerable_node(Table, "table", html=drawn)
    app.connect("doctree-read", _rename)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _rename(app: Sphinx, page: nodes.document) -> None:
    for figure in list(page.findall(nodes.figure)):
        if any(name.startswith("tab-") for name in figure["ids"]):
            table = Table("", *figure.children, **figure.attributes)
            figure.replace_self(table)
            page.ids |= dict.fromkeys(table["ids"], table)  # where references look
