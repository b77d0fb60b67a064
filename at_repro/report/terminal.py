"""Tables as text for the command line: experiments and their cost, the state of a store, the data sets at hand."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from at_repro import data
from at_repro.bench import costs
from at_repro.experiments import EXPERIMENTS, PRESETS
from at_repro.records import Store, checkpoints
from at_repro.records.readable import duration, outcome
from at_repro.runs import Run, tasks, with_teachers

if TYPE_CHECKING:
    import pandas as pd

# A training step reaches about this on two cores, measured on a Zen 4 in bfloat16 and on a Xeon in float32.
CORES_RATE = 250e9


def experiments() -> str:
    """What can be run: every experiment at every preset, with the number of runs and the hours they take."""
    lines = []
    for experiment in EXPERIMENTS.values():
        lines += [f"{experiment.name}", f"    {experiment.title}"]
        for preset in PRESETS:
            size = experiment.size(preset)
            runs = costs.runs_of([experiment.name], preset)
            seconds = sum(map(costs.operations, tasks(runs))) / CORES_RATE
            time = "unknown time" if math.isnan(seconds) else f"about {duration(seconds)}"
            seeds = f"{len(size.seeds)} seed{'s' * (len(size.seeds) > 1)}"
            lines.append(f"    {preset:8} {len(runs):3} runs, {seeds}, {time} ({size.meant_for})")
    lines.append(f"Times are for two CPU cores that reach {CORES_RATE / 1e9:.0f} GFLOP/s in training.")
    return "\n".join(lines)


def status(runs: Sequence[Run], store: Store) -> str:
    """One line per run: recorded with its error, in progress with its epoch, or missing. Raises DamagedRecord."""
    rows = []
    for run in with_teachers(runs):
        if record := store.find(run):
            rows.append((run.run_id, "recorded", outcome(record)))
        elif store.checkpoint_path(run).exists():
            epochs = len(checkpoints.read_header(store.checkpoint_path(run))["curve"])
            rows.append((run.run_id, "in progress", f"{epochs} of {run.epochs} epochs"))
        else:
            rows.append((run.run_id, "missing", f"{run.epochs} epochs"))
    counts = Counter(state for _, state, _ in rows)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return "\n".join([_table(rows), f"{states} in {store.folder}"])


def claims(ledger: "pd.DataFrame") -> str:
    """The ledger for a terminal: a verdict per claim, and below it setting and numbers; see `claims.ledger`."""
    from at_repro.claims import summary

    lines = []
    for _, row in ledger.iterrows():
        lines.append(f"{row['verdict']:14}{row['claim']}")
        if row["setting"]:
            lines.append(f"{'':14}{row['on']} ({row['setting']} setting, {row['scope']})")
            lines += [f"{'':14}  {part}" for part in row["effects"].split("; ")]
        if row["to decide"]:
            lines.append(f"{'':14}to decide it: {row['to decide']}")
    return "\n".join([*lines, summary(ledger)])


def data_sets(data_root: str | None = None, names: Sequence[str] = ()) -> str:
    """Where each data set was found, with fingerprint, size and class counts; or why it was not found.

    names: see `data.load`; none: those that need no folder. Raises ParameterError for a name that is not allowed.
    """
    lines = []
    for name in names or data.DATA_SETS:
        found = data.describe(name, data_root)
        lines.append(f"{name}: {found.problem or found.source}")
        for split, described in found.splits.items():
            height, width = described.size
            lines.append(f"    {split}: {described.images} images of {height}x{width}, sha256 {described.fingerprint}")
            lines.append("        " + ", ".join(f"{count} {label}" for label, count in described.class_counts.items()))
    return "\n".join(lines)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
