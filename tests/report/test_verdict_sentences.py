"""What a page says of a column beside another, on records counted by hand: 0.5 % is one of 200 images."""

import pytest

from at_repro.claims import CONTRADICTED, SUPPORTED, UNDECIDED
from at_repro.claims.facts import Facts
from at_repro.report import tables, verdict_sentences


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [
        ({0: range(30)}, SUPPORTED),
        ({0: range(50)}, CONTRADICTED),
        ({0: None}, "diverged"),
        ({}, "not run"),
        ({3: range(30)}, "not run"),  # without the plain student of its seed
        # An image each that only one gets wrong: 1.96 times 100 sqrt((2 / 200) / 200).
        ({0: range(1, 41)}, UNDECIDED),
        # -5 and +5 points, each with an error of 100 sqrt((0.05 - 0.05^2) / 200), 1.54, of both 1.54 / sqrt(2).
        ({0: range(30), 1: range(50)}, UNDECIDED),
        # -1, -1 and -0.5: -0.83 give or take 4.30 times 0.29 / sqrt(3).
        ({0: range(38), 1: range(38), 2: range(39)}, SUPPORTED),
        # -5, -0.5 and +0.5: -1.67 give or take 4.30 times 2.93 / sqrt(3).
        ({0: range(30), 1: range(39), 2: range(41)}, UNDECIDED),
        # One of three guesses, with 90 % errors: +70, -1 and -1.
        ({0: None, 1: range(38), 2: range(38)}, UNDECIDED),
    ],
)
def test_verdicts_are_the_ledgers(studies, wrong, verdict):
    """By hand, of 200 images: a page that says "better" where the ledger says "undecided" would have two judges."""
    student = {seed: range(40) for seed in range(3)}
    study = studies("reduced", student=student, at=wrong)
    assert verdict_sentences.judge(Facts(study.store), study, "AT") == verdict


def test_one_run_is_widened_by_the_spread_of_other_columns(studies):
    """By hand: KD gains 0, 4 and 8 points, a spread of 4, where McNemar's error is the root of (0 + 1.92 + 3.68) / 3.

    So AT's error of 1.54 is 2.93 times as large, with two degrees of freedom: 4.30 times 4.51 beside its gain of 5.
    """
    student, kd = {seed: range(40) for seed in range(3)}, {0: range(40), 1: range(32), 2: range(24)}
    study = studies("reduced", student=student, kd=kd, at={0: range(30)})
    facts = Facts(study.store)
    assert verdict_sentences.judge(facts, study, "AT") == UNDECIDED, "p of McNemar's test is 0.002"
    assert tables.difference(facts, study, "AT", "student").split() == ["-5.00", "(-24.41", "to", "+14.41)"]
