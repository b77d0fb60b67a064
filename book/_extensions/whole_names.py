"""Keeps names of networks in one piece in the tables of notebooks: a browser breaks them at their hyphens."""

import re

from docutils import nodes
from sphinx.application import Sphinx

NETWORK = re.compile(r"(?<![\w-])(?:wrn-\d+-\d+|nin-\w+)(?![\w-])", re.IGNORECASE)  # not within the name of a run


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", _keep)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _keep(app: Sphinx, page: nodes.document) -> None:
    for table in page.findall(lambda node: isinstance(node, nodes.raw) and 'class="dataframe"' in node.astext()):
        table[:] = [nodes.Text(NETWORK.sub(r'<span class="whole">\g<0></span>', table.astext()))]
