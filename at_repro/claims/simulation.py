"""The ledger, tried on worlds whose truth is known: how often does it find what is there, and what is not?

Errors of runs are drawn around a truth, at the spread over seeds that was measured, and judged as records are. In one
world the paper's printed numbers are true. In the other there is nothing: every student is as good as the plain one
or, where a claim is that two are alike, they differ by twice the margin.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from at_repro.analysis import significance
from at_repro.analysis.significance import Estimate
from at_repro.claims import verdicts
from at_repro.claims.comparisons import BestOf, Comparison, ErrorComparison, MeanOf, SignTest
from at_repro.claims.paper_claims import BY_NAME, CLAIMS
from at_repro.claims.verdicts import BELOW, Chances
from at_repro.experiments import paper_numbers

# Points, of a paired difference over seeds, as measured before the runs of the plan: McNemar's of the 200-epoch runs
# times `facts.Spread`.
IMAGE_SPREAD = 0.26
SPREAD = 0.29
SPREADS = {"fine-tuning-birds": 1.5, "fine-tuning-scenes": 0.7}  # measured of three seeds
FREEDOM = 4  # with which the factor was measured
SEEDS = (1, 3, 5)
WORLDS = ("the paper's numbers", "no effect")
COLUMNS = ["claim", "world", "seeds", verdicts.SUPPORTED, verdicts.CONTRADICTED]

ONE_PAIR = "at, one pair"  # not "every": what five seeds are enough for


def table(draws: int = 2000) -> pd.DataFrame:
    """How often each claim is supported, and contradicted, in percent of the draws, by world and number of seeds.

    Claims of which the paper prints no test errors, such as those on maps, are left out, and so are single comparisons
    of early errors.
    """
    rng = np.random.default_rng(0)
    rows = []
    comparisons_of = {claim.name: claim.comparisons for claim in CLAIMS} | {ONE_PAIR: BY_NAME["at"].comparisons[1:2]}
    for claim, comparisons in comparisons_of.items():
        own = [comparison for comparison in comparisons if _is_printed(comparison)]
        for world in WORLDS if own else ():
            for seeds in SEEDS:
                samples = _ErrorSamples(_truth(own, world), (draws, seeds), rng)
                chances = np.array([_chances(comparison, samples) for comparison in own])
                outcomes = [verdicts.every(of_draw, len(own)) for of_draw in chances.transpose(2, 0, 1).tolist()]
                shares = [100 * outcomes.count(verdict) / draws for verdict in COLUMNS[3:]]
                rows.append((claim, world, seeds, *shares))
    return pd.DataFrame(rows, columns=COLUMNS)


def readable(frequencies: pd.DataFrame) -> pd.DataFrame:
    """`table` for readers, a row per claim: percent supported and contradicted, by world and number of seeds."""
    texts = {claim.name: claim.text for claim in CLAIMS} | {ONE_PAIR: "The same of one pair, WRN-16-1 from WRN-16-2"}
    named = frequencies.assign(claim=frequencies["claim"].map(texts))
    shares = named.pivot(index="claim", columns=["world", "seeds"], values=COLUMNS[3:])
    shares = shares.reorder_levels([1, 0, 2], axis=1)
    order = [(world, verdict, seeds) for world in WORLDS for verdict in COLUMNS[3:] for seeds in SEEDS]
    return shares[order].reindex([text for text in texts.values() if text in shares.index]).round(0).astype(int)


def _parts(comparison: Comparison) -> list[ErrorComparison]:
    if isinstance(comparison, ErrorComparison):
        return [comparison]
    if isinstance(comparison, BestOf | MeanOf):
        return list(comparison.comparisons)
    return [one for _, one in comparison.settings] if isinstance(comparison, SignTest) else []


def _is_printed(comparison: Comparison) -> bool:
    parts = _parts(comparison)
    return bool(parts) and all(
        not part.early and all(_number(part, column) is not None for column in part.worse) and
        (part.margin.alike or all(_number(part, column) is not None for column in part.better))
        for part in parts
    )  # fmt: skip


def _number(part: ErrorComparison, column: str) -> float | None:
    number = paper_numbers.of_experiment(part.experiment, column.split(",")[0])
    return None if number is None else number.value


Truth = dict[tuple[str, str], float]  # test error by experiment and column


def _truth(comparisons: Sequence[Comparison], world: str) -> Truth:
    parts = [part for comparison in comparisons for part in _parts(comparison)]
    if world == WORLDS[1]:
        margins = -2 if all(part.margin.alike for part in parts) else 0  # two that are alike would bear "alike" out
        worse = {(part.experiment, column): 0.0 for part in parts for column in part.worse}
        better = {(part.experiment, column): margins * part.margin.bound for part in parts for column in part.better}
        return worse | better
    truth: Truth = {}
    for part in parts:
        for column in (*part.worse, *part.better):
            value = _number(part, column)
            if value is None:  # what is claimed to do as well and is not printed does
                value = _number(part, part.worse[0])
            assert value is not None  # see `_is_printed`
            truth[part.experiment, column] = value
    return truth


def _spread(experiment: str) -> float:
    return SPREADS.get(experiment, SPREAD)


class _ErrorSamples:
    """Errors of runs around their truth, (draws, seeds) of each column, which comparisons of an experiment share."""

    def __init__(self, truth: Truth, shape: tuple[int, int], rng: np.random.Generator):
        self.truth, self.shape, self.rng = truth, shape, rng
        # One ratio widens all intervals of one run: known as well as it was measured, and never narrowing McNemar's.
        self.ratio = np.maximum(np.sqrt(rng.chisquare(FREEDOM, shape[0]) / FREEDOM), IMAGE_SPREAD / SPREAD)
        self.runs = cache(self._runs)

    def _runs(self, preset: str, experiment: str, column: str) -> np.ndarray:
        spread = _spread(experiment) / np.sqrt(2)  # a paired difference has that of two runs
        return self.truth[experiment, column] + spread * self.rng.standard_normal(self.shape)

    def estimate(self, part: ErrorComparison, preset: str = "") -> Estimate:
        sides = ([self.runs(preset, part.experiment, name) for name in side] for side in (part.better, part.worse))
        better, worse = (np.mean(side, axis=0) for side in sides)
        # Of one run: from its test images, and widened.
        standard_error = _spread(part.experiment) * np.sqrt((1 / len(part.better) + 1 / len(part.worse)) / 2)
        return significance.of_replicates(better - worse) or Estimate(
            (better - worse).mean(-1), standard_error * self.ratio, FREEDOM
        )


def _chances(comparison: Comparison, samples: _ErrorSamples) -> Chances:
    """The p-values of a comparison in every draw, as arrays."""
    parts = _parts(comparison)
    if isinstance(comparison, ErrorComparison):
        return comparison.margin.chances(samples.estimate(comparison))
    if isinstance(comparison, MeanOf):
        return BELOW.chances(significance.mean_of([samples.estimate(part) for part in parts]))
    if isinstance(comparison, SignTest):
        return verdicts.signs([samples.estimate(one, at).difference for at, one in comparison.settings])
    return verdicts.any_of([part.margin.chances(samples.estimate(part)) for part in parts], len(parts))
