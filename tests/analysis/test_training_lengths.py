"""Who is ahead at which length, on records whose numbers are counted by hand."""

import math
from dataclasses import dataclass

import pandas as pd
import pytest

from at_repro import experiments
from at_repro.analysis import training_lengths
from at_repro.analysis.study import Study


class Made(Study):
    """A study whose records are rows."""

    @staticmethod
    def of(ends: list[tuple], curves: list[tuple], name: str = "training-length", preset: str = "reduced") -> "Made":
        experiment = experiments.get(name)
        (columns,) = experiment.runs(preset, [0])
        made = Made(experiment, preset, None, "cpu", [0, 1], columns, {}, [], None, "")
        object.__setattr__(made, "rows", (ends, curves))
        return made

    def errors(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows[0], columns=["column", "seed", "test_error"])

    def curves(self) -> pd.DataFrame:
        columns = ["column", "seed", "epoch", "learning_rate", "test_error"]
        return pd.DataFrame(self.rows[1], columns=columns)


@pytest.fixture
def study():
    ends = [
        ("student, 10 epochs", 0, 20.0), ("student, 10 epochs", 1, 24.0), ("student, 80 epochs", 0, 10.0),
        ("AT, 10 epochs", 0, 18.0), ("AT, 10 epochs", 1, 18.0), ("AT, 80 epochs", 0, 10.5),
        ("AT, decaying, 80 epochs", 0, 9.0), ("KD, 20 epochs", 0, 15.0), ("KD, 80 epochs", 0, math.nan),
        ("teacher", 0, 7.0),
    ]  # fmt: skip
    curves = [
        (f"{method}, 10 epochs", 0, epoch, rate, error)
        for method, errors in {"student": (80, 60, 20), "AT": (70, 40, 21), "AT, decaying": (75, 50, 20)}.items()
        for epoch, rate, error in zip((1, 2, 3), (0.1, 0.1, 0.02), errors, strict=True)
    ] + [("teacher", 0, 1, 0.1, 50.0), ("AT, 20 epochs", 0, 1, 0.1, 60.0)]
    return Made.of(ends, curves)


def test_methods_are_held_against_the_plain_student_of_their_length_and_seed(study):
    found = training_lengths.final(study).set_index(["method", "epochs"])
    assert found.loc[("student", 10), ["seeds", "test_error", "difference"]].tolist() == [2, 22, 0]
    assert found.loc[("AT", 10), ["seeds", "test_error", "difference"]].tolist() == [2, 18, -4], "median of -2 and -6"
    assert found.loc[("AT", 80), "difference"] == 0.5, "another length, another winner"
    assert found.loc[("AT, decaying", 80), "difference"] == -1, "a method of its own, whatever its name holds"
    assert math.isnan(found.loc[("KD", 20), "difference"]), "there is no plain student of 20 epochs"
    assert ("KD", 80) not in found.index, "what diverged has no error"
    assert "teacher" not in found.index.get_level_values("method"), "its length is its own"


@dataclass
class Result:
    """A record of which only the answers to ten images are known, all of class 0."""

    run: object
    wrong: int
    diverged: int | None = None

    @property
    def final(self):
        return {"test_error": 10.0 * self.wrong}

    def predictions(self):
        return pd.DataFrame({"label": 0, "prediction": [1] * self.wrong + [0] * (10 - self.wrong)})


def test_answers_are_compared_within_a_length(study):
    """By hand: of 6 wrong answers 5 become right, twice 1 in 2^5; across lengths nothing is compared."""
    wrong = {
        "student, 10 epochs": 6,
        "AT, 10 epochs": 1,
        "student, 20 epochs": 2,
        "KD, 20 epochs": 3,
        "AT, 40 epochs": 1,
    }
    study.records.update({column: {0: Result(study.columns[column], count)} for column, count in wrong.items()})
    found = training_lengths.comparisons(study)
    assert found.index.tolist() == [10, 20] and found["method"].tolist() == ["AT, 10 epochs", "KD, 20 epochs"]
    assert found["difference"].tolist() == [-50, 10] and found["p"].tolist() == [2 / 2**5, 1]


def test_who_leads_may_change_with_the_rate(study):
    found = training_lengths.leads(study)
    assert set(found["method"]) == {"student", "AT", "AT, decaying"} and set(found["epochs"]) == {10}
    assert found[found["method"] == "AT"]["difference"].tolist() == [-10, -20, 1]
    means = training_lengths.phases(found)
    assert list(means.columns) == ["AT", "AT, decaying"] and list(means.index) == [(10, 0.1), (10, 0.02)]
    assert means["AT"].tolist() == [-15, 1] and means["AT, decaying"].tolist() == [-7.5, 0]


def test_runs_of_the_papers_length_stand_beside_the_others(study):
    """Their columns do not name their length; the plain student of another length is no reference for them."""
    curves = [("student", 0, 1, 0.1, 50.0), ("AT", 0, 1, 0.1, 45.0), ("teacher", 0, 1, 0.1, 40.0)]
    as_long = Made.of([("student", 0, 8.0), ("AT", 0, 7.0)], curves, "wrn-16-2-to-16-1", "paper")
    found = training_lengths.leads(study, as_long)
    assert found[found["epochs"] == 200][["method", "difference"]].values.tolist() == [["student", 0], ["AT", -5]]
    assert found[found["epochs"] < 200].equals(training_lengths.leads(study))
    ends = training_lengths.final(study, as_long).set_index(["method", "epochs"])
    assert ends.loc[("AT", 200), "difference"] == -1 and ends.loc[("AT", 10), "difference"] == -4


def test_without_records_there_are_no_rows():
    empty = Made.of([], [])
    assert training_lengths.final(empty).empty and training_lengths.leads(empty).empty
    assert training_lengths.phases(training_lengths.leads(empty)).empty and training_lengths.comparisons(empty).empty


def ends(**differences):
    """As from `training_lengths.final`, at 10, 20, 40 epochs."""
    rows = [(m, e, 1, 9.0, d) for m, by in differences.items() for e, d in zip((10, 20, 40), by, strict=False)]
    return pd.DataFrame(rows, columns=["method", "epochs", "seeds", "test_error", "difference"])


def test_a_crossing_lies_between_the_lengths_of_different_signs():
    found = training_lengths.crossings(
        ends(student=(0, 0, 0), AT=(-4.0, -1.0, 0.5), KD=(0.1, -0.2, 0.0), F=(-1.0, -1.0, -1.0), L=(-1.0, float("nan")))
    )
    assert found.loc["AT"].tolist() == ["10, 20", "40", "20 to 40"]
    assert found.loc["KD"].tolist() == ["20", "10, 40", "10 to 20, 20 to 40"], "no gain is no gain"
    assert found.loc["F"].tolist() == ["10, 20, 40", "", ""]
    assert found.loc["L"].tolist() == ["10", "", ""], "of what is not run nothing is said"
    assert "student" not in found.index and training_lengths.crossings(ends()).empty


def test_the_last_lead_is_the_last_epoch_below_the_plain_student():
    rows = [("AT", 4, epoch, 0.1, d) for epoch, d in enumerate((-3.0, 1.0, -1.0, 2.0), 1)]
    rows += [("KD", 4, epoch, 0.1, 1.0) for epoch in range(1, 5)]
    leads = pd.DataFrame(rows, columns=["method", "epochs", "epoch", "learning_rate", "difference"])
    found = training_lengths.last_leads(leads)
    assert found.loc[("AT", 4)].tolist() == [50, 3]
    assert found.loc[("KD", 4), "ahead"] == 0 and pd.isna(found.loc[("KD", 4), "last epoch ahead"])
