"""The kinds of comparison that claims are made of: of test errors, settings and cost; see `map_comparisons` for maps.

Each says what the records have about it at one preset: an `Evidence`. A difference below zero has the claimed sign.
"""

import math
from collections.abc import Sequence
from dataclasses import Field, dataclass, fields, replace
from functools import partial
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from at_repro import bench, experiments
from at_repro.analysis import significance
from at_repro.analysis.significance import Estimate
from at_repro.bench import costs
from at_repro.claims import verdicts
from at_repro.claims.facts import Facts, difference
from at_repro.claims.verdicts import BELOW, Margin
from at_repro.runs import Run


@dataclass(frozen=True)
class Evidence:
    """What the records say about a comparison.

    Attributes:
        differences: by replicate: a seed, a network, a setting, a machine.
        scope: for readers, what they were taken from: "5 seeds", "one run", "6 networks".
        estimate: with its interval; None where so few replicates have none.
        chances: p-values for and against the claim, see `verdicts.Margin.chances`; (1, 1) decides nothing.
        runs: ids of what it was computed from.
        late: the second estimator, mean of the last phase of the learning rate, where there is one; its interval is
            NaN for fewer than three seeds.
        fair: False where a teacher was not better than the plain student: it had nothing to hand on.
        lacks: what would decide it, for readers, where that is not seeds.
        seeds: that would decide it, see `verdicts.seeds_to_decide`; None where no number in reach does.
        seconds: of training that one more seed takes.
    """

    differences: dict[Any, float]
    scope: str
    estimate: Estimate | None
    chances: tuple[float, float]
    runs: tuple[str, ...]
    late: tuple[float, float, float] | None = None
    fair: bool = True
    lacks: str = ""
    seeds: int | None = None
    seconds: float = 0.0

    @property
    def difference(self) -> float:
        """The mean over replicates."""
        return fmean(self.differences.values())

    @property
    def verdict(self) -> str:
        """Of this comparison alone."""
        return verdicts.verdict(*self.chances)


class Comparison:
    """What all kinds have in common.

    Attributes:
        experiments: whose runs are compared.
        kind: its name in the digests of rules that were stated, see `plan.fingerprint`: it outlives the class's name.
        unit: of a difference, for readers.
    """

    kind: ClassVar[str]
    unit: ClassVar[str] = ""

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field]]  # every kind is one

        @property  # of one whose runs are of one; a property is a default where a dataclass finds it
        def experiment(self) -> str: ...

    def __repr__(self) -> str:
        return f"{self.kind}({', '.join(f'{field.name}={getattr(self, field.name)!r}' for field in fields(self))})"

    @property
    def experiments(self) -> tuple[str, ...]:
        """Whose runs are compared."""
        return (self.experiment,)

    def stand_in(self, preset: str) -> str:
        """What stands in for the paper's networks, images or recipe at a preset; empty where nothing does."""
        texts = (experiments.get(name).stand_ins.get(preset, "") for name in self.experiments)
        return "; ".join(dict.fromkeys(filter(None, texts)))

    def runs(self, preset: str) -> list[Run]:
        """What is compared, of the first seed."""
        raise NotImplementedError

    def evidence(self, preset: str, facts: Facts) -> Evidence | None:
        """What the records of a preset say; None where nothing was run."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class ErrorComparison(Comparison):
    """The columns `better` of an experiment have a lower test error than the columns `worse`, each side's mean.

    `early` compares the mean of the epochs before the learning rate first drops, else the last epoch. A `bound` is in
    percentage points.
    """

    kind = "Errors"
    experiment: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    margin: Margin = BELOW
    early: bool = False
    unit: ClassVar[str] = " points"

    def __str__(self) -> str:
        better, worse = map(_mean_of, (self.better, self.worse))
        bound = self.margin.bound
        if self.margin.alike:
            relation = f"within {bound:g} of"
        elif bound < 0:
            relation = f"at least {-bound:g} below"
        else:
            relation = "below"
        return f"{'early, ' * self.early}{better} {relation} {worse} ({self.experiment})"

    def runs(self, preset: str) -> list[Run]:
        """What is compared, of the first seed."""
        columns = experiments.get(self.experiment).runs(preset, [0])[0]
        return [columns[name] for name in (*self.better, *self.worse)]

    def evidence(self, preset: str, facts: Facts) -> Evidence | None:
        """Of every seed that has all records; None without one."""
        sides, fair = {}, True
        for columns in facts.columns(self.experiment, preset):
            if not {*self.better, *self.worse} <= columns.keys():  # a column of another preset
                return None
            better, worse = (tuple(columns[name] for name in side) for side in (self.better, self.worse))
            both = (*better, *worse)
            if all(facts.find(run) for run in both):
                sides[max(run.seed for run in both)] = better, worse
                fair = fair and all(facts.has_better_teacher(run) for run in both)
        if not sides:
            return None
        estimate = facts.estimate(list(sides.values()), self.early)
        late = [difference(facts.phase_error, *pair) for pair in sides.values()]
        runs = [run for pair in sides.values() for side in pair for run in side]
        return Evidence(
            {seed: difference(partial(facts.error, early=self.early), *pair) for seed, pair in sides.items()},
            f"{len(sides)} seeds" if len(sides) > 2 else ("one run", "two runs")[len(sides) - 1],
            estimate,
            self.margin.chances(estimate),
            tuple(run.run_id for run in runs),
            late=None if self.early else (fmean(late), *significance.interval(late)),
            fair=fair,
            seeds=verdicts.seeds_to_decide(
                estimate.difference, estimate.standard_error * math.sqrt(len(sides)), self.margin
            ),
            seconds=sum(facts.load(run).training_seconds for run in runs) / len(sides),
        )


@dataclass(frozen=True, repr=False)
class _ErrorComparisons(Comparison):
    """Several comparisons of errors that are judged as one."""

    comparisons: tuple[ErrorComparison, ...]
    unit: ClassVar[str] = ErrorComparison.unit

    @property
    def experiments(self) -> tuple[str, ...]:
        """Those of all comparisons."""
        return tuple(one.experiment for one in self.comparisons)

    def runs(self, preset: str) -> list[Run]:
        """As of `ErrorComparison`, of all of them."""
        return [run for comparison in self.comparisons for run in comparison.runs(preset)]


@dataclass(frozen=True, repr=False)
class BestOf(_ErrorComparisons):
    """At least one of several comparisons: the best one, after Holm's correction for their number."""

    kind = "Either"

    def __str__(self) -> str:
        return "either " + " or ".join(map(str, self.comparisons))

    def evidence(self, preset: str, facts: Facts) -> Evidence | None:
        """That of the lowest p-value, with the p-values and the runs of all; not contradicted before all were run."""
        evidences, gaps = _of_each(self.comparisons, preset, facts)
        if not evidences:
            return None
        return replace(
            min(evidences.values(), key=lambda evidence: evidence.chances[0]),
            chances=verdicts.any_of([evidence.chances for evidence in evidences.values()], len(self.comparisons)),
            runs=_runs(evidences),
            fair=all(evidence.fair for evidence in evidences.values()),
            lacks=not_run("task", gaps, preset) if gaps else "more seeds",
            seeds=None,
        )


@dataclass(frozen=True, repr=False)
class MeanOf(_ErrorComparisons):
    """The mean of several comparisons, such as over the pairs of a table."""

    kind = "MeanOf"

    def __str__(self) -> str:
        return "on average, " + ", ".join(map(str, self.comparisons))

    def evidence(self, preset: str, facts: Facts) -> Evidence | None:
        """The mean of those that were run; it decides nothing before all were."""
        evidences, gaps = _of_each(self.comparisons, preset, facts)
        if not evidences:
            return None
        estimate = significance.mean_of([evidence.estimate for evidence in evidences.values() if evidence.estimate])
        return Evidence(
            {name: evidence.difference for name, evidence in evidences.items()},
            f"{len(evidences)} of {len(self.comparisons)} pairs",
            estimate,
            (1.0, 1.0) if gaps else BELOW.chances(estimate),
            _runs(evidences),
            fair=all(evidence.fair for evidence in evidences.values()),
            lacks=not_run("pair", gaps, preset) if gaps else "more seeds",
        )


@dataclass(frozen=True, repr=False)
class SignTest(Comparison):
    """A comparison in several settings, pairs of networks and training lengths, which are the replicates: a sign test.

    Settings share plain students and teachers: they are not quite independent.
    """

    kind = "SignTest"
    settings: tuple[tuple[str, ErrorComparison], ...]  # by preset
    unit: ClassVar[str] = ErrorComparison.unit

    def __str__(self) -> str:
        _, first = self.settings[0]
        return f"{_mean_of(first.better)} below {_mean_of(first.worse)} in most settings, by the sign test"

    @property
    def experiments(self) -> tuple[str, ...]:
        """Those of all settings."""
        return tuple(one.experiment for _, one in self.settings)

    def runs(self, preset: str) -> list[Run]:
        """What is compared, of the first seed."""
        return [run for preset, one in self.settings for run in one.runs(preset)]

    def evidence(self, preset: str, facts: Facts) -> Evidence | None:
        """Of the settings that were run with a better teacher; most are shortened, none is counted as the paper's."""
        own = [one.evidence(at, facts) for at, one in self.settings] if preset == "reduced" else []
        differences = {evidence.runs: evidence.difference for evidence in own if evidence and evidence.fair}
        if not differences:
            return None
        negative = sum(difference < 0 for difference in differences.values())
        scope, runs = f"{negative} of {len(differences)} settings", tuple(dict.fromkeys(chain(*differences)))
        return Evidence(differences, scope, None, verdicts.signs([*differences.values()]), runs, lacks="more settings")


@dataclass(frozen=True, repr=False)
class Cost(Comparison):
    """A step of AT+KD takes less than so many percent longer than one of KD, which has the teacher's pass as well."""

    kind = "Cost"
    margin: Margin
    experiment: ClassVar[str] = "wrn-16-2-to-16-1"
    unit: ClassVar[str] = " % of a step"

    def __str__(self) -> str:
        return f"a step of AT+KD less than {self.margin.bound:g} % longer than one of KD (benchmark)"

    def runs(self, preset: str) -> list[Run]:
        """The networks of the benchmark."""
        return [experiments.get(self.experiment).runs(preset, [0])[0]["AT+KD"]]

    def evidence(self, preset: str, facts: Facts) -> Evidence | None:
        """From the committed benchmarks; None where none has these cases.

        A cost is measured, not sampled: it is below the bound on every machine, or above it, or neither.
        """
        differences = {}
        files = (bench.COMMITTED, bench.OTHER) if preset == "paper" else ()
        for file in (file for file in files if file.exists()):  # an installed package has none
            rows = {name: value for _, name, value, _ in bench.load(file)["rows"]}
            if {"step with AT+KD", "step with KD"} <= rows.keys():
                differences[file.name] = 100 * (rows["step with AT+KD"] / rows["step with KD"] - 1)
        if not differences:
            return None
        below = [value < self.margin.bound for value in differences.values()]
        scope = f"single steps on {'one machine' if len(below) == 1 else f'{len(below)} machines'}"
        chances = float(not all(below)), float(any(below))
        return Evidence(differences, scope, None, chances, tuple(differences), lacks="other machines")


def _of_each(
    comparisons: Sequence[ErrorComparison], preset: str, facts: Facts
) -> tuple[dict[str, Evidence], list[ErrorComparison]]:
    """What the records say, by experiment, and the comparisons that were not run."""
    evidences = {one.experiment: evidence for one in comparisons if (evidence := one.evidence(preset, facts))}
    return evidences, [one for one in comparisons if one.experiment not in evidences]


def _runs(evidences: dict[str, Evidence]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain(*(evidence.runs for evidence in evidences.values()))))


def not_run(what: str, gaps: Sequence[Comparison], preset: str) -> str:
    """How many were not run, and how long that would take, for readers.

    At most: some of their networks may be recorded for other comparisons, and a teacher is trained once for all seeds.
    """
    hours = costs.hours(run for comparison in gaps for run in comparison.runs(preset))
    return f"{len(gaps)} {what}(s) not run, at most about {hours:.0f} h for the first seed"


def over_networks(differences: dict[Any, float], scope: str, runs: Sequence[str], fair: bool = True) -> Evidence:
    """What networks say, which are the replicates: fewer than three differences decide nothing."""
    estimate = significance.of_replicates(list(differences.values()))
    chances = BELOW.chances(estimate) if estimate else (1.0, 1.0)
    return Evidence(differences, scope, estimate, chances, tuple(runs), fair=fair, lacks="more networks")


def _mean_of(columns: Sequence[str]) -> str:
    return columns[0] if len(columns) == 1 else f"the mean of {', '.join(columns)}"
