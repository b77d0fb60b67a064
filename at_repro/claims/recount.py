"""What pages and claims rest on once more: errors, gains and their standard errors, counted by code of its own."""

import csv
import math
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from at_repro import experiments
from at_repro.analysis.study import Study, find_records
from at_repro.claims.facts import Facts, difference
from at_repro.records import Record, Store

COLUMNS = ["preset", "experiment", "method", "seed", "last_epoch", "error", "gain", "standard_error", "pages"]


def recount(store: Store) -> pd.DataFrame:
    """A row per preset, experiment, method and seed that is recorded, the plain students' as well; diverged ones not.

    Columns, errors in percent: `last_epoch`, the test error of the last epoch during training; `error`, of the
    predictions that the weights give in float32, which the pages show; `gain`, what that is less than the plain
    student's of the same seed; `standard_error`, of this gain, in points, from the test images, as McNemar's test has
    it; `pages`, empty where the functions that make the pages' tables and verdicts give the same three, else what
    they give.
    """
    rows, seeds, facts = [], store.seeds(), Facts(store)
    for preset in experiments.PRESETS:
        for experiment in experiments.EXPERIMENTS.values():
            by_seed = experiment.runs(preset, seeds)
            records, missing = find_records(store, by_seed)
            study = Study(None, experiment, preset, store, "cpu", seeds, by_seed[0], records, missing, "")
            for row in study.test_errors().dropna(subset="test_error").itertuples():
                own = study.records[row.column][row.seed]
                plain = study.records.get(_plain(study, row.column), {}).get(row.seed)
                gain = (math.nan, math.nan)
                if plain and (plain is own or plain.diverged or _test_images(plain) != _test_images(own)):
                    plain = None
                if plain:
                    sides = (plain.run,), (own.run,)
                    gain = (difference(facts.error, *sides), facts.image_error(*sides))
                counts, pages = _count(own, plain), (row.test_error, *gain)
                is_alike = np.allclose(counts[1:], pages, rtol=1e-9, atol=1e-9, equal_nan=True)
                text = "" if is_alike else " / ".join(f"{value:.4g}" for value in pages)
                rows.append((preset, experiment.name, row.column, row.seed, *counts, text))
    return pd.DataFrame(rows, columns=COLUMNS)


def _plain(study: Study, column: str) -> str:
    """The column that a method is held against: of several lengths of training that of the method's own."""
    length = column.rpartition(", ")[2]
    return f"student, {length}" if f"student, {length}" in study.records else "student"


def _count(record: Record, plain: Record | None) -> tuple[float, float, float, float]:
    """Error of the last epoch and of the predictions, gain, and its standard error; NaN where there is no other."""
    mistakes = _mistakes(record.folder)
    with (record.folder / "epochs.csv").open(newline="") as file:
        last = float(list(csv.DictReader(file))[-1]["test_error"])
    error = 100 * sum(mistakes) / len(mistakes)
    if plain is None:
        return last, error, math.nan, math.nan
    others = _mistakes(plain.folder)
    better = sum(theirs and not ours for ours, theirs in zip(mistakes, others, strict=True))
    worse = sum(ours and not theirs for ours, theirs in zip(mistakes, others, strict=True))
    images = len(mistakes)
    variance = (better + worse - (better - worse) ** 2 / images) / images  # of +1, 0 or -1 an image
    return last, error, 100 * (better - worse) / images, 100 * math.sqrt(variance / images)


def _test_images(record: Record) -> str:
    return record.values["data"]["test"]


@cache
def _mistakes(folder: Path) -> list[bool]:
    with (folder / "predictions.csv").open(newline="") as file:
        names, *rows = csv.reader(file)
    label, prediction = map(names.index, ("label", "prediction"))
    return [row[label] != row[prediction] for row in rows]
