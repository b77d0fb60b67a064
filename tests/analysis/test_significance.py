"""Against values from textbooks and by hand."""

import math

import numpy as np
import pytest

from at_repro.analysis.significance import Estimate, error_interval, interval, mean_of, rank_correlation


@pytest.mark.parametrize(
    ("wrong", "images", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, Table I, method 3 (the score interval), printed with four decimals.
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_wilsons_interval_is_the_published_one(wrong, images, low, high):
    assert error_interval(wrong, images) == pytest.approx((low, high), abs=0.005)


@pytest.mark.parametrize("values", [[], [8.8], [8.0, 9.0]])
def test_no_interval_from_fewer_than_three_seeds(values):
    assert all(math.isnan(end) for end in interval(values))


def test_the_interval_of_three_by_hand():
    """Student's t of two degrees of freedom is 4.303; 1, 2 and 4 have the mean 7/3 and the standard deviation 1.528."""
    half = 4.30265 * 1.527525 / math.sqrt(3)
    assert interval([1.0, 2.0, 4.0]) == pytest.approx((7 / 3 - half, 7 / 3 + half), abs=1e-4)


def test_equal_values_have_an_interval_without_width():
    assert interval(np.full(4, 6.5)) == (6.5, 6.5)


def test_the_interval_is_the_normal_one_for_many_seeds():
    differences = np.random.default_rng(1).normal(-0.5, 1.0, 400)
    half = 1.96 * differences.std(ddof=1) / 20
    assert interval(differences) == pytest.approx((differences.mean() - half, differences.mean() + half), abs=0.01)


def test_a_mean_of_independent_estimates_by_hand():
    """Errors add in squares: the root of 9 + 16 over two is 2.5."""
    found = mean_of([Estimate(-1.0, 3.0, 4), Estimate(2.0, 4.0, 2)])
    assert found == Estimate(0.5, 2.5, 2)


def test_rank_correlation_by_hand():
    """Ranks 1 2 3 4 against 1 2 4 3: 1 - 6 * 2 / (4 * 15) = 0.8; of 24 orders 8 have as large a size: 1/3."""
    rho, p = rank_correlation([1, 20, 300, 4000], [0.1, 0.2, 0.4, 0.3])
    assert rho == pytest.approx(0.8) and p == pytest.approx(1 / 3)
    assert rank_correlation([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]) == (
        pytest.approx(-1), pytest.approx(2 / 120),
    )  # fmt: skip


@pytest.mark.parametrize("pair", [([1, 2], [1, 2]), ([], []), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [5, 5, 5])])
def test_rank_correlation_of_too_little_says_nothing(pair):
    assert all(math.isnan(value) for value in rank_correlation(*pair))
