"""What the ledger reads of a store, each thing once: records, which test images they got wrong, tables of attention."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from statistics import fmean

import numpy as np

from at_repro import experiments
from at_repro.analysis import attention_table, significance
from at_repro.analysis.significance import ALPHA, Estimate
from at_repro.claims.verdicts import BELOW
from at_repro.records import Store, check_same_test_images
from at_repro.runs import Run

Side = tuple[Run, ...]  # runs whose mean error is one side of a comparison


@dataclass(frozen=True)
class Spread:
    """How much more paired differences vary over seeds than McNemar's test says from the test images of one seed.

    Attributes:
        ratio: of the standard deviations; 1 at least, since the images of a test set are chance as well.
        freedom: degrees of freedom that it was measured with; infinite where nothing was, and the ratio is 1.
    """

    ratio: float
    freedom: float


class Facts:
    """The records of a store as comparisons ask for them. Raises DamagedRecord where one is read that is not whole."""

    def __init__(self, store: Store):
        self.store = store
        self.find = cache(store.find)
        self.load = cache(store.load)
        self.mistakes = cache(self._mistakes)
        self.columns = cache(self._columns)
        self._seeds = cache(store.seeds)

    def _columns(self, experiment: str, preset: str) -> list[dict[str, Run]]:
        """The runs of an experiment by column, for every seed that has any record."""
        return experiments.get(experiment).runs(preset, self._seeds())

    def _mistakes(self, run: Run) -> np.ndarray:
        """Per test image 1 where the last epoch is wrong; of a run that diverged the share of wrong guesses."""
        record = self.load(run)
        if record.diverged:  # as good as guessing
            labels = record.predictions()["label"]
            return np.full(len(labels), 1 - 1 / labels.nunique())
        return record.mistakes().astype(float)

    def error(self, run: Run, early: bool = False) -> float:
        """Test error in percent of the last epoch, or the mean of those before the learning rate first drops."""
        record = self.load(run)
        if record.diverged:
            return 100 * float(self.mistakes(run).mean())
        return float(record.phase_errors(0).mean()) if early else record.final["test_error"]

    def phase_error(self, run: Run) -> float:
        """Mean test error in percent of the last phase of the learning rate; NaN of a run that diverged."""
        record = self.load(run)
        return math.nan if record.diverged else float(record.phase_errors(-1).mean())

    def image_error(self, better: Side, worse: Side) -> float:
        """The standard error, in points, of the difference between two sides of one seed, from its test images.

        McNemar's where both sides are one run: the images are the same, and only those count on which the sides differ.
        """
        sides = [np.mean([self.mistakes(run) for run in side], axis=0) for side in (better, worse)]
        return 100 * float(np.std(sides[0] - sides[1])) / math.sqrt(len(sides[0]))

    def early_error(self, better: Side, worse: Side) -> float:
        """The same for the mean of early epochs, whose images are not recorded: unpaired, and with their scatter.

        At a high learning rate errors differ more from epoch to epoch than test images explain.
        """
        shares = [np.mean([self.error(run, early=True) for run in side]) / 100 for side in (better, worse)]
        images = sum(share * (1 - share) for share in shares) / len(self.mistakes(better[0]))
        if any(self.load(run).diverged for run in (*better, *worse)):
            return 100 * math.sqrt(images)
        curves = [np.mean([self.load(run).phase_errors(0) for run in side], axis=0) for side in (better, worse)]
        epochs = float(np.var(curves[0] - curves[1])) / max(1, len(curves[0]) - 1)
        return math.sqrt(100**2 * images + epochs)

    def estimate(self, pairs: Sequence[tuple[Side, Side]], early: bool = False) -> Estimate:
        """How many points the first side errs more than the second, from the pairs of one or more seeds.

        Of three seeds or more Student's t; of one or two the error from the test images, widened by the `spread` of
        others. Raises UserError where two runs were measured on other test images.
        """
        check_same_test_images(self.load(run) for pair in pairs for side in pair for run in side)
        differences = [difference(partial(self.error, early=early), *pair) for pair in pairs]
        if over_seeds := significance.of_replicates(differences):
            return over_seeds
        error = self.early_error if early else self.image_error
        images = math.sqrt(fmean(error(*pair) ** 2 for pair in pairs))
        return Estimate(fmean(differences), images * self.spread.ratio / math.sqrt(len(pairs)), self.spread.freedom)

    @cached_property
    def spread(self) -> Spread:
        """Over all pairs of a transfer and the plain student, of every experiment with three seeds or more.

        One ratio for all of them: squares are averaged over the pairs that share a plain student, and over plain
        students by their degrees of freedom.
        """
        # By the plain student, which is the run without what it is taught: by the runs of the other column. Pairs that
        # share a plain student are not independent: together they have the freedom of the one with the most seeds.
        ratios: dict[Run, dict[tuple[Run, ...], float]] = defaultdict(dict)
        for experiment in experiments.EXPERIMENTS:
            for preset in ("reduced", "paper"):
                by_seed = self.columns(experiment, preset)
                for column in by_seed[0]:
                    runs = [columns[column] for columns in by_seed]
                    pairs = [(run, replace(run, terms=(), teacher=None)) for run in runs if run.terms]
                    pairs = [pair for pair in pairs if all(map(self._has_finished, pair))]
                    if len(pairs) >= 3:
                        plain = replace(pairs[0][1], seed=0)
                        ratios[plain][tuple(run for run, _ in pairs)] = self._ratio(pairs)
        if not ratios:
            return Spread(1.0, math.inf)
        freedom = [max(map(len, of_plain)) - 1 for of_plain in ratios.values()]
        squares = [fmean(of_plain.values()) for of_plain in ratios.values()]
        return Spread(max(1.0, math.sqrt(fmean(squares, freedom))), sum(freedom))

    def _has_finished(self, run: Run) -> bool:
        return (record := self.find(run)) is not None and not record.diverged

    def _ratio(self, pairs: list[tuple[Run, Run]]) -> float:
        """The variance over seeds over the mean of McNemar's."""
        check_same_test_images(self.load(run) for pair in pairs for run in pair)
        differences = [self.error(run) - self.error(plain) for run, plain in pairs]
        images = [self.image_error((run,), (plain,)) ** 2 for run, plain in pairs]
        return float(np.var(differences, ddof=1) / np.mean(images))

    def has_better_teacher(self, run: Run) -> bool:
        """Whether its teacher, if it has one, is better than the plain student by the interval of one run.

        True as well where one of the two has no record.
        """
        teacher, student = run.teacher, replace(run, terms=(), teacher=None)
        if teacher is None or not (self.find(teacher) and self.find(student)):
            return True
        return BELOW.chances(self.estimate([((teacher,), (student,))]))[0] < ALPHA

    @cached_property
    def attention(self) -> dict[tuple[str, str, str, str], float]:
        """The table of `attention_table`: values by run id, teacher's run id, level and statistic."""
        return attention_table.load(self.store).set_index(attention_table.KEY)["value"].to_dict()


def difference(error: Callable[[Run], float], better: Side, worse: Side) -> float:
    """The mean error of one side minus that of the other."""
    return fmean(map(error, better)) - fmean(map(error, worse))
