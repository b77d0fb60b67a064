"""What each claim of the paper says about runs: rules, each a difference that shall be negative.

Most were stated before their runs; the notebook on the claims says which were not.

A difference is paired by seed. Test errors are in percentage points; statistics of attention in the unit of
`attention_statistics`; the cost of attention transfer in percent of a step. Where a teacher ended no better than the
plain student it has nothing to hand on: what was trained from it tests no claim.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import ClassVar

from at_repro import attention_statistics, bench, experiments, statistics
from at_repro.results import Record, Store
from at_repro.training import Run


@dataclass(frozen=True)
class Measured:
    """What the records say about a rule.

    Attributes:
        differences: by seed; seeds of which something is missing are left out.
        runs: what they were computed from.
        p: by seed, of McNemar's exact test on the test images, where the last errors of two single runs are compared.
    """

    differences: dict[int, float] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    p: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The columns `better` of an experiment have a lower error than the columns `worse`, each side's mean.

    `early` compares the mean test error of the epochs before the learning rate first drops, else that of the last one.
    With a `margin`, in percentage points, `better` only is no worse than so much.
    """

    experiment: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    early: bool = False
    margin: float = 0.0
    unit: ClassVar[str] = " points"

    def __str__(self) -> str:
        when = "early, " if self.early else ""
        relation = f"less than {self.margin:g} above" if self.margin else "below"
        return f"{when}{_mean_of(self.better)} {relation} {_mean_of(self.worse)} ({self.experiment})"

    def subjects(self, preset: str) -> list[str]:
        """The networks that are compared, and the images, at this preset."""
        columns = experiments.get(self.experiment).runs(preset, [0])[0]
        return _subjects([columns[name] for name in (*self.better, *self.worse)])

    def measure(self, preset: str, store: Store, seeds: Sequence[int] | None) -> Measured:
        """Better minus worse. Raises DamagedRecord."""
        found = Measured()
        for columns in experiments.get(self.experiment).runs(preset, seeds):
            sides = [[columns[name] for name in side] for side in (self.better, self.worse)]
            both = [run for side in sides for run in side]
            if not all(store.has(run) and _was_taught(run, columns.get("student"), store) for run in both):
                continue
            seed, records = both[0].seed, {run: store.load(run) for run in both}
            better, worse = (fmean(_error(records[run], self.early) for run in side) for side in sides)
            found.differences[seed] = better - worse
            found.runs.extend(run.run_id for run in both)
            if len(both) == 2 and not self.early:
                found.p[seed] = _mcnemar(*map(records.get, both))
        return found


@dataclass(frozen=True)
class Either:
    """The one of several comparisons that speaks most for the claim, by its mean over seeds.

    Chosen by the outcome, it is the easier to pass: without any effect, the mean of one of two is negative in three
    cases of four.
    """

    comparisons: tuple[Comparison, ...]
    margin: ClassVar[float] = 0.0
    unit: ClassVar[str] = Comparison.unit

    def __str__(self) -> str:
        return "either " + " or ".join(map(str, self.comparisons))

    def subjects(self, preset: str) -> list[str]:
        """As of a `Comparison`, of all of them."""
        return [subject for comparison in self.comparisons for subject in comparison.subjects(preset)]

    def measure(self, preset: str, store: Store, seeds: Sequence[int] | None) -> Measured:
        """That of this comparison; nothing before every one has a record. Raises DamagedRecord."""
        found = [comparison.measure(preset, store, seeds) for comparison in self.comparisons]
        if not all(of_one.differences for of_one in found):
            return Measured()
        return min(found, key=lambda of_one: fmean(of_one.differences.values()))


@dataclass(frozen=True)
class Look:
    """A statistic of one column's attention is below the same of another column, or another one of its own.

    Each side is a column of the experiment, a level and a statistic, see `attention_statistics.load`.
    """

    experiment: str
    lower: tuple[str, str, str]
    higher: tuple[str, str, str]
    margin: ClassVar[float] = 0.0
    unit: ClassVar[str] = ""

    def __str__(self) -> str:
        lower, higher = (f"{statistic} of {column}, {level}" for column, level, statistic in self._sides)
        return f"{lower}, below {higher} ({self.experiment})"

    def subjects(self, preset: str) -> list[str]:
        """The networks that are compared, and the images, at this preset."""
        columns = experiments.get(self.experiment).runs(preset, [0])[0]
        return _subjects([columns[column] for column, *_ in self._sides])

    @property
    def _sides(self) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
        return self.lower, self.higher

    def measure(self, preset: str, store: Store, seeds: Sequence[int] | None) -> Measured:
        """Lower minus higher. Distances are to "teacher"."""
        table = attention_statistics.load(store)
        values = dict(zip(zip(*(table[name] for name in _KEYS), strict=True), table["value"], strict=True))
        found = Measured()
        for columns in experiments.get(self.experiment).runs(preset, seeds):
            student = columns.get("student")
            if not all(_was_taught(columns[column], student, store) for column, *_ in self._sides):
                continue
            keys = []
            for column, level, statistic in self._sides:
                teacher = columns["teacher"].run_id if statistic == "distance" else ""
                keys.append((columns[column].run_id, teacher, level, statistic))
            if all(key in values for key in keys):
                seed = max(columns[column].seed for column, *_ in self._sides)  # a teacher's is 0 for all students
                found.differences[seed] = values[keys[0]] - values[keys[1]]
                found.runs.extend(run_id for run_id, *_ in keys)
        return found


_KEYS = ("run_id", "teacher", "level", "statistic")


@dataclass(frozen=True)
class Cost:
    """A step of AT+KD takes less than so many percent longer than one of KD, which has the teacher's pass as well."""

    margin: float
    unit: ClassVar[str] = " % of a step"

    def __str__(self) -> str:
        return f"a step of AT+KD less than {self.margin:g} % longer than one of KD (benchmark)"

    def subjects(self, preset: str) -> list[str]:
        """The networks of the benchmark."""
        return ["wrn-16-1 from wrn-16-2 on cifar10"]

    def measure(self, preset: str, store: Store, seeds: Sequence[int] | None) -> Measured:
        """From the committed benchmark, whatever the preset; nothing where there is none."""
        rows = {name: value for _, name, value, _ in bench.load()["rows"]}
        try:
            return Measured({0: 100 * (rows["step with AT+KD"] / rows["step with KD"] - 1)}, ["bench.json"])
        except KeyError:
            return Measured()


Rule = Comparison | Either | Look | Cost


def _subjects(runs: Sequence[Run]) -> list[str]:
    """Such as "wrn-16-1 from wrn-16-2 on cifar10, 40 epochs"; without any student, the networks."""
    named = [f"{run.network} from {run.teacher.network}" for run in runs if run.teacher]
    named = named or [" and ".join(dict.fromkeys(run.network for run in runs))]
    epochs = " and ".join(dict.fromkeys(str(run.epochs) for run in runs))
    return [f"{pair} on {runs[0].dataset}, {epochs} epochs" for pair in named]


def _mean_of(columns: Sequence[str]) -> str:
    return columns[0] if len(columns) == 1 else f"the mean of {', '.join(columns)}"


def _error(record: Record, early: bool) -> float:
    if record.diverged:  # as good as guessing
        return 100 * (1 - 1 / record.predictions()["label"].nunique())
    return record.early_error() if early else record.final["test_error"]


def _was_taught(run: Run, student: Run | None, store: Store) -> bool:
    """Whether its teacher, if it has one, ended better than the plain student, as far as both have a record."""
    if run.teacher is None or student is None or not (store.has(run.teacher) and store.has(student)):
        return True
    return _error(store.load(run.teacher), early=False) < _error(store.load(student), early=False)


def _mcnemar(first: Record, second: Record) -> float:
    own, other = first.predictions(), second.predictions()
    return statistics.mcnemar(own["label"], own["prediction"], other["prediction"])[2]


def _below(experiment: str, better: str, *worse: str) -> list[Rule]:
    return [Comparison(experiment, (better,), (column,)) for column in worse]


ROWS = ("nin-wide-to-nin-thin", "wrn-16-2-to-16-1", "wrn-40-1-to-16-1", "wrn-40-2-to-16-2")  # of Table 1
_MAIN = "wrn-16-2-to-16-1"
_LEVELS = ("low", "middle", "top")
_NETWORKS = ("teacher", "student", "wrn-40-1", "wrn-40-2", "nin-thin", "nin-wide")  # of the experiment "objects"
_GROUPS = ("group 1", "group 2", "group 3")
_MAPPINGS = ("sum-1", "sum-2", "sum-4", "max-1")  # of Table 2
_TASKS = ("fine-tuning-birds", "fine-tuning-scenes")


def _little(experiment: str, column: str = "F-ActT") -> Comparison:
    """It ends less than half a point below the plain student: the paper prints 0.07 to 0.33 for F-ActT, 0.38 for KD."""
    return Comparison(experiment, ("student",), (column,), margin=0.5)


def _alike(experiment: str, one: str, other: str) -> list[Rule]:
    return [Comparison(experiment, (a,), (b,), margin=0.3) for a, b in ((one, other), (other, one))]


RULES: dict[str, list[Rule]] = {
    # CIFAR-10 has no masks of objects; the embedded set has.
    "levels": [
        *(Look(_MAIN, ("teacher", level, "edges"), ("teacher", "low", "edges")) for level in ("middle", "top")),
        *(Look("objects", (network, "low", "on object"), (network, "top", "on object")) for network in _NETWORKS),
    ],
    # The shares of attention in boxes around eyes, nose and mouth.
    "parts": [
        Look("faces", ("network", level, "on parts"), ("network", "middle", "on parts")) for level in ("low", "top")
    ],
    # A peak is mass in few places.
    "stronger-networks": [
        Look(row, ("student", level, "top share"), ("teacher", level, "top share")) for row in ROWS for level in _LEVELS
    ],
    "power": [
        Look(_MAIN, ("teacher", level, less), ("teacher", level, more))
        for level in _LEVELS
        for less, more in (("top share, sum-1", "top share"), ("top share", "top share, sum-4"))
    ],
    "at": [rule for row in ROWS for rule in _below(row, "AT", "student")],
    "at-over-f-actt": [rule for row in ROWS for rule in _below(row, "AT", "F-ActT")],
    "f-actt": [rule for row in ROWS for rule in (*_below(row, "F-ActT", "student"), _little(row))],
    "convergence": [
        *(Comparison("convergence", (column,), ("student",), early=True) for column in ("AT", "F-ActT")),
        *_below("convergence", "AT", "student", "F-ActT"),
        _little("convergence"),
    ],
    "at-kd": [rule for row in ROWS for rule in _below(row, "AT+KD", "AT")],
    "kd-width": [rule for row in ROWS[:2] for rule in _below(row, "KD", "AT")],
    "kd-depth": [*_below("wrn-40-1-to-16-1", "AT", "KD", "student"), _little("wrn-40-1-to-16-1", "KD")],
    "one-group": [rule for group in _GROUPS for rule in _below("one-or-three", group, "student")],
    "three-losses": _below("one-or-three", "all groups", *_GROUPS),
    "every-mapping": [rule for name in _MAPPINGS for rule in _below("mapping-functions", name, "student")],
    "sum-over-max": [
        Comparison("mapping-functions", ("sum-1", "sum-2", "sum-4"), ("max-1",)),
        *(rule for name in ("sum-1", "sum-4") for rule in _alike("mapping-functions", name, "sum-2")),
    ],
    # Each where the term pulls at the untrained student as strongly as with the l2 norm, and where others were tried.
    "normalisation": _below(
        "mapping-functions", "sum-2", *(f"not normalised, beta {beta}" for beta in ("1000", "0.001", "0.0001"))
    ),
    "l1": [
        *_below("mapping-functions", "l1 normalised, beta 42000", "student"),
        Comparison("mapping-functions", ("l1 normalised, beta 42000",), ("sum-2",), margin=0.3),
    ],
    "gradient-at": _below("gradient-methods", "gradient AT", "student"),
    "other-gradients": [rule for name in ("min-l2", "KD") for rule in _below("gradient-methods", name, "student")],
    "symmetry": _below("gradient-methods", "symmetry norm", "student", "gradient AT"),
    "activation-over-gradient": _below("gradient-methods", "AT", "min-l2", "gradient AT", "symmetry norm"),
    # With other networks on other images at preset reduced, see the experiments.
    "fine-tuning": [
        *(Comparison(task, ("AT",), ("student",)) for task in _TASKS),
        Either(tuple(Comparison(task, ("AT",), ("KD",)) for task in _TASKS)),
    ],
    "alike": [
        *(Look(task, ("AT", "level 4", "distance"), ("student", "level 4", "distance")) for task in _TASKS),
        Look(_MAIN, ("AT", "top", "distance"), ("student", "top", "distance")),
    ],
    # Ten classes at 64 pixels at preset reduced.
    "imagenet": [*_below("imagenet-resnet18", "AT", "student"), *_below("imagenet-resnet18", "student", "KD")],
    "cost": [Cost(margin=10.0)],
}
"""By the name of the claim."""
