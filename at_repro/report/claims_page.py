"""What the page on the claims shows: the answer in a paragraph, and a table that folds out."""

import math

import pandas as pd

from at_repro.claims import CONTRADICTED, NOT_TESTED, SUPPORTED, UNDECIDED, effect
from at_repro.claims.comparisons import Errors
from at_repro.claims.ledger import SETTINGS, between, summary
from at_repro.report.sortable import SortableTable

_REACH = 3.0  # points: beside larger effects the others could not be told apart

PAGES = {
    **dict.fromkeys(["edges", "power", "details"], "attention_maps"),
    **dict.fromkeys(["objects", "objects-accuracy", "parts", "stronger-networks"], "peaks_objects_faces"),
    **dict.fromkeys(["at", "at-over-f-actt", "f-actt", "at-kd", "at-kd-over-kd"], "table_1"),
    **dict.fromkeys(["convergence", "kd-width", "kd-depth"], "table_1"),
    "at-in-general": "training_length",
    **dict.fromkeys(
        ["one-group", "three-losses", "every-mapping", "sum-over-max", "normalisation", "l1"], "which_loss"
    ),
    **dict.fromkeys(["gradient-at", "other-gradients", "symmetry", "activation-over-gradient"], "gradients"),
    **dict.fromkeys(["fine-tuning", "imagenet"], "larger_images"),
    "alike": "is_it_the_attention",
    "cost": "trust_and_rerun",
}
"""By claim, the page that is about it."""


def answer(ledger: pd.DataFrame) -> str:
    """How many claims have which verdict and which are decided, as Markdown."""
    if not (ledger["verdict"] != NOT_TESTED).any():
        return "**No claim is tested by these records.**"
    decided = {verdict: _with(verdict, ledger)["claim"] for verdict in (SUPPORTED, CONTRADICTED)}
    lines = [
        f"- *{verdict.capitalize()}*: {'; '.join(f'“{claim}”' for claim in texts)}."
        for verdict, texts in decided.items()
        if len(texts)
    ]
    undecided = _with(UNDECIDED, ledger)
    if len(undecided):
        alone = sum("one run" in scope for scope in undecided["scope"])
        lines.append(
            f"- *Undecided*: {len(undecided)}, because a 95 % interval reaches both sides or runs are missing; "
            f"{alone} rest on one seed."
        )
    if len(untested := _with(NOT_TESTED, ledger)):
        lines.append(f"- *Not tested*: {len(untested)}, for which stand-ins alone were trained, or nothing.")
    return "\n".join([f"**{summary(ledger)}**", "", *lines])


def effects(compared: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of test errors for a plot, in both settings, each once: with an interval, and below 3 points."""
    own = compared[compared["setting"].isin(SETTINGS.values()) & (compared["unit"] == Errors.unit)]
    own = own[own["low"].notna() & (own["difference"].abs() < _REACH)]
    return own.drop_duplicates(["setting", "difference", "low", "runs"])


def table(ledger: pd.DataFrame, compared: pd.DataFrame) -> SortableTable:
    """A row per claim: verdict, and the effect that supports it least in both settings; all of them fold out.

    Args:
        ledger, compared: see `claims.ledger` and `claims.comparisons`.
    """
    rows, folded = [], []
    for name, claim in ledger.iterrows():
        own = compared[(compared["claim"] == name) & compared["setting"].isin(SETTINGS.values())]
        cells = [
            _weakest(own[own["setting"] == setting], claim[column])
            for setting, column in zip(SETTINGS.values(), ("200 epochs", "fewer epochs"), strict=True)
        ]
        rows.append((claim["claim"], claim["verdict"], *cells, claim["setting"], PAGES[str(name)].replace("_", " ")))
        folded.append({
            "Comparisons": [_line(row) for row in own.itertuples()],
            "Networks and images": [claim["on"]],
            "To decide it": [claim["to decide"]],
            "Rule": [f"{claim['rule']} (from {claim['source']}; stated {claim['stated']})"],
            "Runs": [claim["runs"]],
        })  # fmt: skip
    columns = ["the paper claims", "verdict", "200 epochs", "fewer epochs", "setting", "page"]
    links = [f"{PAGES[str(name)]}.html" for name in ledger.index]
    return SortableTable(pd.DataFrame(rows, columns=columns), folded, links)


def _with(verdict: str, ledger: pd.DataFrame) -> pd.DataFrame:
    return ledger[ledger["verdict"] == verdict]


def _weakest(own: pd.DataFrame, verdict: str) -> str:
    """The effect of the comparison that speaks least for the claim, of how many, and the verdict of all."""
    if own.empty:
        return ""
    least = next(own.sort_values("for", ascending=False, kind="stable").itertuples())
    return f"{effect(least)}{f', the weakest of {len(own)}' * (len(own) > 1)}; {verdict}"


def _line(row) -> str:
    late = "" if math.isnan(row.late) else f"; last phase {row.late:+.2f}{between(row.late_low, row.late_high)}"
    return f"{row.setting}: {row.comparison}; {effect(row)}{late}; {row.scope}; {row.verdict}"
