"""The committed comparisons, a tiny book, and the system's browser, for what only a browser can say of a page."""

import shutil

import pytest
import tiny_book
from nbformat.v4 import new_code_cell

from at_repro import claims
from at_repro.errors import UserError
from at_repro.records import open_store
from at_repro.report import book, notebooks, pdf


@pytest.fixture(scope="session")
def compared():
    """What the committed records say of every claim: computed once, which takes seconds, and changed by no test."""
    return claims.compare(open_store("reduced"))


@pytest.fixture
def in_kernels():
    """For a test whose notebooks are executed as a user does it: in kernels, as many at a time as there are cores."""


@pytest.fixture
def checkout(tmp_path, request, monkeypatch):
    """A checkout with one tiny notebook and a book of two pages; the current folder is another one.

    Its notebooks are executed in this process, where there is no room for two at a time, unless `in_kernels`.
    """
    if "in_kernels" not in request.fixturenames:
        request.getfixturevalue("in_process")
        monkeypatch.setattr(book, "cores", lambda: 1)
    folder, pages = tmp_path / "checkout", notebooks.part_of_checkout("book")
    parameters = new_code_cell(tiny_book.PARAMETERS, metadata={"tags": ["parameters"]})
    tiny_book.write_notebook(folder / "notebooks" / "01_tiny.ipynb", parameters, new_code_cell(tiny_book.BODY))
    (folder / "book" / "results").mkdir(parents=True)
    tiny_book.set_address(pages / "_config.yml", "", folder / "book" / "_config.yml")
    for name in ("_assets", "_extensions"):
        shutil.copytree(pages / name, folder / "book" / name)
    for name in ("references.bib", "metadata.yaml"):
        shutil.copy(pages / name, folder / "book")
    (folder / "book" / "_toc.yml").write_text(tiny_book.TOC)
    (folder / "book" / "intro.md").write_text("# Tiny\n\n[](../notebooks/01_tiny.ipynb)\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(notebooks, "CHECKOUT", folder)
    monkeypatch.setattr(book.in_browser, "write", lambda *_: [])  # of the real book
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


@pytest.fixture(scope="session")
def chromium():
    try:
        return pdf.chromium()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def browser(chromium):
    """A Chromium without a window. Of one module: while it runs, no other event loop can."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as tools:
        started = tools.chromium.launch(executable_path=chromium, args=options)
        yield started
        started.close()
