"""The README shows what the records say, and nothing that somebody typed."""

import base64
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from at_repro import book, claims, experiments, front_page, results
from at_repro.errors import UserError
from at_repro.results import open_store

ROOT = Path(__file__).resolve().parent.parent


def test_the_committed_readme_is_up_to_date():
    ledger = claims.ledger("reduced", open_store("reduced"))
    assert (ROOT / "book" / book.LEDGER).read_text() == ledger.to_csv(), "run: at-repro refresh"
    readme = (ROOT / "README.md").read_text()
    for preset, shown in front_page.found(ledger).items():
        assert f"<!-- preset {preset} -->\n{shown}<!-- end -->" in readme, "run: at-repro refresh"
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
    place = "<!-- preset {} -->\nof yesterday\n<!-- end -->\n".format
    (tmp_path / "README.md").write_text(f"before\n{place('paper')}between\n{place('reduced')}after\n")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(book, "CHECKOUT", tmp_path)
    monkeypatch.setattr(results, "default_folder", lambda preset: tmp_path / "results")
    return tmp_path


def test_update_changes_what_was_found_and_the_picture_alone(checkout, no_benchmark):
    readme, maps, table = front_page.update()
    before, paper, between, reduced, after = re.split(r"<!-- .* -->\n", readme.read_text())
    assert (before, between, after) == ("before\n", "between\n", "after\n")
    assert "| student | not run |" in paper and "claims" not in paper and "of yesterday" not in paper
    assert reduced.startswith("Of 25 claims: 25 not run.\n") and "of yesterday" not in reduced
    assert maps.read_bytes() == b"a picture"
    assert pd.read_csv(table)["verdict"].tolist() == ["not run"] * 25
    text = readme.read_text()
    assert front_page.update() == [readme, maps, table] and readme.read_text() == text


def test_a_readme_without_a_place_is_left_alone(checkout, no_benchmark):
    readme = checkout / "README.md"
    readme.write_text(text := readme.read_text().replace("preset paper", "preset peper"))
    with pytest.raises(UserError, match="no place for paper: <!-- preset NAME -->"):
        front_page.update()
    assert readme.read_text() == text


def test_the_readme_shows_of_the_long_runs_what_they_alone_can_say(store, hand_made, no_benchmark):
    for preset, gain in (("reduced", 1.0), ("paper", 2.0)):
        columns = experiments.get("wrn-16-2-to-16-1").runs(preset, [0])[0]
        hand_made(columns["student"], final={"test_error": 9.0})
        hand_made(columns["AT"], final={"test_error": 9.0 - gain})
    reduced, paper = (claims.ledger(preset, store) for preset in ("reduced", "paper"))
    shown = claims.tested(paper, beside=reduced)
    assert list(shown.index) == ["at", "convergence", "every-mapping"]
    assert shown.loc["at", "numbers"] == "AT below student (wrn-16-2-to-16-1): -2.00 points (p = 1)"
    assert claims.tested(paper, beside=paper).empty, "the same runs say nothing new"
