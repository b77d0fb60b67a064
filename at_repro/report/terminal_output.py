"""What the command line says: experiments and their cost, the state of a store, how records are verified, data sets."""

import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from at_repro import data
from at_repro.bench import costs
from at_repro.errors import UserError, duration, printable
from at_repro.experiments import EXPERIMENTS, PRESETS
from at_repro.records import Store, checkpoint_file
from at_repro.runs import Run, with_teachers

if TYPE_CHECKING:
    import pandas as pd


def experiments() -> str:
    """What can be run: every experiment at every preset, with the number of runs and the hours they take."""
    lines = []
    for experiment in EXPERIMENTS.values():
        lines += [experiment.name, f"    {experiment.title}"]
        for preset in PRESETS:
            size = experiment.size(preset)
            runs = costs.runs_of([experiment.name], preset)
            seconds = 3600 * costs.hours(runs)
            length = "unknown time" if math.isnan(seconds) else f"about {duration(seconds)}"
            seeds = f"{len(size.seeds)} seed{'s' * (len(size.seeds) > 1)}"
            lines.append(
                f"    {preset:8} {len(runs):3} run{'s' * (len(runs) != 1)}, {seeds}, {length} ({size.meant_for})"
            )
    lines.append(f"Times are for two CPU cores that reach {costs.CORES_RATE / 1e9:.0f} GFLOP/s in training.")
    return "\n".join(lines)


def status(runs: Sequence[Run], store: Store) -> tuple[str, list[UserError]]:
    """One line per run: recorded with its error, in progress with its epoch, missing, damaged; and each damage."""
    rows, damages = [], []
    for run in with_teachers(runs):
        try:
            rows.append((run.run_id, *_state(run, store)))
        except UserError as error:
            damages.append(error)
            rows.append((run.run_id, "damaged", "see below"))
    counts = Counter(state for _, state, _ in rows)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return "\n".join([_table(rows), f"{states} in {store.folder}"]), damages


def _state(run: Run, store: Store) -> tuple[str, str]:
    if record := store.find(run):
        return "recorded", record.outcome
    if (path := store.checkpoint_path(run)).exists():
        return "in progress", f"{len(checkpoint_file.read_header(path)['curve'])} of {run.epochs} epochs"
    return "missing", f"{run.epochs} epochs"


def verify(
    store: Store,
    run_ids: Sequence[str] = (),
    device: str = "auto",
    data_root: str | None = None,
    count: int | None = None,
) -> int:
    """Prints one line per record, see `verification.verify`, and returns 0 if all agree, else 1.

    Where all of all records is asked for, the numbers of the pages' tables follow, see `recount`. What was not compared
    is said in the end; who interrupts keeps the lines that are there.

    Raises what that raises, and DataError where no record could be compared as its data set is not here or damaged; one
    of which that is so among others is said to be skipped.
    """
    from at_repro.analysis import verification

    total = len(set(run_ids)) or len(store.folders())
    results = []
    start = time.monotonic()
    try:
        for run_id, result in verification.verify(store, run_ids, device, data_root, count):
            results.append(result)
            kind = "skipped" if result.absence else "FAILED" if result.problem else "ok"
            text = result.absence or result.problem or result.comparison
            print(f"{_clear()}{kind:8}{printable(f'{run_id}  {text}')}", flush=True)
            _print_time_left(len(results), total, time.monotonic() - start)
    except KeyboardInterrupt:
        print(f"{_clear()}interrupted: {total - len(results)} of {total} records are not compared")
        raise
    absences = [result.absence for result in results if result.absence]
    if len(absences) == total:
        raise absences[0]
    mismatches = 0 if run_ids or count else _print_imagenet(store, device, data_root) + _print_numbers(store)
    omissions = Counter(result.omission for result in results if result.omission)
    for what, records in omissions.items():
        print(printable(f"not compared of {records} record{'s' * (records > 1)}: {what}"))
    print(
        "not compared of any: when, for how long, by which code, on which device and training images, and in whose "
        "company it was trained; only the record knows"
    )
    failures = sum(bool(result.problem) for result in results)
    print(f"{total - failures - len(absences)} of {total} records verified in {store.folder}")
    return 1 if failures or mismatches else 0


def _clear() -> str:
    return "\r\033[K" if sys.stderr.isatty() and sys.stdout.isatty() else ""


def _print_time_left(count: int, records: int, seconds: float) -> None:
    """On a terminal a line that is rewritten, as records differ in what they cost: roughly."""
    if sys.stderr.isatty() and count < records:
        remaining = duration(seconds / count * (records - count))
        print(f"\r{count} of {records} records, about {remaining} left", end="", file=sys.stderr, flush=True)


def _print_imagenet(store: Store, device: str, data_root: str | None) -> int:
    """Prints whether the attention of networks without a record is as measured; returns of how many it is not."""
    from at_repro.analysis.attention_measurement import compare_imagenet

    deviations = compare_imagenet(store, device, data_root)
    for run_id, deviation in deviations.items():
        if deviation is None:
            print(f"skipped {printable(run_id)}: it has no record, and its weights, or the photographs, are not here")
        else:
            text = f"attention.csv has {deviation}" if deviation else "attention as recorded"
            print(f"{'FAILED' if deviation else 'ok':8}{printable(run_id)}  {text}")
    return sum(map(bool, deviations.values()))


def _print_numbers(store: Store) -> int:
    """Prints the table of `recount`; returns in how many of its rows the pages have other numbers."""
    from at_repro.claims.recount import recount

    store.set_aside()  # what is damaged has its line above
    numbers = recount(store)
    if numbers.empty:
        return 0
    mismatches = int((numbers["pages"] != "").sum())
    text = numbers.round({"error": 2, "gain": 2, "last_epoch": 2, "standard_error": 2}).astype(object).fillna("")
    print("the numbers of the pages, counted again from curves and predictions:")
    print(text.to_string(index=False))
    print(f"{mismatches or 'none'} of these {len(text)} rows differ{'s' * (mismatches == 1)} from what the pages show")
    return mismatches


def claims(ledger: "pd.DataFrame") -> str:
    """The ledger for a terminal: a verdict per claim, and below it setting and numbers; see `ledger.conclude`."""
    from at_repro.claims import summary

    lines = []
    for _, row in ledger.iterrows():
        lines.append(f"{row['verdict']:14}{row['claim']}")
        if row["setting"]:
            lines.append(f"{'':14}{row['on']} ({row['setting']} setting, {row['scope']})")
            lines += [f"{'':14}  {part}" for part in row["effects"].split("; ")]
        if row["to decide"]:
            lines.append(f"{'':14}to decide it: {row['to decide']}")
        lines.append(f"{'':14}rule {row['stated']}")
    return "\n".join([*lines, summary(ledger)])


def data_sets(data_root: str | None = None, names: Sequence[str] = ()) -> tuple[str, bool]:
    """Where each data set was found, with fingerprint, size and class counts, or why not; and whether all were.

    names: see `data.load`; none: those that need no folder. Raises ParameterError for a name that is not allowed.
    """
    lines, problems = [], 0
    for name in names or data.DATA_SETS:
        lines_of_one, is_found = _data_set(name, data_root)
        lines += lines_of_one
        problems += not is_found
    return "\n".join(map(printable, lines)), not problems


def _data_set(name: str, data_root: str | None) -> tuple[list[str], bool]:
    """The lines of one, whose images are in memory no longer than this takes."""
    found = data.describe(name, data_root)
    lines = [f"{name}: {found.problem or found.splits['train'].source}"]
    for split, images in found.splits.items():
        size = f"{images.resolution}x{images.resolution}"
        lines.append(f"    {split}: {len(images)} images of {size}, sha256 {images.fingerprint}")
        counts = images.labels.bincount(minlength=len(images.classes)).tolist()
        labels = zip(counts, images.classes, strict=True)
        lines.append("        " + ", ".join(f"{count} {label}" for count, label in labels))
    return lines, not found.problem


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
