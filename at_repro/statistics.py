"""Medians, intervals and paired tests of test errors."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median of test errors over seeds, as the paper reports, with its 95 % bootstrap interval.

    Returns (median, low, high) in the unit of the values; low and high are NaN for fewer than three values, from which
    an interval would say nothing.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 3:
        return float(np.median(values)), float("nan"), float("nan")
    return float(np.median(values)), *_bootstrap(values, np.median)


def paired_interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired differences, one per seed, with its 95 % bootstrap interval: a paired comparison of two methods.

    Returns (mean, low, high); low and high are NaN for fewer than three differences. Three cannot decide much: their
    interval leaves out zero as soon as all have one sign, which chance alone makes in one of four cases.
    """
    differences = np.asarray(differences, dtype=float)
    if len(differences) < 3:
        return float(np.mean(differences)), float("nan"), float("nan")
    if np.ptp(differences) == 0:  # the bootstrap of a constant is that constant
        return (float(differences[0]),) * 3
    return float(np.mean(differences)), *_bootstrap(differences, np.mean)


def _bootstrap(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """Low and high of the percentile interval, always from the same draws: a report stays the same."""
    found = stats.bootstrap((values,), statistic, method="percentile", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def effect_size(differences: Sequence[float]) -> float:
    """Cohen's d of paired differences: their mean over their standard deviation; NaN for fewer than two."""
    differences = np.asarray(differences, dtype=float)
    if len(differences) < 2 or np.ptp(differences) == 0:
        return float("nan")
    return float(np.mean(differences) / np.std(differences, ddof=1))


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test that paired differences are around zero; 1 if all are zero.

    It cannot be below 0.25 for three seeds, nor below 0.0625 for five.
    """
    differences = np.asarray(differences, dtype=float)
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0


def error_interval(wrong: int, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval, in percent, of one run's test error: how far it may be off as the test set is finite."""
    interval = stats.binomtest(wrong, images).proportion_ci(method="wilson")
    return 100 * interval.low, 100 * interval.high


def mcnemar(labels: Sequence[int], first: Sequence[int], second: Sequence[int]) -> tuple[int, int, float]:
    """McNemar's exact test of two runs on the same test images.

    Args:
        labels, first, second: true class and the two predictions of each image.

    Returns:
        Images only the first gets right, images only the second gets right, and the two-sided p-value of "neither is
        better"; 1 if they differ nowhere.
    """
    right_first, right_second = np.asarray(first) == labels, np.asarray(second) == labels
    only_first = int((right_first & ~right_second).sum())
    only_second = int((right_second & ~right_first).sum())
    differing = only_first + only_second
    p = stats.binomtest(only_first, differing).pvalue if differing else 1.0
    return only_first, only_second, float(p)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Spearman's rank correlation and the two-sided p-value that there is none, by permutation.

    All orders are tried where there are few, else 9,999 drawn at random; NaN twice for fewer than three pairs, or where
    all values of one side are equal.
    """
    first, second = (np.asarray(values, dtype=float) for values in (first, second))
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan"), float("nan")

    def coefficient(values: np.ndarray) -> float:
        return stats.spearmanr(values, second).statistic

    test = stats.permutation_test(
        (first,), coefficient, permutation_type="pairings", n_resamples=9999, rng=np.random.default_rng(0)
    )
    return float(test.statistic), float(test.pvalue)
