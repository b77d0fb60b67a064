"""The claims ledger: what our records say about each claim of the paper, by rules, see `rules`.

A claim is a list of rules, each a difference that shall be negative, paired over seeds: of test errors, of statistics
of attention, of cost. A rule *holds* if it is negative and its 95 % bootstrap interval over three seeds or more leaves
out zero. Where a claim is that one does as well as another, a margin stands in the place of zero.
With the sign alone, *direction holds, not significant*: one or two seeds never say more. A claim has the weakest
verdict of its rules that were run. Only orderings and differences are tested, never absolute numbers.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from at_repro import experiments, paper, statistics
from at_repro.results import Store
from at_repro.rules import RULES, Measured, Rule

HOLDS = "holds"
DIRECTION = "direction holds, not significant"
FAILS = "does not hold"
NOT_RUN = "not run"
ORDER = (FAILS, DIRECTION, HOLDS)  # from weak to strong

COLUMNS = ["claim", "on", "verdict", "comparisons", "seeds", "numbers", "rule", "source", "runs"]


@dataclass(frozen=True)
class Finding:
    """What the records say about one rule: its differences by seed, and what they were computed from."""

    rule: Rule
    measured: Measured

    @property
    def differences(self) -> dict[int, float]:
        """By seed, see `rules.Measured`."""
        return self.measured.differences

    @property
    def verdict(self) -> str:
        """One of the four, as stated at the head of this module."""
        if not self.differences:
            return NOT_RUN
        mean, _, high = statistics.paired_interval(list(self.differences.values()))
        if mean >= self.rule.margin:
            return FAILS
        return HOLDS if high < self.rule.margin else DIRECTION

    @property
    def numbers(self) -> str:
        """The difference, for readers, with its interval over seeds or, of one or two seeds, McNemar's p of each."""
        if not self.differences:
            return NOT_RUN
        mean, low, high = statistics.paired_interval(list(self.differences.values()))
        told = f"{mean:+.2f}{self.rule.unit}"
        if len(self.differences) > 2:
            return f"{told}, 95 % from {low:+.2f} to {high:+.2f}"
        chances = ["p < 0.0001" if p < 1e-4 else f"p = {p:.2g}" for p in self.measured.p.values()]
        return f"{told} ({', '.join(chances)})" if chances and not self.rule.margin else told


def find(rule: Rule, preset: str, store: Store, seeds: Sequence[int] | None = None) -> Finding:
    """Compares what has a record; seeds without a record on both sides are left out. Raises DamagedRecord."""
    return Finding(rule, rule.measure(preset, store, seeds))


def ledger(preset: str, store: Store, seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """A row per claim of the paper, in its order; the index is the claim's name.

    Columns: `claim`; `on`, the networks and images that it was tested on, or would be where nothing is run; `verdict`;
    `comparisons` ("2 of 4" were run); `seeds`, the fewest of a comparison that was run;
    `numbers`, `rule`, `source` and `runs` (run ids). seeds None: all that have a record.

    Raises ParameterError for an unknown preset, DamagedRecord for a record that is not whole.
    """
    rows = {}
    for claim, findings in _examined(preset, store, seeds):
        run = [finding for finding in findings if finding.differences]
        rows[claim.name] = {
            "claim": claim.text,
            "on": "; ".join(dict.fromkeys(on for finding in run or findings for on in finding.rule.subjects(preset))),
            "verdict": min((finding.verdict for finding in run), key=ORDER.index, default=NOT_RUN),
            "comparisons": f"{len(run)} of {len(findings)}",
            "seeds": min((len(finding.differences) for finding in run), default=0),
            "numbers": "; ".join(f"{finding.rule}: {finding.numbers}" for finding in run),
            "rule": "; ".join(str(finding.rule) for finding in findings),
            "source": claim.source + ("" if claim.certain else " (?)"),
            "runs": " ".join(dict.fromkeys(run_id for finding in run for run_id in finding.measured.runs)),
        }
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis("name")


def tested(ledger: pd.DataFrame, beside: pd.DataFrame | None = None) -> pd.DataFrame:
    """The rows of a ledger that have a verdict; with `beside`, a ledger of another preset, those from other runs alone.

    Some experiments have the same runs at several presets, and say nothing new at another one.
    """
    found = ledger[ledger["verdict"] != NOT_RUN]
    return found if beside is None else found[found["runs"] != beside["runs"].reindex(found.index)]


def readable(ledger: pd.DataFrame) -> pd.DataFrame:
    """The ledger for readers, at a glance: by the claims' text the verdict, and of how many comparisons and seeds."""
    shown = ledger.set_index("claim")[["verdict", "comparisons", "seeds"]]
    shown["seeds"] = [
        "" if verdict == NOT_RUN else seeds for verdict, seeds in zip(shown["verdict"], shown["seeds"], strict=True)
    ]
    return shown.rename_axis("the paper claims").rename(columns={"comparisons": "comparisons run"})


def differences(
    preset: str, store: Store, seeds: Sequence[int] | None = None, names: Collection[str] | None = None
) -> pd.DataFrame:
    """The numbers behind the verdicts, for readers: a row per comparison that was run, by claim and comparison.

    names: of the claims that are shown; None: of all. seeds as of `ledger`. Raises what it raises.
    """
    found = [
        (claim.text, str(finding.rule), finding.numbers)
        for claim, findings in _examined(preset, store, seeds, names)
        for finding in findings
        if finding.differences
    ]
    columns = ["the paper claims", "comparison", "difference"]
    return pd.DataFrame(found, columns=columns).set_index(columns[:2])


def summary(ledger: pd.DataFrame) -> str:
    """How many claims have which verdict, in a sentence."""
    counts = ledger["verdict"].value_counts()
    told = [f"{counts[verdict]} {verdict}" for verdict in (HOLDS, DIRECTION, FAILS, NOT_RUN) if verdict in counts]
    return f"Of {len(ledger)} claims: {', '.join(told)}."


def _examined(
    preset: str, store: Store, seeds: Sequence[int] | None, names: Collection[str] | None = None
) -> Iterator[tuple[paper.Claim, list[Finding]]]:
    """Each claim of the paper, or those with these names, in its order, with the findings of its rules."""
    experiments.get_preset(preset)
    seeds = store.seeds() if seeds is None else seeds
    for claim in paper.CLAIMS:
        if names is None or claim.name in names:
            yield claim, [find(rule, preset, store, seeds) for rule in RULES[claim.name]]
