"""The claims ledger: what our records say about each claim of the paper.

A row of `compare` is one comparison in one setting, with its interval; a row of `conclude` is one claim, with the
verdict that its comparisons give together, see `verdicts`. Settings are the paper's (preset `paper`) and shortened
(preset `reduced`: the paper's networks and images, fewer epochs). Where other networks, images or recipes stand in,
a comparison neither supports nor contradicts the paper: it is listed under `elsewhere`, with its own finding.
"""

import math
from dataclasses import replace
from itertools import chain
from typing import Any

import pandas as pd

from at_repro.analysis import significance
from at_repro.claims import plan, verdicts
from at_repro.claims.comparisons import Comparison, Cost, ErrorComparison, Evidence, not_run
from at_repro.claims.facts import Facts
from at_repro.claims.paper_claims import BY_NAME, CLAIMS, QUESTIONS, Claim
from at_repro.claims.verdicts import CONTRADICTED, NOT_TESTED, SUPPORTED, UNDECIDED, VERDICTS
from at_repro.errors import name_seeds
from at_repro.records import Store
from at_repro.runs import Run

SETTINGS = {"paper": "the paper's", "reduced": "shortened"}
STAND_IN, OURS_ALONE = "stand-in", "ours"
SANITY_CHECK = "sanity check"
FINDINGS = {
    SUPPORTED: "found here", CONTRADICTED: "the opposite found", UNDECIDED: UNDECIDED,
    NOT_TESTED: "not tested: the teacher is no better than the student",
}  # fmt: skip

COMPARISON_COLUMNS = [
    "claim", "setting", "comparison", "on", "difference", "low", "high", "unit", "within", "scope", "verdict",
    "for", "against", "late", "late_low", "late_high", "new_seeds", "new_verdict", "lacks", "seeds_to_decide",
    "hours_to_decide", "stand_in", "runs",
]  # fmt: skip


def compare(store: Store, preset: str = "reduced") -> pd.DataFrame:
    """Every comparison that was run, a row per setting; differences in the unit that stands behind them.

    Both settings are looked at, whichever `preset` the store belongs to; of preset `smoke`, whose images are generated,
    there are no rows: it makes no claim.

    Columns: `claim`, its name; `setting`; `comparison`; `on`, networks and images; `difference` with `low` and `high`,
    its 95 % interval (NaN where there are too few networks for one); `unit`; `within`, how near to zero
    the claim wants it (NaN where it wants a sign); `scope`, what it was taken from; `verdict`
    of this comparison alone; `for` and `against`, one-sided p-values; `late` and its interval, the second estimator;
    `new_seeds` and `new_verdict`, what the seeds alone say that were run after the rule was stated, empty where those
    are fewer than three or all; `lacks`, what would decide an undecided one where that is not seeds; `seeds_to_decide`
    and `hours_to_decide` (NaN where nothing in reach decides); `stand_in`, what stands in for the paper's setting, else
    empty; `runs`.

    Raises DamagedRecord for a record that is not whole, UserError where two were measured on different test images.
    """
    facts = Facts(store)
    rows = [
        _row(claim, comparison, at, evidence)
        for claim in (BY_NAME.values() if preset != "smoke" else ())
        for at in SETTINGS
        for comparison in claim.comparisons
        if (evidence := comparison.evidence(at, facts)) is not None
    ]
    # Stand-ins may be the same runs at several presets.
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS).drop_duplicates(["claim", "setting", "comparison", "runs"])


def _row(claim: Claim, comparison: Comparison, preset: str, evidence: Evidence) -> tuple:
    stand_in = comparison.stand_in(preset)
    setting = OURS_ALONE if claim in QUESTIONS else STAND_IN if stand_in else SETTINGS[preset]
    verdict = evidence.verdict if evidence.fair or claim in QUESTIONS else NOT_TESTED
    low, high = evidence.estimate.interval if evidence.estimate else (math.nan, math.nan)
    more = evidence.seeds if verdict == UNDECIDED else None
    seeds = math.nan if more is None else more
    hours = math.nan if more is None else max(0, more - len(evidence.differences)) * evidence.seconds / 3600
    runs = comparison.runs(preset)
    runs = [run for run in runs if run.run_id in evidence.runs] or runs
    within = (
        comparison.margin.bound if isinstance(comparison, ErrorComparison) and comparison.margin.alike else math.nan
    )
    lengths = sorted({run.epochs for run in runs if not isinstance(comparison, Cost)})  # single steps have none
    epochs = f", {', '.join(map(str, lengths))} epochs" if lengths else ""
    return (
        claim.name, setting, str(comparison), _subjects(runs) + epochs or stand_in, evidence.difference, low, high,
        comparison.unit, within, evidence.scope, verdict, *evidence.chances, *(evidence.late or (math.nan,) * 3),
        *_of_new_seeds(claim, comparison, preset, evidence), evidence.lacks, seeds, hours, stand_in, evidence.runs,
    )  # fmt: skip


def _of_new_seeds(claim: Claim, comparison: Comparison, preset: str, evidence: Evidence) -> tuple[str, str]:
    """What the seeds say of which no run was known when the rule was stated, and the verdict by them."""
    if not isinstance(comparison, ErrorComparison) or not evidence.fair:  # a mean or a best one is of several
        return "", ""
    unknown, runs = plan.unknown(claim.name, evidence.runs), comparison.runs(preset)
    seeds = [seed for seed in evidence.differences if {replace(run, seed=seed).run_id for run in runs} <= unknown]
    estimate = significance.of_replicates([evidence.differences[seed] for seed in seeds])
    if estimate is None or len(seeds) == len(evidence.differences):
        return "", ""
    text = measured(estimate.difference, *estimate.interval, comparison.unit)
    verdict = verdicts.verdict(*comparison.margin.chances(estimate))
    return f"{name_seeds(seeds)} alone, run after the rule was stated: {text}", verdict


def conclude(comparisons: pd.DataFrame) -> pd.DataFrame:
    """A row per claim of the paper, in its order, from a frame of `compare`; the index is the claim's name.

    Columns: `claim`; `verdict`, in the paper's setting where anything was run there, else in the shortened one;
    `setting` and `scope` of that; `on`, the networks and images; `compared`, such as "1 of 4"; `effects`, differences
    with their intervals by both estimators; `200 epochs` and `fewer epochs`, the verdicts of both settings;
    `to decide`, the seeds and hours that would; `rule`; `source`; `stated`, see `plan.history`; `runs`, by id.
    """
    rows = {}
    comparisons = comparisons.assign(
        effect=[f"{row.comparison}: {effect(row)}{late(row)}" for row in comparisons.itertuples()]
    )
    eligible = comparisons[(comparisons["setting"] != STAND_IN) & (comparisons["verdict"] != NOT_TESTED)]
    by_claim = dict(iter(eligible.groupby(["claim", "setting"])))
    for claim in CLAIMS:
        parts = {preset: by_claim.get((claim.name, setting), eligible[:0]) for preset, setting in SETTINGS.items()}
        asked = {preset: claim.asked(preset) for preset in SETTINGS}
        verdict_of = {preset: _verdict(claim, part, len(asked[preset])) for preset, part in parts.items()}
        preset = next((preset for preset, part in parts.items() if len(part)), "paper")
        part, verdict = parts[preset], verdict_of[preset]
        runs = list(dict.fromkeys(chain(*part["runs"])))
        is_own = (comparisons["claim"] == claim.name) & (comparisons["setting"] == SETTINGS[preset])
        rows[claim.name] = {
            "claim": claim.text,
            "verdict": verdict,
            "setting": SETTINGS[preset] if len(part) else "",
            "scope": "; ".join(dict.fromkeys(part["scope"])),
            "on": "; ".join(dict.fromkeys(part["on"])),
            "compared": f"{len(part)} of {len(asked[preset])}",
            "effects": "; ".join(part["effect"]),
            "200 epochs": verdict_of["paper"],
            "fewer epochs": verdict_of["reduced"],
            "to decide": _to_decide(asked[preset], preset, verdict, part, {*comparisons.loc[is_own, "comparison"]}),
            "rule": "; ".join(map(str, claim.comparisons)),
            "source": claim.source,
            "stated": plan.history(claim.name, runs),
            "runs": " ".join(runs),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def elsewhere(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of stand-ins, and the questions of our own, each with its own finding: no verdict on the paper.

    Columns `asked`, the claim or question; `comparison`; `here`, what stands in; `effect`; `scope`; `finding`; `rule`,
    when it was stated and knowing what.
    """
    own = comparisons[comparisons["setting"].isin([STAND_IN, OURS_ALONE])]
    rows = [
        (BY_NAME[row.claim].text, row.comparison, row.stand_in or row.on, effect(row) + of_new_seeds(row), row.scope,
         FINDINGS[row.verdict],
         plan.history(row.claim, row.runs))
        for row in own.itertuples()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["asked", "comparison", "here", "effect", "scope", "finding", "rule"])


def counts(ledger: pd.DataFrame) -> dict[str, int]:
    """How many claims have which verdict, without the sanity checks."""
    return _of_the_paper(ledger)["verdict"].value_counts().reindex(list(VERDICTS), fill_value=0).to_dict()


def summary(ledger: pd.DataFrame) -> str:
    """`counts` and `shorter_trainings`, in sentences."""
    by_verdict = counts(ledger)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in by_verdict.items())
    return f"Of {sum(by_verdict.values())} claims: {verdicts}. {shorter_trainings(ledger)}".rstrip()


def shorter_trainings(ledger: pd.DataFrame) -> str:
    """How many decided claims rest on shorter trainings than the paper's, in a sentence; empty where none does."""
    decided = _of_the_paper(ledger)
    decided = decided[decided["verdict"].isin([SUPPORTED, CONTRADICTED])]
    count = (decided["setting"] == SETTINGS["reduced"]).sum()
    untrained = sum(isinstance(BY_NAME[name].comparisons[0], Cost) for name in decided.index)
    others = f", {untrained} on a timing of single steps" if untrained else ""
    rest = f"{count} rest{'s' if count == 1 else ''} on trainings shorter than the paper's"
    return f"Of the {len(decided)} decided, {rest}{others}." * bool(count)


def post_hoc(ledger: pd.DataFrame) -> str:
    """How many rules of tested claims were stated before all, after some or after all of their runs, and how many
    claims are judged by another one than was stated, in sentences.
    """
    tests = ledger[ledger["verdict"].isin([SUPPORTED, CONTRADICTED, UNDECIDED])]
    if tests.empty:
        return ""
    of_stated = [(name, own) for name, own in tests["runs"].str.split().items() if plan.is_stated(name)]
    shares = [len(plan.unknown(name, own)) / max(1, len(own)) for name, own in of_stated]
    after, partly = shares.count(0), sum(0 < share < 1 for share in shares)
    before = len(shares) - after - partly
    text = (
        f"Of the {len(tests)} tested claims, the rule was stated before all of the claim's runs for "
        f"{before or 'none'}, after some of them for {partly or 'none'}, after all for {after or 'none'}."
    )
    others = len(tests) - len(of_stated)
    return text + f" Judged by another rule than was stated: {others}." * bool(others)


def _of_the_paper(ledger: pd.DataFrame) -> pd.DataFrame:
    return ledger[[not BY_NAME[name].is_arithmetic for name in ledger.index]]


def effect(row: Any) -> str:
    """The difference of a row of `compare` with its interval, see `measured`."""
    return measured(row.difference, row.low, row.high, row.unit)


def late(row: Any) -> str:
    """The second estimator of a row of `compare`, to stand behind its `effect`; empty where there is none."""
    return "" if math.isnan(row.late) else f", in the last phase {measured(row.late, row.late_low, row.late_high)}"


def of_new_seeds(row: Any) -> str:
    """What the new seeds of a row of `compare` say, to stand behind its `effect`; empty where there is nothing."""
    return f"; {row.new_seeds}; {row.new_verdict}" if row.new_seeds else ""


def measured(difference: float, low: float, high: float, unit: str = "") -> str:
    """A difference with its interval, for readers: "-0.57 points (-1.21 to +0.07)"; without, where `low` is NaN."""
    return f"{_signed(difference)}{unit}" + ("" if math.isnan(low) else f" ({_signed(low)} to {_signed(high)})")


def _signed(value: float) -> str:
    """With two decimals, and a third where these are zero: on which side of zero a bound lies is the verdict."""
    text = f"{value:+.2f}"
    return f"{value:+.3f}" if value and not float(text) else text


def _verdict(claim: Claim, part: pd.DataFrame, count: int) -> str:
    """Of a claim whose comparisons in one setting are `part`, of so many that it has there: stand-ins do not count."""
    if claim.is_arithmetic and len(part):
        return SANITY_CHECK
    return verdicts.every(list(zip(part["for"], part["against"], strict=True)), count)


def _to_decide(asked: list[Comparison], preset: str, verdict: str, part: pd.DataFrame, ran: set[str]) -> str:
    """What an undecided claim lacks: comparisons that were not run, better teachers, and seeds; with the hours.

    Args:
        part: the comparisons that test it, see `conclude`.
        ran: the names of those and of the ones whose teacher had nothing to hand on.
    """
    if verdict != UNDECIDED:
        return ""
    needs = []
    if gaps := [comparison for comparison in asked if str(comparison) not in ran]:
        needs.append(not_run("comparison", gaps, preset))
    if ran - {*part["comparison"]}:
        needs.append("a teacher that is better than the student")
    open_rows = part[part["verdict"] == UNDECIDED]
    needs += [lacks for lacks in dict.fromkeys(open_rows["lacks"]) if lacks]
    by_seeds = open_rows[open_rows["lacks"] == ""]
    if by_seeds["seeds_to_decide"].isna().any():
        needs.append("no number of seeds in reach")
    elif len(by_seeds):
        hours = by_seeds["hours_to_decide"].sum()
        needs.append(f"{by_seeds['seeds_to_decide'].max():.0f} seeds, at most about {hours:.0f} h")
    if (part["verdict"] == CONTRADICTED).any():
        needs.append("more seeds: a comparison speaks against it, but not after Holm's correction")
    return "; ".join(needs)


def _subjects(runs: list[Run]) -> str:
    """Such as "wrn-16-1 from wrn-16-2 on cifar10"; where nobody was taught, the networks."""
    if not runs:
        return ""
    pairs = [f"{run.network} from {run.teacher.network}" for run in runs if run.teacher]
    pairs = pairs or [run.network for run in runs]
    return f"{', '.join(dict.fromkeys(pairs))} on {', '.join(dict.fromkeys(run.dataset for run in runs))}"
