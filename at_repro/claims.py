"""The claims ledger: what our records say about each claim of the paper, by rules stated in advance.

A rule is a list of comparisons of test errors, each paired over seeds: of the last epoch, or, where a claim is about
early convergence, of the mean over the epochs before the learning rate first drops. A comparison *holds* if the first
side has the lower error and the 95 % bootstrap interval of the mean difference over three seeds or more leaves out
zero. Where a claim is that one does as well as another, the first side may be worse by a margin stated in advance.
With the lower error alone, *direction holds, not significant*: one or two seeds never say more. A claim has the
weakest verdict of its comparisons that were run. Only orderings and differences are tested, never absolute numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from at_repro import experiments, paper, statistics
from at_repro.results import Record, Store

HOLDS = "holds"
DIRECTION = "direction holds, not significant"
FAILS = "does not hold"
NOT_RUN = "not run"
ORDER = (FAILS, DIRECTION, HOLDS)  # from weak to strong

CHANCE = 90.0  # percent: the error of guessing among ten classes, which is what a diverged run does

COLUMNS = ["claim", "verdict", "comparisons", "seeds", "numbers", "rule", "source", "runs"]


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

    def __str__(self) -> str:
        when = "early, " if self.early else ""
        relation = f"less than {self.margin:g} above" if self.margin else "below"
        return f"{when}{_mean_of(self.better)} {relation} {_mean_of(self.worse)} ({self.experiment})"


def _mean_of(columns: Sequence[str]) -> str:
    return columns[0] if len(columns) == 1 else f"the mean of {', '.join(columns)}"


def _below(experiment: str, better: str, *worse: str) -> list[Comparison]:
    return [Comparison(experiment, (better,), (column,)) for column in worse]


ROWS = ("nin-wide-to-nin-thin", "wrn-16-2-to-16-1", "wrn-40-1-to-16-1", "wrn-40-2-to-16-2")  # of Table 1

RULES: dict[str, list[Comparison]] = {
    "at": [rule for row in ROWS for rule in _below(row, "AT", "student")],
    "at-over-f-actt": [rule for row in ROWS for rule in _below(row, "AT", "F-ActT")],
    "f-actt": [rule for row in ROWS for rule in _below(row, "F-ActT", "student")],
    "convergence": [
        *(Comparison("convergence", (column,), ("student",), early=True) for column in ("AT", "F-ActT")),
        *_below("convergence", "AT", "student", "F-ActT"),
    ],
    "at-kd": [rule for row in ROWS for rule in _below(row, "AT+KD", "AT")],
    "kd-depth": _below("wrn-40-1-to-16-1", "AT", "KD"),
    "three-losses": _below("one-or-three", "all groups", "group 1", "group 2", "group 3"),
    "sum-over-max": [Comparison("mapping-functions", ("sum-1", "sum-2", "sum-4"), ("max-1",))],
    "normalisation": _below("mapping-functions", "sum-2", "not normalised, beta 1000", "not normalised, beta 0.001"),
    "l1": [
        *_below("mapping-functions", "l1 normalised", "student"),
        Comparison("mapping-functions", ("l1 normalised",), ("sum-2",), margin=0.3),
    ],
    "gradient-at": _below("gradient-methods", "gradient AT", "student"),
    "symmetry": _below("gradient-methods", "symmetry norm", "student", "gradient AT"),
    "activation-over-gradient": _below("gradient-methods", "AT", "min-l2", "gradient AT", "symmetry norm"),
}
"""By the name of the claim. A claim without a rule needs measurements that are not made yet, and is *not run*."""


@dataclass(frozen=True)
class Finding:
    """What the records say about one comparison; differences are better minus worse, in percentage points, by seed."""

    comparison: Comparison
    differences: dict[int, float]
    runs: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """One of the four, by the rule at the head of this module."""
        if not self.differences:
            return NOT_RUN
        mean, _, high = statistics.paired_interval(list(self.differences.values()))
        if mean >= self.comparison.margin:
            return FAILS
        return HOLDS if high < self.comparison.margin else DIRECTION

    @property
    def numbers(self) -> str:
        """The difference with its interval, for readers."""
        if not self.differences:
            return f"{self.comparison}: {NOT_RUN}"
        mean, low, high = statistics.paired_interval(list(self.differences.values()))
        interval = f", 95 % from {low:+.2f} to {high:+.2f}" if len(self.differences) > 2 else ""
        return f"{self.comparison}: {mean:+.2f} points{interval}"


def find(comparison: Comparison, preset: str, store: Store, seeds: Sequence[int] | None = None) -> Finding:
    """Compares what has a record; seeds without a record on both sides are left out. Raises DamagedRecord."""
    differences, runs = {}, []
    for columns in experiments.get(comparison.experiment).runs(preset, seeds):
        sides = [[columns[name] for name in side] for side in (comparison.better, comparison.worse)]
        if all(store.has(run) for side in sides for run in side):
            better, worse = (fmean(_error(store.load(run), comparison.early) for run in side) for side in sides)
            differences[sides[0][0].seed] = better - worse
            runs += [run.run_id for side in sides for run in side]
    return Finding(comparison, differences, tuple(dict.fromkeys(runs)))


def _error(record: Record, early: bool) -> float:
    if record.diverged:
        return CHANCE
    return record.early_error() if early else record.final["test_error"]


def ledger(preset: str, store: Store, seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """A row per claim of the paper, in its order; the index is the claim's name.

    Columns: `claim`, `verdict`, `comparisons` ("2 of 4" were run), `seeds` (the fewest of a comparison that was run),
    `numbers`, `rule`, `source` and `runs` (run ids). seeds None: all that have a record.

    Raises ParameterError for an unknown preset, DamagedRecord for a record that is not whole.
    """
    experiments.get_preset(preset)
    seeds = store.seeds() if seeds is None else seeds
    rows = {}
    for claim in paper.CLAIMS:
        findings = [find(comparison, preset, store, seeds) for comparison in RULES.get(claim.name, ())]
        run = [finding for finding in findings if finding.differences]
        rows[claim.name] = {
            "claim": claim.text,
            "verdict": min((finding.verdict for finding in run), key=ORDER.index, default=NOT_RUN),
            "comparisons": f"{len(run)} of {len(findings)}" if findings else "",
            "seeds": min((len(finding.differences) for finding in run), default=0),
            "numbers": "; ".join(finding.numbers for finding in run),
            "rule": "; ".join(str(finding.comparison) for finding in findings),
            "source": claim.source + ("" if claim.certain else " (?)"),
            "runs": " ".join(dict.fromkeys(run_id for finding in run for run_id in finding.runs)),
        }
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis("name")


def readable(ledger: pd.DataFrame) -> pd.DataFrame:
    """The ledger for readers, indexed by the claims' text: verdict, seeds, and the numbers that it rests on."""
    shown = ledger.set_index("claim")[["verdict", "comparisons", "seeds", "numbers"]]
    shown["seeds"] = [
        "" if verdict == NOT_RUN else seeds for verdict, seeds in zip(shown["verdict"], shown["seeds"], strict=True)
    ]
    return shown.rename_axis("the paper claims").rename(columns={"comparisons": "comparisons run"})


def summary(ledger: pd.DataFrame) -> str:
    """How many claims have which verdict, in a sentence."""
    counts = ledger["verdict"].value_counts()
    told = [f"{counts[verdict]} {verdict}" for verdict in (HOLDS, DIRECTION, FAILS, NOT_RUN) if verdict in counts]
    return f"Of {len(ledger)} claims: {', '.join(told)}."
