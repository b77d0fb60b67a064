"""The README shows what the records say, and nothing that somebody typed."""

import base64
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from at_repro import claims
from at_repro.errors import UserError
from at_repro.experiments import paper
from at_repro.records import open_store
from at_repro.report import book, front_page

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_readme_is_up_to_date():
    ledger = claims.ledger(claims.comparisons(open_store("reduced")))
    assert (ROOT / "book" / book.LEDGER).read_text() == ledger.to_csv(), "run: at-repro refresh"
    readme = (ROOT / "README.md").read_text()
    assert f"<!-- found -->\n{front_page.found(ledger)}<!-- end -->" in readme, "run: at-repro refresh"
    picture = (ROOT / front_page.MAPS).read_bytes()
    assert base64.b64encode(picture) in (ROOT / "notebooks" / "attention_maps.ipynb").read_bytes().replace(b"\\n", b"")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    picture = {"image/png": base64.b64encode(b"a picture").decode(), "text/plain": "figure"}
    figure = {"mystnb": {"figure": {"name": "fig-levels"}}}
    cell = new_code_cell("figure", metadata=figure, outputs=[new_output("display_data", picture)], execution_count=1)
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "notebooks" / "attention_maps.ipynb")
    (tmp_path / "book" / "_assets").mkdir(parents=True)
    (tmp_path / "README.md").write_text("before\n<!-- found -->\nof yesterday\n<!-- end -->\nafter\n")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(book, "CHECKOUT", tmp_path)
    monkeypatch.setattr("at_repro.records.store.default_folder", lambda preset: tmp_path / "results")
    return tmp_path


def test_update_changes_what_was_found_and_the_picture_alone(checkout, no_benchmark):
    readme, maps, table = front_page.update()
    before, found, after = re.split(r"<!-- .* -->\n", readme.read_text())
    assert (before, after) == ("before\n", "after\n") and "of yesterday" not in found
    assert "| student | not run |" in found
    count = len(paper.CLAIMS) - 1
    assert f"Of {count} claims: 0 supported, 0 contradicted, 0 undecided, {count} not tested.\n" in found
    assert maps.read_bytes() == b"a picture"
    assert pd.read_csv(table)["verdict"].tolist() == ["not tested"] * len(paper.CLAIMS)
    text = readme.read_text()
    assert front_page.update() == [readme, maps, table] and readme.read_text() == text


def test_a_readme_without_a_place_is_left_alone(checkout, no_benchmark):
    readme = checkout / "README.md"
    readme.write_text(text := readme.read_text().replace("<!-- found -->", "<!-- fund -->"))
    with pytest.raises(UserError, match="no place for what was found: <!-- found --> and <!-- end -->"):
        front_page.update()
    assert readme.read_text() == text
