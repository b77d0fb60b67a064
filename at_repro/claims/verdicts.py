"""How a difference is judged: margins and verdicts, as functions of numbers.

The ledger uses them on records, the simulation on made-up errors: it is the same judge.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from at_repro.analysis.significance import ALPHA, Estimate, FloatOrArray

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTED = "supported", "contradicted", "undecided", "not tested"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTED)

_MOST_SEEDS = 100  # more than anybody will train

Chances = tuple[float, float]  # one-sided p-values for and against a claim


@dataclass(frozen=True)
class Margin:
    """What a claim says about a difference: that it is below `bound` or, if `alike`, nearer to zero than that."""

    bound: float = 0.0
    alike: bool = False

    def chances(self, estimate: Estimate[FloatOrArray]) -> tuple[FloatOrArray, FloatOrArray]:
        """One-sided p-values: small ones speak for the claim, and against it.

        For "alike" two one-sided tests, of which both have to speak for it.
        """
        above = estimate.chance(self.bound)  # of a difference as large as this one, were it at the bound
        if not self.alike:
            return 1 - above, above
        below = 1 - estimate.chance(-self.bound)
        return np.maximum(1 - above, 1 - below), np.minimum(above, below)


BELOW = Margin()


def verdict(chance_for: float, chance_against: float) -> str:
    """Of one comparison: the whole interval lies on the claim's side of its margin, or on the other one, or neither."""
    if chance_for < ALPHA:
        return SUPPORTED
    return CONTRADICTED if chance_against < ALPHA else UNDECIDED


def every(chances: Sequence[Chances], count: int) -> str:
    """Of a claim that each of `count` comparisons shall support, as many of which were run as `chances` are given.

    One that speaks against it is enough, after Holm's correction for `count`.
    """
    if not chances:
        return NOT_TESTED
    if min(against for _, against in chances) * count < ALPHA:
        return CONTRADICTED
    is_supported = len(chances) == count and all(speaks < ALPHA for speaks, _ in chances)
    return SUPPORTED if is_supported else UNDECIDED


def any_of(chances: Sequence[tuple[FloatOrArray, FloatOrArray]], count: int) -> tuple[FloatOrArray, FloatOrArray]:
    """The p-values of "at least one of `count`": the best one after Holm's correction; the worst, if all were run."""
    speaks = np.minimum(1.0, np.min([chance for chance, _ in chances], axis=0) * count)
    against = np.max([against for _, against in chances], axis=0)
    return speaks, against if len(chances) == count else np.ones_like(against)[()]


def signs(differences: Sequence[FloatOrArray]) -> tuple[FloatOrArray, FloatOrArray]:
    """The sign test over settings: p-values of so many negative, and so many positive, differences; without zeros."""
    values = np.asarray(differences)
    negative, positive = (values < 0).sum(0), (values > 0).sum(0)
    return special.bdtrc(negative - 1, negative + positive, 0.5), special.bdtrc(positive - 1, negative + positive, 0.5)


def seeds_to_decide(difference: float, spread: float, margin: Margin) -> int | None:
    """The number of seeds, three or more, that would decide, were this the truth and the spread over seeds.

    None where more than a hundred are needed.
    """
    distance = abs((abs(difference) if margin.alike else difference) - margin.bound)  # to another verdict
    for seeds in range(3, _MOST_SEEDS + 1):
        if special.stdtrit(seeds - 1, 1 - ALPHA) * spread / math.sqrt(seeds) < distance:
            return seeds
    return None
