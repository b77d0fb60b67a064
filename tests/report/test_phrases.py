"""What a page says of a column beside another, on records counted by hand: 0.5 % is one of 200 images."""

import pytest

from at_repro.claims import CONTRADICTED, SUPPORTED, UNDECIDED
from at_repro.claims.facts import Facts
from at_repro.report import phrases, tables


@pytest.mark.parametrize(
    ("wrong", "verdict", "interval"),
    [
        ({0: range(30)}, SUPPORTED, None),
        ({0: range(50)}, CONTRADICTED, None),
        ({0: None}, "diverged", None),
        ({}, "not run", None),
        ({3: range(30)}, "not run", None),  # without the plain student of its seed
        # An image each that only one gets wrong: 1.96 times 100 sqrt((2 / 200) / 200).
        ({0: range(1, 41)}, UNDECIDED, "(-1.39 to +1.39)"),
        # -5 and +5 points, each with an error of 100 sqrt((0.05 - 0.05^2) / 200), 1.54, of both 1.54 / sqrt(2).
        ({0: range(30), 1: range(50)}, UNDECIDED, "(-2.14 to +2.14)"),
        # -1, -1 and -0.5: -0.83 give or take 4.30 times 0.29 / sqrt(3).
        ({0: range(38), 1: range(38), 2: range(39)}, SUPPORTED, None),
        # -5, -0.5 and +0.5: -1.67 give or take 4.30 times 2.93 / sqrt(3).
        ({0: range(30), 1: range(39), 2: range(41)}, UNDECIDED, "(-8.94 to +5.61)"),
        # One of three guesses, with 90 % errors: +70, -1 and -1.
        ({0: None, 1: range(38), 2: range(38)}, UNDECIDED, "(-79.16 to +124.50)"),
    ],
)
def test_verdicts_are_the_ledgers(studies, wrong, verdict, interval):
    """By hand, of 200 images: a page that says "better" where the ledger says "undecided" would have two judges."""
    student = {seed: range(40) for seed in range(3)}
    study = studies("reduced", student=student, at=wrong)
    facts = Facts(study.store)
    assert phrases.judge(facts, study, "AT") == verdict
    told = tables.difference(facts, study, "AT", "student").replace("\N{NO-BREAK SPACE}", " ")
    assert interval is None or told.endswith(interval)


def test_what_diverged_is_no_reference(studies):
    """Anything is better than guessing."""
    study = studies("reduced", student={0: None}, at={0: range(20)})
    facts = Facts(study.store)
    assert phrases.judge(facts, study, "AT") == "diverged" and tables.difference(facts, study, "AT", "student") == ""


def test_one_run_is_widened_by_the_spread_of_other_columns(studies):
    """By hand: KD gains 0, 4 and 8 points, a spread of 4, where McNemar's error is the root of (0 + 1.92 + 3.68) / 3.

    So AT's error of 1.54 is 2.93 times as large, with two degrees of freedom: 4.30 times 4.51 beside its gain of 5.
    """
    student, kd = {seed: range(40) for seed in range(3)}, {0: range(40), 1: range(32), 2: range(24)}
    study = studies("reduced", student=student, kd=kd, at={0: range(30)})
    facts = Facts(study.store)
    assert phrases.judge(facts, study, "AT") == UNDECIDED, "p of McNemar's test is 0.002"
    assert tables.difference(facts, study, "AT", "student").split() == ["-5.00", "(-24.41", "to", "+14.41)"]
