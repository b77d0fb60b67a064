"""What a notebook shows of a table: the columns of the library under headings for readers."""

import pandas as pd

HEADINGS = {
    "count": "how many",
    "highest": "highest without one",
    "learning_rate": "learning rate",
    "lowest": "lowest without one",
    "of": "among",
    "rho": "rank correlation",
    "test_error": "test error (%)",
}
"""By the name of a column or of an axis. The text of a table, which nbval compares, and files keep the names."""


def bundle(table: pd.DataFrame, **_: object) -> tuple[dict[str, str], dict[str, object]]:
    """What a notebook holds of a table: its `html` and, in the metadata of the output, its stamp."""
    return {"text/html": html(table)}, {"stamp": table.attrs["stamp"]} if "stamp" in table.attrs else {}


def html(table: pd.DataFrame) -> str:
    """A table as HTML as pandas has it in notebooks; rows that are only counted stand without their numbers."""
    renamed = table.rename(columns=HEADINGS).rename_axis(index=HEADINGS, columns=HEADINGS)
    if isinstance(table.index, pd.RangeIndex) and table.index.name is None:
        return renamed.to_html(index=False, notebook=True)
    return renamed._repr_html_()
