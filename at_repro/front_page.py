"""What stands beside the report: the README's verdicts and maps at three levels, and the ledger as a file."""

import base64
import re
from pathlib import Path

import pandas as pd

from at_repro import book, claims
from at_repro.errors import UserError
from at_repro.results import open_store

MAPS = Path("book") / "_assets" / "maps.png"
_FIGURE = "fig-levels"  # of the notebook on attention maps
_VERDICTS = re.compile(r"(?<=<!-- verdicts -->\n).*(?=<!-- end -->\n)", re.DOTALL)


def update() -> list[Path]:
    """Writes the verdicts into the README, and the teacher's maps and the ledger beside the book's pages.

    Returns what was written.

    Raises UserError where there is no checkout or no place in the README, DamagedRecord for a record that is not whole.
    """
    root = book.notebooks_folder().parent
    readme, maps, table = root / "README.md", root / MAPS, root / "book" / book.LEDGER
    ledger = claims.ledger(book.COMMITTED, open_store(book.COMMITTED))
    shown = verdicts(ledger)
    text, count = _VERDICTS.subn(lambda _: shown, readme.read_text())
    if not count:
        raise UserError(f"{readme} has no place for the verdicts: <!-- verdicts --> and <!-- end -->")
    readme.write_text(text)
    maps.write_bytes(_picture(root / "notebooks" / "01_attention_maps.ipynb"))
    ledger.to_csv(table)
    return [readme, maps, table]


def verdicts(ledger: pd.DataFrame) -> str:
    """The claims that were tested as a Markdown table, under the sentence that counts all verdicts."""
    tested = ledger[ledger["verdict"] != claims.NOT_RUN]
    rows = [
        f"| {row.claim} | {row.on.replace('; ', '<br>')} | {row.verdict} | {row.comparisons} "
        f"| {row.numbers.replace('; ', '<br>')} |"
        for row in tested.itertuples()
    ]
    heading = ["| the paper claims | tested on | verdict | comparisons run | differences |", "|---|---|---|---|---|"]
    return "\n".join([claims.summary(ledger), "", *heading, *rows, ""])


def _picture(notebook: Path) -> bytes:
    """The PNG of the figure with the teacher's maps."""
    import nbformat  # it comes with the extra `book`

    for cell in nbformat.read(notebook, as_version=4).cells:
        if book.figure(cell).get("name") == _FIGURE:
            return base64.b64decode(next(output.data["image/png"] for output in cell.outputs if "data" in output))
    raise LookupError(f"{notebook} has no figure {_FIGURE}")
