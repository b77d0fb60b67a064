"""The README shows what the records say, and nothing that somebody typed."""

import base64
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from at_repro import book, claims, experiments, front_page
from at_repro.results import Store, open_store

ROOT = Path(__file__).resolve().parent.parent


def test_the_committed_readme_is_up_to_date():
    shown = front_page.verdicts(claims.ledger("reduced", open_store("reduced")))
    ledger = (ROOT / "book" / book.LEDGER).read_text()
    assert ledger == claims.ledger("reduced", open_store("reduced")).to_csv(), "run: at-repro refresh"
    assert f"<!-- verdicts -->\n{shown}<!-- end -->" in (ROOT / "README.md").read_text(), "run: at-repro refresh"
    picture = (ROOT / front_page.MAPS).read_bytes()
    assert base64.b64encode(picture) in (ROOT / "notebooks" / "01_attention_maps.ipynb").read_bytes().replace(
        b"\\n", b""
    )


def test_verdicts_have_a_row_for_each_claim_that_was_tested(store, hand_made, no_benchmark):
    columns = experiments.get("wrn-16-2-to-16-1").runs("smoke")[0]
    hand_made(columns["student"], final={"test_error": 9.0})
    hand_made(columns["AT"], final={"test_error": 8.0})
    lines = front_page.verdicts(claims.ledger("smoke", store)).splitlines()
    assert lines[0] == "Of 25 claims: 1 direction holds, not significant, 24 not run."
    assert len(lines) == 5 and all(line.count("|") == 6 for line in lines[2:])
    assert lines[-1].endswith(
        "| direction holds, not significant | 1 of 4 | AT below student (wrn-16-2-to-16-1): -1.00 points (p = 1) |"
    )


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    picture = {"image/png": base64.b64encode(b"a picture").decode(), "text/plain": "figure"}
    figure = {"mystnb": {"figure": {"name": "fig-levels"}}}
    cell = new_code_cell("figure", metadata=figure, outputs=[new_output("display_data", picture)], execution_count=1)
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "notebooks" / "01_attention_maps.ipynb")
    (tmp_path / "book" / "_assets").mkdir(parents=True)
    (tmp_path / "README.md").write_text("before\n<!-- verdicts -->\nof yesterday\n<!-- end -->\nafter\n")
    monkeypatch.setattr(book, "CHECKOUT", tmp_path)
    monkeypatch.setattr(front_page, "open_store", lambda preset: Store(tmp_path / "results"))
    return tmp_path


def test_update_changes_the_verdicts_and_the_picture_alone(checkout, no_benchmark):
    readme, maps, table = front_page.update()
    text = readme.read_text()
    assert text.startswith("before\n<!-- verdicts -->\nOf 25 claims: 25 not run.\n")
    assert text.endswith("---|\n<!-- end -->\nafter\n") and "of yesterday" not in text
    assert maps.read_bytes() == b"a picture"
    assert pd.read_csv(table)["verdict"].tolist() == ["not run"] * 25
    assert front_page.update() == [readme, maps, table] and readme.read_text() == text
