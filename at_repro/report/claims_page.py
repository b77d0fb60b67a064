"""What the page on the claims shows: the answer in a paragraph, a forest plot, and a table that folds out."""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from at_repro import claims, experiments
from at_repro.analysis.significance import Estimate
from at_repro.claims import CONTRADICTED, NOT_TESTED, SUPPORTED, UNDECIDED, effect, plan, post_hoc, verdicts
from at_repro.claims.comparisons import ErrorComparison
from at_repro.claims.facts import Spread
from at_repro.claims.ledger import SETTINGS, late, of_new_seeds, summary
from at_repro.report.figures.theme import INK, LETTERS, NARROW, canvas, unavailable

_REACH = 3.0  # points: beside larger effects the others could not be told apart
_COLOURS = {SUPPORTED: "#00843f", CONTRADICTED: "#d72d47", UNDECIDED: INK}  # those of the table, on a light page
_SETTINGS = " settings"  # of a scope: pairs of networks at several lengths
_MARGIN: dict[str, Any] = {
    "color": INK,
    "alpha": 0.3,
    "linewidth": 6,
}  # of a bar behind an interval that is to lie within it
_LINE = 58  # letters, of a name above its intervals

PAGES = {
    **dict.fromkeys(["power", "details"], "method"),
    "edges": "attention_maps",
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

_SCOPES = {
    "fine-tuning-birds": "birds",
    "fine-tuning-scenes": "scenes",
    "gradient-methods": "thin NIN without batch norm",
    "imagenet-resnet18": "ImageNet",
    "objects": "generated shapes",
}
"""What readers know experiments by that are no pair of networks, and pairs are called by their networks."""
_ON_A_PAIR = [*experiments.TABLE_1, "convergence", "mapping-functions", "one-or-three"]


def answer(ledger: pd.DataFrame, comparisons: pd.DataFrame, spread: Spread) -> str:
    """How many claims have which verdict, which are decided, and how sure that is, as Markdown.

    Args:
        ledger, comparisons: see `ledger.conclude` and `ledger.compare`.
        spread: of seeds, see `facts.Facts.spread`.
    """
    if (ledger["verdict"] == NOT_TESTED).all():
        return "**No claim is tested by these records.**"
    lines = [
        f"- *{verdict.capitalize()}*: {'; '.join(quoted(claim, comparisons) for claim in rows.itertuples())}."
        for verdict in (SUPPORTED, CONTRADICTED)
        if len(rows := _with(verdict, ledger))
    ]
    if len(open_claims := _with(UNDECIDED, ledger)):
        lines.append(
            f"- *Undecided*: {len(open_claims)}, because a 95 % interval holds differences for and against the claim, "
            "or runs are missing."
        )
    if len(gaps := _with(NOT_TESTED, ledger)):
        lines.append(f"- *Not tested*: {len(gaps)}, for which nothing was trained, or only stand-ins.")
    judgements = ledger[ledger["verdict"].isin([SUPPORTED, CONTRADICTED, UNDECIDED])]
    scopes = [scope.split("; ") for scope in judgements["scope"]]
    by_seeds = [parts for parts in scopes if all(re.fullmatch(r"\d+ seeds|(one|two) runs?", part) for part in parts)]
    several = sum(all("seeds" in part for part in parts) for parts in by_seeds)
    sure = (
        f"seeds judge {len(by_seeds)} of the tested claims, {several or 'none'} of them with three or more in every "
        "comparison that was run"
    )
    if spread.freedom < math.inf:
        width = Estimate(0.0, spread.ratio, spread.freedom).interval[1] / Estimate(0.0, 1.0, math.inf).interval[1]
        sure += (
            f". With one or two seeds the interval is McNemar's over test images, {width:.2f} times as wide for the "
            "variation between seeds"
        )
    new = comparisons[comparisons["setting"].isin(SETTINGS.values()) & (comparisons["new_seeds"] != "")]
    new = new.drop_duplicates(["setting", "difference", "low"])  # of several claims, whose margins may differ
    if len(new):
        same = (new["new_verdict"] == new["verdict"]).sum()
        sure += (
            f". In {len(new)} of the comparisons three or more seeds, but not all, were run after the rule: by these "
            f"alone {same or 'none'} would have the same verdict"
        )
    lines.append(f"- *How sure*: {sure}. {post_hoc(ledger)}")
    return "\n".join([f"**{summary(ledger)}**", "", *lines])


def effects(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of test errors for a plot, each once: those that are judged, with an interval, below 3 points."""
    rows = comparisons[comparisons["setting"].isin(SETTINGS.values()) & (comparisons["unit"] == ErrorComparison.unit)]
    rows = rows[rows["low"].notna() & (rows["difference"].abs() < _REACH) & (rows["verdict"] != NOT_TESTED)]
    return rows.drop_duplicates(["setting", "difference", "low", "runs", "verdict"])  # margins may differ


def forest(comparisons: pd.DataFrame, stamp: str) -> Figure:
    """Differences of test errors with their 95 % intervals: filled in the paper's setting, open in a shortened one.

    Args:
        comparisons: columns comparison, difference, low, high and within (points), setting and verdict, see `effects`.
    """
    if comparisons.empty:
        return unavailable(stamp)
    names = {
        name: textwrap.fill(_title(name), _LINE, break_on_hyphens=False)
        for name in pd.unique(comparisons["comparison"])
    }
    heights = np.array([name.count("\n") + 2.7 for name in names.values()])  # in lines: the name, and two marks below
    rows = dict(zip(names, np.cumsum(heights), strict=True))
    figure, axis = canvas(stamp, 1 + 0.13 * heights.sum(), width=NARROW)
    places = np.array(list(rows.values()))
    axis.vlines(np.zeros(len(rows)), places - 0.3, places + 1.1, color=INK, linewidth=1)
    places_below = comparisons.groupby("comparison").cumcount()
    for row, below in zip(comparisons.itertuples(), places_below, strict=True):
        is_paper = row.setting == SETTINGS["paper"]
        colour = _COLOURS[row.verdict]
        height = rows[row.comparison] + 0.1 + 0.7 * below
        axis.hlines(height, -row.within, row.within, **_MARGIN)  # none where it is NaN
        axis.hlines(height, row.low, row.high, color=colour, linewidth=1.5)
        axis.plot(
            row.difference, height, "o", color=colour, markerfacecolor=colour if is_paper else "none", markersize=5
        )
    axis.set(ylim=(places[-1] + 1.6, places[0] - heights[0]), xlabel="difference of test errors (points)")
    axis.set_yticks(places - 0.3, names.values(), fontsize=LETTERS, ha="left", va="bottom")
    axis.tick_params(axis="y", pad=-7)  # inside, where no line of the grid strikes them
    axis.tick_params(axis="x", labelsize=LETTERS, labeltop=True)
    axis.grid(visible=False)
    marks = [Line2D([], [], color=colour, marker="o", label=verdict) for verdict, colour in _COLOURS.items()]
    marks.append(Line2D([], [], color=INK, marker="o", markerfacecolor="none", label="hollow: fewer epochs"))
    marks.append(Line2D([], [], **_MARGIN, label="within so many points"))
    figure.legend(handles=marks, loc="outside upper left", ncols=2, frameon=False, fontsize=LETTERS)
    return figure


class SortableTable:
    """What a notebook shows as HTML, and as text where numbers are compared.

    Headings sort by the number that a cell begins with, else by its text (`book/_assets/sort.js`).

    Args:
        table: its columns are the headings; a cell that names a verdict has it in colour.
        notes: by row, what stands below the text of its first cell.
        details: by row, what is folded away below it: lines by their title; lines that are empty are left out.
        links: by row, where the text of the last column leads.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        notes: Sequence[str],
        details: Sequence[Mapping[str, Sequence[str]]],
        links: Sequence[str],
    ):
        self.table, self.notes, self.details, self.links = table, notes, details, links

    def __repr__(self) -> str:
        return self.table.to_string(index=False)

    def _repr_html_(self) -> str:
        headings = "".join(f"<th>{escape(name)}</th>" for name in self.table)
        rows = zip(self.table.itertuples(index=False), self.notes, self.details, self.links, strict=True)
        bodies = "\n".join(self._row(*row) for row in rows)
        return f'<table class="sortable"><thead><tr>{headings}</tr></thead>\n{bodies}</table>'

    def _row(self, cells: Sequence[str], note: str, details: Mapping[str, Sequence[str]], link: str) -> str:
        # A phone shows a row as lines, each behind its heading.
        starts = [f'<td data-heading="{escape(name)}">' for name in self.table]
        first = f"{escape(cells[0])}<small>{escape(note)}</small>"
        texts = [first, *map(_with_colours, cells[1:-1]), f'<a href="{escape(link)}">{escape(cells[-1])}</a>']
        cells_html = "".join(f"{start}{text}</td>" for start, text in zip(starts, texts, strict=True))
        parts = {title: kept for title, lines in details.items() if (kept := [line for line in lines if line])}
        lists = "".join(
            f"<p>{escape(title)}</p><ul>{''.join(f'<li>{_with_colours(line)}</li>' for line in lines)}</ul>"
            for title, lines in parts.items()
        )
        html = f"<details><summary>{escape(', '.join(parts).lower())}</summary>{lists}</details>"
        return f'<tbody><tr>{cells_html}</tr><tr><td colspan="{len(cells)}">{html}</td></tr></tbody>'


def table(ledger: pd.DataFrame, comparisons: pd.DataFrame) -> SortableTable:
    """A row per claim: verdict, the effect that supports it least in both settings, and on what; all of them fold out.

    No rows where nothing was compared, as at preset `smoke`.

    Args:
        ledger, comparisons: see `ledger.conclude` and `ledger.compare`.
    """
    if comparisons.empty:
        ledger = ledger[:0]
    rows, notes, details = [], [], []
    for name, claim in ledger.iterrows():
        rows_of_claim = comparisons[(comparisons["claim"] == name) & comparisons["setting"].isin(SETTINGS.values())]
        tests = rows_of_claim[rows_of_claim["verdict"] != NOT_TESTED]
        asked = claims.paper_claims.BY_NAME[str(name)].asked
        cells = [
            _weakest(tests[tests["setting"] == setting], len(asked(preset)), claim[column])
            for (preset, setting), column in zip(SETTINGS.items(), ("200 epochs", "fewer epochs"), strict=True)
        ]
        setting = claim["setting"] and f"{claim['setting']} setting"
        changed = "" if plan.is_stated(str(name)) else f"rule {claim['stated']}"
        notes.append("; ".join(filter(None, (changed, setting, _scope(claim), _with_names(claim["on"])))))
        rows.append((claim["claim"], claim["verdict"], *cells, PAGES[str(name)].replace("_", " ")))
        details.append({
            "Comparisons": [_line(row) for row in rows_of_claim.itertuples()],
            "To decide it": [claim["to decide"]],
            "Rule": [f"{_with_names(claim['rule'])} (from {claim['source']}; {claim['stated']})"],
            "Runs": [claim["runs"]],
        })  # fmt: skip
    columns = ["the paper claims", "verdict", "200 epochs", "fewer epochs", "page"]
    links = [f"{PAGES[str(name)]}.html" for name in ledger.index]
    return SortableTable(pd.DataFrame(rows, columns=columns), notes, details, links)


def elsewhere(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of stand-ins and of questions of our own, see `claims.elsewhere`, with the names of the pages."""
    return claims.elsewhere(comparisons).map(_with_names).set_index(["asked", "comparison"])


def _with(verdict: str, ledger: pd.DataFrame) -> pd.DataFrame:
    return ledger[ledger["verdict"] == verdict]


def _weakest(rows: pd.DataFrame, asked: int, verdict: str) -> str:
    """The effect of the comparison that speaks least for the claim, of how many that are asked, and the verdict."""
    if rows.empty:
        return ""
    least = next(rows.sort_values("for", ascending=False, kind="stable").itertuples())
    of = f", the weakest of {len(rows)}" * (len(rows) > 1)
    gaps = f"; {len(rows)} of {asked} comparisons run" * (len(rows) < asked)
    return f"{effect(least)}, {_scope(least)}{of}{gaps}; {verdict}"


def _line(row: Any) -> str:
    effects = f"{effect(row)}{late(row)}; {_scope(row)}; {row.verdict}{of_new_seeds(row)}"
    return f"{row.setting}: {_with_names(row.comparison)}; {effects}"


def quoted(claim: Any, comparisons: pd.DataFrame) -> str:
    """A claim with what its verdict rests on: settings, or the comparison that contradicts it most."""
    text = f"“{claim.claim}”" + f" ({_scope(claim)})" * claim.scope.endswith(_SETTINGS)
    if claim.verdict != CONTRADICTED:
        return text
    own = comparisons[(comparisons["claim"] == claim.Index) & (comparisons["setting"] == claim.setting)]
    most = next(_with(CONTRADICTED, own).sort_values("against", kind="stable").itertuples())
    where = most.setting if most.setting == SETTINGS["paper"] else f"a {most.setting}"
    scope = "" if most.scope.endswith(_SETTINGS) else f"{_scope(most)} "  # which the text has
    return f"{text}: *{_with_names(most.comparison)}* fails, {effect(most)}, {scope}in {where} setting"


def _scope(row: Any) -> str:
    """What a verdict was taken from; of settings also of how many pairs, of which several are lengths of training."""
    pairs = row.on.count(" from ")
    return f"{row.scope} of {pairs} pair{'s' * (pairs > 1)}" if row.scope.endswith(_SETTINGS) else row.scope


def _title(comparison: str) -> str:
    """A comparison with the names that readers know; one that is the same on several pairs without theirs."""
    same = re.fullmatch(r"on average, (.*?) \(.*?\)(, \1 \(.*?\))+", comparison)
    return f"on average over pairs, {same[1]}" if same else _with_names(comparison)


def _with_names(text: str) -> str:
    """A text of the ledger with experiments, networks and images called as on the other pages."""
    for name, scope in _scopes().items():
        text = text.replace(f"({name})", f"({scope})")
    return re.sub(r"wrn-\d+-\d+|nin-\w+", lambda network: network[0].upper(), text).replace("cifar10", "CIFAR-10")


@cache  # many texts ask for the same
def _scopes() -> dict[str, str]:
    columns = {name: experiments.get(name).runs("paper", [0])[0] for name in _ON_A_PAIR}
    return _SCOPES | {name: f"{own['student'].network} from {own['teacher'].network}" for name, own in columns.items()}


def _with_colours(text: str) -> str:
    """HTML of a text whose parts are joined by "; ": verdicts among them in their colour."""
    parts = [
        f'<span class="verdict {part.replace(" ", "-")}">{part}</span>' if part in verdicts.VERDICTS else escape(part)
        for part in text.split("; ")
    ]
    return "; ".join(parts)
