"""What a page of the book or of the repository says."""

from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def prose(page: str) -> str:
    """The text of a Markdown file or, of a notebook, of its Markdown cells."""
    text = (ROOT / page).read_text()
    if not page.endswith(".ipynb"):
        return text
    cells = nbformat.reads(text, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
