"""The judge, against numbers from tables of Student's t and the binomial distribution, and by hand."""

import numpy as np
import pytest

from at_repro.analysis.significance import Estimate, of_replicates
from at_repro.claims.verdicts import (
    BELOW,
    CONTRADICTED,
    NOT_TESTED,
    SUPPORTED,
    UNDECIDED,
    Margin,
    any_of,
    every,
    seeds_to_decide,
    signs,
    verdict,
)

ALIKE = Margin(0.5, alike=True)


def judged(margin, difference, error, freedom=4):
    return verdict(*margin.chances(Estimate(difference, error, freedom)))


@pytest.mark.parametrize(
    ("difference", "expected"),
    # Student's t of 4 degrees of freedom has the 97.5 % quantile 2.776: half an interval is 0.278 at an error of 0.1.
    [(-0.28, SUPPORTED), (-0.27, UNDECIDED), (0.0, UNDECIDED), (0.27, UNDECIDED), (0.28, CONTRADICTED)],
)
def test_a_difference_is_decided_when_its_whole_interval_lies_on_one_side(difference, expected):
    assert judged(BELOW, difference, 0.1) == expected
    assert judged(Margin(-0.25), difference - 0.25, 0.1) == expected, "clearly below: by at least the bound"
    assert judged(Margin(10.0), difference + 10, 0.1) == expected


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (0.0, SUPPORTED), (0.22, SUPPORTED), (-0.22, SUPPORTED), (0.23, UNDECIDED), (-0.23, UNDECIDED),
        (0.5, UNDECIDED), (0.77, UNDECIDED), (0.78, CONTRADICTED), (-0.78, CONTRADICTED),
    ],
)  # fmt: skip
def test_alike_is_an_interval_within_the_margin_and_unlike_one_beyond_it(difference, expected):
    assert judged(ALIKE, difference, 0.1) == expected


def test_a_wide_interval_neither_shows_that_two_are_alike_nor_that_they_are_not():
    """The mistake of "not significant, so equal": +0.13 give or take 0.51 against a margin of 0.3."""
    assert judged(Margin(0.3, alike=True), 0.13, 0.51 / 2.776) == UNDECIDED


def test_differences_without_any_spread_are_decided_by_their_sign():
    for values, expected in (([-1.0] * 3, SUPPORTED), ([1.0] * 3, CONTRADICTED), ([0.0] * 3, UNDECIDED)):
        assert verdict(*BELOW.chances(of_replicates(values))) == expected


def test_many_draws_at_once_are_judged_as_one_by_one():
    values = np.random.default_rng(1).standard_normal((50, 3))
    for margin in (BELOW, ALIKE):
        at_once = np.array(margin.chances(of_replicates(values)))
        assert np.allclose(at_once.T, [margin.chances(of_replicates(row)) for row in values])


FOR, AGAINST, OPEN = (0.001, 0.999), (0.999, 0.001), (0.2, 0.8)


@pytest.mark.parametrize(
    ("chances", "count", "expected"),
    [
        ([FOR, FOR], 2, SUPPORTED),
        ([FOR], 2, UNDECIDED),  # one was not run
        ([FOR, OPEN], 2, UNDECIDED),
        ([FOR, AGAINST], 2, CONTRADICTED),
        ([(1.0, 0.005)], 4, CONTRADICTED),  # whatever the others would say
        ([(1.0, 0.01)], 4, UNDECIDED),  # Holm counts those that are still to be run
        ([], 2, NOT_TESTED),
        ([(0.99, 0.02)], 1, CONTRADICTED),
        ([(0.99, 0.02), FOR], 2, UNDECIDED),  # Holm: of two, one has to be below 0.0125
    ],
)
def test_every_comparison_has_to_support_a_claim_and_one_contradicts_it(chances, count, expected):
    assert every(chances, count) == expected


def test_one_is_enough_where_the_claim_is_of_any():
    assert verdict(*any_of([FOR, AGAINST], 2)) == SUPPORTED
    assert verdict(*any_of([(0.02, 0.98), OPEN], 2)) == UNDECIDED, "the best of two is easier to pass than one"
    assert verdict(*any_of([AGAINST, AGAINST], 2)) == CONTRADICTED
    assert verdict(*any_of([AGAINST], 2)) == UNDECIDED, "the other one may still hold"


def test_the_sign_test_by_hand():
    assert signs([-1.0] * 7) == pytest.approx((1 / 2**7, 1.0)), "seven of seven, one side"
    assert signs([-1.0] * 5 + [2.0]) == pytest.approx((7 / 2**6, 1 - 1 / 2**6))
    assert signs([0.0, 0.0]) == (1.0, 1.0), "no difference at all speaks for neither"


def test_how_many_seeds_would_decide():
    """Of four seeds half an interval is 3.182 * 0.26 / 2 = 0.414 < 0.57, and of three 4.303 * 0.15 = 0.646."""
    assert seeds_to_decide(-0.57, 0.26, BELOW) == 4
    assert seeds_to_decide(-0.001, 0.26, BELOW) is None
    assert seeds_to_decide(0.2, 0.26, ALIKE) == seeds_to_decide(0.8, 0.26, ALIKE) == seeds_to_decide(-0.3, 0.26, BELOW)
