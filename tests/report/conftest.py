"""The committed comparisons, and the system's browser, for what only a browser can say of a page."""

import shutil

import pytest

from at_repro import claims
from at_repro.records import open_store
from at_repro.report import pdf


@pytest.fixture(scope="session")
def compared():
    """What the committed records say of every claim: computed once, which takes seconds, and changed by no test."""
    return claims.compare(open_store("reduced"))


@pytest.fixture(scope="module")
def browser():
    """A Chromium without a window. Of one module: while it runs, no other event loop can."""
    program = next(filter(None, map(shutil.which, pdf.BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium here; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as tools:
        started = tools.chromium.launch(executable_path=program, args=options)
        yield started
        started.close()
