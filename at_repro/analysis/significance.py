"""Intervals of test errors and of what else has replicates, and how sure a trend is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import scipy  # whose parts are loaded when they are used: its tests take most of a second

ALPHA = 0.025  # on one side: what a 95 % interval leaves out there


FloatOrArray = TypeVar("FloatOrArray", float, np.ndarray)


@dataclass(frozen=True)
class Estimate(Generic[FloatOrArray]):
    """A difference, its standard error, and the degrees of freedom of that: numbers, or arrays of many at once."""

    difference: FloatOrArray
    standard_error: FloatOrArray
    freedom: float

    @property
    def interval(self) -> tuple[FloatOrArray, FloatOrArray]:
        """The 95 % interval, low and high, by Student's t."""
        half = self.standard_error * scipy.special.stdtrit(self.freedom, 1 - ALPHA)
        return self.difference - half, self.difference + half

    def chance(self, bound: float = 0.0) -> FloatOrArray:
        """The probability of a difference at least as large as this one, if `bound` were the truth: one-sided."""
        excess, standard_error = np.asarray(self.difference - bound), np.asarray(self.standard_error)
        certain = np.where(excess == 0, 0.5, excess < 0)  # where all replicates agree to the last digit
        with np.errstate(divide="ignore", invalid="ignore"):
            chance: Any = np.where(
                standard_error == 0, certain, scipy.special.stdtr(self.freedom, -excess / standard_error)
            )
        return chance[()]


def of_replicates(differences: Sequence[float] | np.ndarray) -> Estimate | None:
    """Student's t over replicates, the last axis: paired differences of seeds, of networks or of settings.

    Of the chance of training alone: that of test images, which all replicates share, is in none of it. None for fewer
    than three: two have a spread as well, but with one degree of freedom their interval says nothing.
    """
    values = np.asarray(differences, dtype=float)
    count = values.shape[-1]
    if count < 3:
        return None
    return Estimate(values.mean(-1), values.std(-1, ddof=1) / math.sqrt(count), count - 1)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent differences, with the fewest degrees of freedom of any: rather too wide."""
    standard_error = np.sqrt(sum(of_one.standard_error**2 for of_one in estimates)) / len(estimates)
    mean = sum(of_one.difference for of_one in estimates) / len(estimates)
    return Estimate(mean, standard_error, min(of_one.freedom for of_one in estimates))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval, by Student's t, of the mean of values that are one per seed; NaN for fewer than three."""
    estimate = of_replicates(values)
    return estimate.interval if estimate else (math.nan, math.nan)


def error_interval(mistakes: int, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval, in percent, of one run's test error: how far it may be off as the test set is finite."""
    interval = scipy.stats.binomtest(mistakes, images).proportion_ci(method="wilson")
    return 100 * interval.low, 100 * interval.high


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Spearman's rank correlation and the two-sided p-value that there is none, by permutation.

    All orders are tried where there are few, else 9,999 drawn at random; NaN twice for fewer than three pairs, where
    a value is NaN, or where all of one side are equal.
    """
    ours, others = (np.asarray(values, dtype=float) for values in (first, second))
    if len(ours) < 3 or not np.ptp(ours) > 0 or not np.ptp(others) > 0:
        return math.nan, math.nan
    # Pearson's of ranks: SciPy's Spearman takes ten thousand orders one after the other, in seconds.
    orders = scipy.stats.PermutationMethod(n_resamples=9999, rng=np.random.default_rng(0))
    test = scipy.stats.pearsonr(scipy.stats.rankdata(others), scipy.stats.rankdata(ours), method=orders)
    return float(test.statistic), float(test.pvalue)


def slope(x: list[float], y: list[float]) -> Estimate | None:
    """How much y changes with one of x, by least squares; None for fewer than four points, or where x is one value."""
    if len(x) < 4 or np.ptp(x) == 0:
        return None
    (rise, _), covariance = np.polyfit(x, y, 1, cov=True)
    return Estimate(float(rise), math.sqrt(covariance[0, 0]), len(x) - 2)
