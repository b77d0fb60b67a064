"""Who is ahead at which length, on records whose numbers are counted by hand."""

import math

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
        made = Made(None, experiment, preset, None, "cpu", [0, 1], columns, {}, [], "")
        object.__setattr__(made, "rows", (ends, curves))
        return made

    def test_errors(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows[0], columns=["column", "seed", "test_error"])

    def curves(self) -> pd.DataFrame:
        columns = ["column", "seed", "epoch", "learning_rate", "test_error"]
        return pd.DataFrame(self.rows[1], columns=columns)


@pytest.fixture
def study():
    ends = [
        ("student, 10 epochs", 0, 20.0), ("student, 10 epochs", 1, 24.0), ("student, 80 epochs", 0, 10.0),
        ("AT, 10 epochs", 0, 18.0), ("AT, 10 epochs", 1, 18.0), ("AT, 80 epochs", 0, 10.5),
        ("AT, decaying, 10 epochs", 0, 20.0),
        ("AT, decaying, 80 epochs", 0, 9.0), ("KD, 20 epochs", 0, 15.0), ("KD, 80 epochs", 0, math.nan),
        ("teacher", 0, 7.0),
    ]  # fmt: skip
    curves = [
        (f"{method}, 10 epochs", 0, epoch, rate, error)
        for method, errors in {"student": (80, 60, 20), "AT": (70, 40, 21), "AT, decaying": (75, 50, 20)}.items()
        for epoch, rate, error in zip((1, 2, 3), (0.1, 0.1, 0.02), errors, strict=True)
    ] + [("teacher", 0, 1, 0.1, 50.0), ("AT, 20 epochs", 0, 1, 0.1, 60.0)]
    curves += [(f"{method}, 80 epochs", 0, 1, 0.1, error) for method, error in {"student": 70.0, "KD": 90.0}.items()]
    return Made.of(ends, curves)


def test_methods_are_held_against_the_plain_student_of_their_length_and_seed(study):
    found = training_lengths.last_errors(study).set_index(["method", "epochs"])
    assert found.loc[("student", 10), ["test_error", "difference"]].tolist() == [22, 0]
    assert found.loc[("AT", 10), ["test_error", "difference"]].tolist() == [18, -4], "mean of -2 and -6"
    assert found.loc[("AT", 80), ["column", "difference"]].tolist() == ["AT, 80 epochs", 0.5], "another winner"
    assert found.loc[("AT, decaying", 80), "difference"] == -1, "a method of its own, whatever its name holds"
    assert math.isnan(found.loc[("KD", 20), "difference"]), "there is no plain student of 20 epochs"
    assert ("KD", 80) not in found.index, "what diverged has no error"
    assert "teacher" not in found.index.get_level_values("method"), "its length is its own"


def test_who_leads_may_change_with_the_rate(study):
    """AT is 10 and 20 points ahead in the two epochs of the high rate, and one behind in that of the low one."""
    means = training_lengths.phase_means(study)
    assert list(means.columns) == ["AT", "AT, decaying"] and list(means.index) == [(10, 0.1), (10, 0.02)]
    assert "KD" not in means, "it diverged, and its last epochs guess"
    assert means["AT"].tolist() == [-15, 1] and means["AT, decaying"].tolist() == [-7.5, 0]


def test_runs_of_the_papers_length_stand_beside_the_others(study):
    """Their columns do not name their length; the plain student of another length is no reference for them."""
    curves = [("student", 0, 1, 0.1, 50.0), ("AT", 0, 1, 0.1, 45.0), ("teacher", 0, 1, 0.1, 40.0)]
    as_long = Made.of([("student", 0, 8.0), ("AT", 0, 7.0)], curves, "wrn-16-2-to-16-1", "paper")
    found = training_lengths.phase_means(study, as_long)
    assert found.loc[200, "AT"].tolist() == [-5] and found.loc[[10]].equals(training_lengths.phase_means(study))
    ends = training_lengths.last_errors(study, as_long).set_index(["method", "epochs"])
    assert ends.loc[("AT", 200), "difference"] == -1 and ends.loc[("AT", 10), "difference"] == -4


def test_without_records_there_are_no_rows():
    empty = Made.of([], [])
    assert training_lengths.last_errors(empty).empty and training_lengths.phase_means(empty).empty
