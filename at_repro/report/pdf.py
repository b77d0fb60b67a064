"""The whole report as one PDF: all pages as a single one, which the system's Chromium prints; `print.css` says how.

Beside it, what a journal asks for: `metadata.yaml`.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from string import Template

from at_repro import files
from at_repro.errors import UserError
from at_repro.records import Store
from at_repro.report import book, trust

NAME, METADATA = "report.pdf", "metadata.yaml"
BROWSERS = (
    "chromium", "chromium-browser", "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)  # fmt: skip
"""Names under which systems have Chromium, or what is made of it."""

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # which root and containers have not; every page is our own
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--no-pdf-header-footer",  # else the date and the address of the file; numbers of pages are the style's
    "--generate-pdf-document-outline",
    "--virtual-time-budget=60000",  # ms until the last formula is set; none of them is waited
)


def chromium() -> str:
    """The path of the system's Chromium. Raises UserError where there is none."""
    if browser := next(filter(None, map(shutil.which, BROWSERS)), None):
        return browser
    raise UserError("a PDF is printed by Chromium, which is not installed: apt-get install chromium, or Google Chrome")


def write(stage: Path, store: Store) -> Path:
    """Prints a staged book, see `book.staged_pages`, into `report.pdf` in its folder, and returns that path.

    `metadata.yaml` beside it says where the repository is and what the records of the store cost.

    Raises UserError without Chromium, where it fails, and as `book.jupyter_book` does.
    """
    browser = chromium()
    page = book.jupyter_book(stage, "singlehtml").with_name("intro.html")
    # Links that outputs of notebooks hold lead to pages, which are parts of this one; all others are Sphinx's.
    stems = "|".join(path.stem for path in (stage / "notebooks").glob("*.ipynb"))
    files.write(page, re.sub(rf'href="({stems})\.html[^"]*"', r'href="#document-notebooks/\1"', page.read_text()))
    output = stage / NAME
    # A profile of its own: that of a user may be open, and would get its pages.
    with files.replacement(output) as path, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *_OPTIONS, f"--user-data-dir={profile}", f"--print-to-pdf={path}", page.as_uri()]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode or not path.exists():
            raise UserError(f"Chromium did not print {page}: {process.stderr.strip()[-200:]}")
    _fill(stage / METADATA, store)
    return output


def _fill(path: Path, store: Store) -> None:
    """Fills in where the repository is, as `_config.yml` says, and what the records of a store cost."""
    (repository,) = re.findall(r'(?m)^repository:\n  url: ["\']?([^"\'\s]*)', (path.parent / "_config.yml").read_text())
    files.write(path, Template(path.read_text()).substitute(repository=repository, computing=trust.cost(store)))
