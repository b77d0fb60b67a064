"""Lets the search name the pages of the library, of which only the objects are found.

Sphinx leaves out the title of a page whose text is not searched: a function was "in " nothing.
"""

from docutils.utils import new_document
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict:
    app.connect("html-collect-pages", _name)  # when all pages are in the index, and before it is written
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _name(app: Sphinx) -> list:
    for page, title in app.env.titles.items():
        if "nosearch" in app.env.metadata[page]:
            app.builder.indexer.feed(page, app.env.doc2path(page, base=False), title.astext(), new_document(""))
    return []
