"""Tables for readers, on records whose numbers are counted by hand: 0.5 % is one of 200 images."""

import pandas as pd
import pytest

from at_repro.errors import UserError
from at_repro.report import tables


def plain(table: pd.DataFrame) -> pd.DataFrame:
    return table.replace("\N{NO-BREAK SPACE}", " ", regex=True)


def test_a_difference_has_the_interval_of_its_seeds(studies):
    """AT: 0.5, 1 and 1.5 points, so 4.30 times 0.5 / sqrt(3), with two degrees of freedom.

    KD: two images of 200 that one run gets wrong alone, 100 sqrt((0.01 - 0.01^2) / 200), as uncertain as AT's spread.
    """
    study = studies("reduced", student={seed: range(20) for seed in range(3)}, kd={0: range(18)},
                    at={0: range(19), 1: range(18), 2: range(17)})  # fmt: skip
    minus = plain(tables.stack({"x": study}, {"student": ["student"]})).loc["x", "minus student"]
    assert minus["AT"] == "-1.00 (-2.24 to +0.24)" and minus["KD"] == "-1.00 (-4.03 to +2.03)"
    assert minus["student"] == minus["AT+KD"] == "", "itself, and what is not run"


def test_tables_stand_below_each_other_and_beside_a_reference(studies):
    wrong = {"student": {0: range(20)}, "teacher": {0: range(10)}}
    groups = studies("reduced", "one-or-three", **wrong, **{"all groups": {0: range(16)}, "group 1": {0: range(18)}})
    forms = studies("reduced", "forms-and-betas", **wrong, **{"code form, beta 100": {0: None}},
                    **{"code form, beta 1000": {0: range(16)}, "paper form, beta 1": {1: range(16)}})  # fmt: skip
    references = {"usual": ["all groups", "code form, beta 1000"]}
    found = plain(tables.stack({"groups": groups, "forms": forms}, references))
    assert list(found.columns) == ["ours", "seeds", "paper", "minus usual"]
    assert found.loc[("groups", "group 1")].tolist() == ["9.00", 1, "8.11", "+1.00 (-0.38 to +2.38)"]
    assert found.loc[("groups", "all groups"), "minus usual"] == ""
    assert found.loc[("forms", "code form, beta 100")].tolist() == ["diverged", 0, "", ""]
    assert found.loc[("forms", "code form, beta 316")].tolist() == ["not run", 0, "", ""]
    assert found.loc[("forms", "paper form, beta 1")].tolist() == ["8.00", 1, "", ""], "of another seed"
    diverged = tables.stack({"x": forms}, {"it": ["code form, beta 100"]})
    assert list(diverged.columns) == ["ours", "seeds"], "nothing is held against what diverged"
    assert list(found.loc["forms"].index[:1]) == ["code form, beta 100"], "student and teacher stand above already"


def test_a_seed_that_diverged_beside_others_is_counted(studies):
    """It is in the interval, where it guesses, and not in the median."""
    study = studies("reduced", student={seed: range(40) for seed in range(3)}, at={0: None, 1: range(38), 2: range(38)})
    found = plain(tables.stack({"x": study}, {"student": ["student"]})).loc["x"]
    assert found.loc["AT", :"diverged"].tolist() == ["19.00", 2, 1] and found.loc["student", "diverged"] == ""
    assert found.loc["AT", "minus student"].endswith("(-79.16 to +124.50)")


def test_top5_errors_stand_beside_the_others(studies):
    study = studies("paper", "imagenet-resnet18", student={0: range(60), 1: range(64)})
    beside = tables.stack({"ImageNet": study}, {"student": ["student"]})
    assert beside.loc[("ImageNet", "student"), "top-5"] == "7.75" and beside.loc[("ImageNet", "AT"), "top-5"] == ""


def test_no_table_compares_what_was_measured_on_different_test_images(studies, hand_made):
    study = studies("reduced", student={0: range(20)})
    study.records["AT"] = {0: hand_made(study.columns["AT"], data={"test": "2" * 64})}
    with pytest.raises(UserError, match="different test images"):
        tables.stack({"x": study}, {"student": ["student"]})


def test_differences_are_read_by_length(studies):
    """Of one run: 1.96 times 100 sqrt((share - share^2) / 200) of the images that only one gets wrong."""
    errors = {"student, 10 epochs": 120, "AT, 10 epochs": 20, "student, 20 epochs": 40, "KD, 20 epochs": 60,
              "KD, 80 epochs": 20}  # fmt: skip
    study = studies("reduced", "training-length", **{column: {0: range(count)} for column, count in errors.items()})
    found = plain(tables.by_length(study))
    assert found.loc["student"].tolist() == ["60.00 %", "20.00 %", "no result"]
    assert found.loc["AT"].tolist() == ["-50.00 (-56.93 to -43.07)", *["no result"] * 2]
    assert found.loc["KD"].tolist() == ["no result", "+10.00 (+5.84 to +14.16)", ""]
    assert tables.by_length(studies("paper", "training-length")).empty
