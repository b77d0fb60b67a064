"""What a notebook begins and ends with."""

import pytest

from at_repro.errors import ParameterError
from at_repro.report.page import Page

SHARED = {"preset": "smoke", "seeds": [0], "device": "cpu", "data_root": "", "results": ""}


@pytest.fixture
def names(store):
    """As `globals()` of a notebook right after its parameters cell."""
    own = SHARED | {"results": str(store.folder), "student": "wrn-10-1", "epochs": 3, "count": 2}
    return {"__name__": "__main__", "In": ["", "x"], "Out": {}, "_i1": "x", "exit": exit, "ParameterError": Page} | own


def test_parameters_are_what_the_parameters_cell_sets(names):
    assert list(Page(names).parameters) == [*SHARED, "student", "epochs", "count"]


def test_a_study_is_what_the_parameters_ask_for(names):
    page = Page(names)
    study = page.study("wrn-16-2-to-16-1", "student", "epochs", train_missing=False)
    assert (study.columns["AT"].network, study.columns["AT"].epochs) == ("wrn-10-1", 3)
    assert study.changes == {"student": "wrn-10-1", "epochs": 3} and study.seeds == [0]
    other = page.study("wrn-16-2-to-16-1", preset="reduced", seeds=[1, 2], train_missing=False)
    assert (other.preset, other.seeds, other.changes) == ("reduced", [1, 2], {}), "named otherwise, and not changed"


def test_a_page_names_what_it_was_made_from(names, hand_made):
    page = Page(names)
    assert "preset smoke, seed 0" not in page.closing(), "no study is open"
    run = page.study("wrn-16-2-to-16-1", train_missing=False).columns["student"]
    assert page.closing().startswith("experiment wrn-16-2-to-16-1, preset smoke, seed 0: no records\n")
    hand_made(run)
    page.study("wrn-16-2-to-16-1", train_missing=False)
    assert f"  student  {run.run_id}\n" in page.closing() and "  not run  " in page.closing()
    told = page.closing("a gallery")
    assert told.startswith("a gallery\n") and run.run_id not in told and "executed on" in told


def test_a_wrong_value_ends_at_once(names):
    """Before anything is trained, for a notebook that opens no study as well."""
    with pytest.raises(ParameterError, match=r"^network: "):
        Page(names | {"student": "wrn-17-1"})


def test_the_end_names_parameters_and_no_folders(names):
    end = Page(names).closing()
    assert "preset 'smoke', seeds [0], data_root '', results 'results', student 'wrn-10-1', epochs 3, count 2" in end
    assert "executed on CPU" in end
