"""A table that readers sort by its headings and whose rows fold out: HTML for any browser, readable without scripts."""

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

from at_repro.claims import verdicts


class SortableTable:
    """What a notebook shows as HTML, and as text where numbers are compared.

    Headings sort by the number that a cell begins with, else by its text (`book/_assets/sort.js`).

    Args:
        table: its columns are the headings; a cell that names a verdict has it in colour.
        folded: by row, what is folded away below it: lines by their title; lines that are empty are left out.
        links: by row, where the text of the last column leads.
    """

    def __init__(self, table: pd.DataFrame, folded: Sequence[Mapping[str, Sequence[str]]], links: Sequence[str]):
        self.table, self.folded, self.links = table, folded, links

    def __repr__(self) -> str:
        return self.table.to_string(index=False)

    def _repr_html_(self) -> str:
        headings = "".join(f"<th><button>{escape(name)}</button></th>" for name in self.table)
        rows = zip(self.table.itertuples(index=False), self.folded, self.links, strict=True)
        bodies = "\n".join(self._row(*row) for row in rows)
        return f'<table class="sortable"><thead><tr>{headings}</tr></thead>\n{bodies}</table>'

    def _row(self, cells: Sequence[str], folded: Mapping[str, Sequence[str]], link: str) -> str:
        *texts, last = cells
        cells_html = "".join(f"<td>{_coloured(text)}</td>" for text in texts)
        cells_html += f'<td><a href="{escape(link)}">{escape(last)}</a></td>'
        parts = {title: [line for line in lines if line] for title, lines in folded.items()}
        lists = "".join(
            f"<p>{escape(title)}</p><ul>{''.join(f'<li>{_coloured(line)}</li>' for line in lines)}</ul>"
            for title, lines in parts.items()
            if lines
        )
        titles = ", ".join(title.lower() for title, lines in parts.items() if lines)
        details = f"<details><summary>{escape(titles)}</summary>{lists}</details>"
        return f'<tbody><tr>{cells_html}</tr><tr><td colspan="{len(cells)}">{details}</td></tr></tbody>'


def _coloured(text: str) -> str:
    """HTML of a text whose parts are joined by "; ": verdicts among them in their colour."""
    parts = [
        f'<span class="verdict {part.replace(" ", "-")}">{part}</span>' if part in verdicts.VERDICTS else escape(part)
        for part in text.split("; ")
    ]
    return "; ".join(parts)
