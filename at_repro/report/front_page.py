"""What stands beside the report: the README's errors, verdict counts and maps, and the ledger as a file."""

import base64
import re
from pathlib import Path

import pandas as pd

from at_repro import claims, files
from at_repro.analysis import tables
from at_repro.analysis.study import Study, open_study
from at_repro.errors import UserError
from at_repro.records import open_store
from at_repro.report import book

MAPS = Path("book") / "_assets" / "maps.png"
_FIGURE = "fig-levels"  # of the notebook on attention maps
_PLACE = re.compile(r"(<!-- found -->\n).*?(<!-- end -->\n)", re.DOTALL)


def update() -> list[Path]:
    """Writes what was found into the README, and the teacher's maps and the ledger beside the book's pages.

    Returns what was written.

    Raises UserError where there is no checkout or no place in the README, DamagedRecord for a record that is not whole.
    """
    root = book.notebooks_folder().parent
    readme, maps, table = root / "README.md", root / MAPS, root / "book" / book.LEDGER
    ledger = claims.ledger(claims.comparisons(open_store(book.COMMITTED)))
    text = readme.read_text()
    if not _PLACE.search(text):
        raise UserError(f"{readme} has no place for what was found: <!-- found --> and <!-- end -->")
    files.write(readme, _PLACE.sub(lambda place: place[1] + found(ledger) + place[2], text))
    files.write(maps, _picture(root / "notebooks" / "attention_maps.ipynb"))
    files.write(table, ledger.to_csv())
    return [readme, maps, table]


def found(ledger: pd.DataFrame) -> str:
    """What the README shows, as Markdown: the row of Table 1 that was trained as long as in the paper, and a sentence
    that counts the verdicts."""
    flagship = open_study("wrn-16-2-to-16-1", "paper", [0], train_missing=False)
    return f"{errors(flagship)}\n{claims.summary(ledger)}\n"


def errors(study: Study) -> str:
    """Test errors beside the paper's as a Markdown table, of a study of Table 1's second row."""
    table = tables.readable(tables.errors(study, "Table 1", "wrn-16-1 from wrn-16-2"))
    return _markdown(table.rename_axis("test error, %").reset_index())


def _markdown(table: pd.DataFrame) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _picture(notebook: Path) -> bytes:
    """The PNG of the figure with the teacher's maps."""
    import nbformat  # it comes with the extra `book`

    for cell in nbformat.read(notebook, as_version=4).cells:
        if book.figure(cell).get("name") == _FIGURE:
            return base64.b64decode(next(output.data["image/png"] for output in cell.outputs if "data" in output))
    raise LookupError(f"{notebook} has no figure {_FIGURE}")
