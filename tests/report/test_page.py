"""What a notebook begins and ends with, and the values that its parameters may have."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import torch

from at_repro import bench
from at_repro.errors import ParameterError
from at_repro.report import page, trust
from at_repro.report.page import Page, check, literal, read
from at_repro.training import provenance

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


def test_a_wrong_value_ends_at_once(names):
    """Before anything is trained, for a notebook that opens no study as well."""
    with pytest.raises(ParameterError, match=r"^network: "):
        Page(names | {"student": "wrn-17-1"})


def test_the_end_names_parameters_and_no_folders(names, monkeypatch):
    """Where a folder lies on a machine is nobody's business."""
    monkeypatch.setattr(provenance, "commit", lambda: "abc")
    clock = SimpleNamespace(now=lambda zone=None: datetime(2024, 1, 2, 3, 4, tzinfo=UTC).astimezone(zone))
    monkeypatch.setattr(page, "datetime", clock)
    first, second = Page(names).closing().splitlines()
    told = "preset 'smoke', seeds [0], data_root '', results 'results', student 'wrn-10-1', epochs 3, count 2"
    assert first == f"parameters: {told}"
    assert second.startswith(f"executed on CPU, {torch.get_num_threads()} thread")
    assert f"torch {torch.__version__}, at_repro abc, " in second and second.endswith(", 2024-01-02 03:04 UTC")
    (alone,) = Page({}).closing().splitlines()
    assert alone == second, "a page without parameters"


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        ("4", "12", 12),
        ("0.5", "2", 2.0),
        ("0.5", "1e-3", 0.001),
        ('"reduced"', "smoke", "smoke"),
        ('"reduced"', "5", "5"),
        ("True", "False", False),
        ("[0]", "[0, 1]", [0, 1]),
        ("[0]", "0,1", [0, 1]),
        ("[0]", "3", [3]),
        ('["sum-2"]', "sum-2", ["sum-2"]),
        ('["sum-2"]', "sum-2, max-1", ["sum-2", "max-1"]),
        ('["sum-2"]', '["max-1"]', ["max-1"]),
        ("[]", "[]", []),
    ],
)
def test_text_is_read_by_the_type_of_the_default(default, text, value):
    found = read({"x": literal(default)}, {"x": text})["x"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("default", "value", "kind"),
    [
        ("4", "many", "an int, such as 4"),
        ("4", "1.5", "an int, such as 4"),
        ("4", "true", "an int, such as 4"),
        ("4", True, "an int, such as 4"),
        ("0.5", "fast", "a float, such as 0.5"),
        ("0.5", "1" + 400 * "0", "a float, such as 0.5"),
        ("False", "1", "a bool, such as False"),
        ("[0]", "first", r"a list, such as \[0\]"),
        ("[0]", "{[1]: 2}", r"a list, such as \[0\]"),
        ('"reduced"', 5, "a str, such as 'reduced'"),
    ],
)
def test_a_value_of_another_type_is_refused(default, value, kind):
    with pytest.raises(ParameterError, match=f"x: .* is not allowed; allowed: {kind}"):
        read({"x": literal(default)}, {"x": value})


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("preset", "huge", "preset: 'huge'"),
        ("seeds", [-1], "seeds: -1"),
        ("device", "tpu", "device: 'tpu'"),
        ("data_root", "/nowhere", "data root: '/nowhere'"),
        ("results", __file__, "results: "),
        ("results", "a\0b", "results: "),
        ("data_root", "a\0b", "data root: "),
        ("mapping", "mean-2", "mapping: 'mean-2'"),
        ("beta", 0.0, "beta: 0.0"),
        ("dataset", "nowhere", "data set: 'nowhere'"),
        ("mappings", [], "mappings: []"),
        ("networks", ["vgg"], "networks: 'vgg'"),
        ("method", "XX", "method: 'XX'"),
        ("count", 0, "count: 0"),
        ("epochs", 10**400, "epochs: 1000"),
        ("seeds", [2**70], "seeds: 1180591620717411303424"),
        ("batch", 0, "batch: 0"),
        ("measured", "/nowhere", "measured: '/nowhere'"),
        ("proofs", "/nowhere", "proofs: '/nowhere'"),
        ("measured", str(trust.COMMITTED), "measured: '"),
        ("proofs", str(bench.COMMITTED), "proofs: '"),
    ],
)
def test_a_wrong_value_is_refused_before_a_kernel_starts(name, value, line):
    """A sweep would otherwise train for its other values first."""
    check({"preset": "smoke", "seeds": [], "results": "", "data_root": "", "count": 1})
    with pytest.raises(ParameterError) as raised:
        check({name: value})
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value)
