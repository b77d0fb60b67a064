"""When a rule was stated, and that a change after that shows."""

import json
from dataclasses import replace

import pytest

from at_repro.claims import paper_claims, plan
from at_repro.claims.comparisons import ErrorComparison, MeanOf
from at_repro.claims.paper_claims import BY_NAME
from at_repro.claims.verdicts import Margin
from at_repro.experiments import TABLE_1, get

EITHER = BY_NAME["fine-tuning"].comparisons[2]


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Another plan than the committed one, which says nothing yet."""
    path = tmp_path / "plan.json"
    monkeypatch.setattr(plan, "FILE", path)
    return path


def test_every_rule_is_stated_as_it_is():
    """A rule that is changed after its runs is another rule: state it anew with `plan.state`, before new runs."""
    for name in paper_claims.BY_NAME:
        assert plan.history(name, []).startswith("stated 20"), f"{name}: {plan.history(name, [])}"


def test_runs_that_were_known_when_a_rule_was_stated_are_counted(path, store, hand_made):
    runs = [columns["AT"] for columns in get("wrn-16-2-to-16-1").runs("reduced", [0, 1])]
    hand_made(runs[0])
    assert set(plan.state(store)) == set(paper_claims.BY_NAME)
    assert plan.history("at", [run.run_id for run in runs]).endswith(", knowing 1 of its 2 runs")
    assert plan.unknown("at", [run.run_id for run in runs]) == {runs[1].run_id}
    assert plan.unknown("at", ["imagenet-resnet18"]) == set(), "others had trained it long before"
    assert plan.state(store) == [], "nothing is new"


def test_a_margin_that_is_changed_after_it_was_stated_shows(path, store, monkeypatch):
    plan.state(store)
    wider = [ErrorComparison(row, ("F-ActT",), ("student",), Margin(1.0, alike=True)) for row in TABLE_1]
    changed = replace(paper_claims.BY_NAME["f-actt"], comparisons=wider)
    monkeypatch.setitem(paper_claims.BY_NAME, "f-actt", changed)
    assert plan.history("f-actt", ["a run"]).startswith("changed since it was stated on 20")
    assert plan.unknown("f-actt", ["a run"]) == set(), "what came before the change was no test of it"
    assert plan.state(store) == ["f-actt"], "stated anew, beside the old statement"
    assert len(json.loads(path.read_text())) == 2
    assert ", another rule than on 20" in plan.history("f-actt", ["a run"]), "or it would pass for the first one"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fine-tuning", {"comparisons": [*BY_NAME["fine-tuning"].comparisons[:2], MeanOf(EITHER.comparisons)]}),
        ("power", {"is_arithmetic": False}),
    ],
)
def test_another_kind_of_comparison_is_another_rule(name, change, monkeypatch):
    """The mean of two is not the better one of two, though their columns and margins are the same."""
    monkeypatch.setitem(paper_claims.BY_NAME, name, replace(paper_claims.BY_NAME[name], **change))
    assert plan.history(name, []).startswith("changed since it was stated")


def test_the_level_of_the_test_belongs_to_every_rule(monkeypatch):
    monkeypatch.setattr(plan, "ALPHA", 0.2)
    assert plan.history("at", []).startswith("changed since it was stated")


def test_the_benchmark_was_known_when_its_rule_was_stated():
    assert plan.history("cost", ["bench.json"]).endswith("knowing 1 of its 1 runs")


def test_a_rule_that_nobody_stated_is_called_so(path):
    assert plan.history("at", []) == "not stated" and plan.unknown("at", ["a run"]) == set()


def test_an_installed_package_does_not_call_its_rules_unstated(tmp_path, monkeypatch):
    """The plan lies in the checkout's book, which is not beside it."""
    monkeypatch.setattr(plan, "FILE", tmp_path / "book" / "plan.json")
    assert plan.history("at", []) == "stated or not in book/plan.json of a checkout"
