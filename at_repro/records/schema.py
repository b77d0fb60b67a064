"""What the files of a record hold: how it is made of a training, what readers rely on, and what follows from what."""

import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from at_repro.errors import is_number
from at_repro.runs import schedules

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from at_repro.runs import Run

_NUMBER = (int, float)
_ERROR = (int, float, NoneType)
_FINAL = ("test_error", "train_error", "test_loss", "train_loss", "top5_error")  # all that `contradiction` holds

VALUES: dict[str, Any] = {
    "run_id": str,
    "diverged": (int, NoneType),
    "final": {"test_error": _ERROR, "train_error": _ERROR},
    "best": {"test_error": _NUMBER, "epoch": int},
    "seconds": _NUMBER,
    "seconds_per_epoch": _NUMBER,
    "parameters": int,
    "data": {"train": str, "test": str},
    "environment": {
        "commit": str, "device": str, "precision": str, "command": str, "packages": {}, "company": [str],
        "network?": {"text": str},
    },
    "sessions": [{"epoch": int, "step": int, "seconds": _NUMBER, "company?": [str], "device?": str, "commit?": str}],
    "files": {},
}  # fmt: skip
"""What record.json has, by name; "?": where there is one, or it is not as in `environment`. There may be
what nobody reads as well.

`company`: the run ids of the other members of its cohort, by the word that the first records have for them.
"""

EPOCHS = ("epoch", "learning_rate", "train_error", "test_error")
"""Columns that epochs.csv has at least, all of numbers; losses may be not finite."""

PREDICTIONS = ("label", "prediction")


def has_top5(largest_label: int) -> bool:
    """Whether a top-5 error is counted: of more than a hundred classes, by the largest label of the test images."""
    return largest_label >= 100


# epochs.csv has six digits. Losses of the last epoch are those of the network as it was trained, final ones those of
# the stored weights in float32.
_DIGITS, _ROUNDING = 1e-5, 0.05
_near = partial(math.isclose, rel_tol=_DIGITS, abs_tol=_DIGITS)

# Test errors differ for the same reason, by images on the border between classes, whose sum goes with the root of their
# number: at most 0.10 of it among the committed records (10 of 10,000 images). Three times that is allowed, and two
# images of a small set.
_BORDERLINE, _FEW = 0.3, 2


def content(
    curve: "pd.DataFrame", sessions: Sequence[dict], final: dict[str, float], parameters: int, diverged: bool
) -> dict:
    """What record.json holds of a run that was trained: what VALUES asks for and more, before the store adds checksums.

    Args:
        curve: one row per epoch, see EPOCHS.
        sessions: one entry for each process that trained the run: where it began (epoch, step), its seconds, the
            fingerprints of its images (data: train, test) and its environment.
        final: test_error and test_loss, and maybe top5_error, of the stored weights in float32; errors in percent.
        parameters: how many the network has, the frozen ones as well.
        diverged: whether the training loss of the last epoch was not finite.
    """
    # A session that did no more than write this record trained nothing.
    last = ([session for session in sessions if session["seconds"]] or sessions)[-1]
    final = {**final, **{name: float(curve[name].iloc[-1]) for name in ("train_error", "train_loss")}}
    diverged = diverged or not math.isfinite(final["test_loss"])
    return {
        "diverged": len(curve) if diverged else None,
        "final": dict.fromkeys(final) if diverged else final,  # its numbers mean nothing, and JSON has no NaN
        "best": {"test_error": float(curve["test_error"].min()), "epoch": int(curve["test_error"].argmin()) + 1},
        "seconds_per_epoch": statistics.median(curve["seconds"]),
        "seconds": sum(session["seconds"] for session in sessions),
        "parameters": parameters,
        "data": last["data"],
        "environment": last["environment"],
        "sessions": [_session(session, last["environment"]) for session in sessions],
    }


def _session(session: dict, environment: dict) -> dict:
    """Where a session began, its seconds, and what was otherwise than in the last one."""
    start = {name: session[name] for name in ("epoch", "step", "seconds")}
    return start | {name: value for name, value in session["environment"].items() if environment.get(name) != value}


def parse(path: Path) -> dict:
    """The object in a JSON file. Raises ValueError, which says what is wrong, or OSError."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")  # a pipe would be waited for
    try:
        values = json.loads(path.read_text())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("it holds no object")
    return values


def check_values(values: Mapping) -> None:
    """Raises ValueError, which names the first fault, unless the content of record.json is as VALUES says.

    Numbers are finite and not negative, errors percentages; a run that diverged has the epoch, and no final numbers.
    """
    _check("", values, VALUES)
    _check_numbers("", values)
    final, diverged = values["final"], values["diverged"]
    if diverged is not None and diverged < 1:
        raise ValueError(f"diverged is {diverged!r}")
    for name, value in final.items():
        if name not in _FINAL:
            raise ValueError(f"final.{name} is none of {', '.join(_FINAL)}")
        _check(f"final.{name}", value, _ERROR)
        if (value is None) != (diverged is not None):
            raise ValueError(f"final.{name} is {value!r} and diverged is {diverged!r}")
    for name, value in (*final.items(), *values["best"].items()):
        if name.endswith("error") and value is not None and not 0 <= value <= 100:
            raise ValueError(f"{name} is {value!r}, and no percentage")


def _check(name: str, value: object, kind: Any) -> None:
    plain = type(kind) if isinstance(kind, dict | list) else kind
    if not isinstance(value, plain) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(f"{name}.{index}", item, kind[0])
    if isinstance(value, dict):
        for key, inner in kind.items():
            field = f"{name}.{key}".strip(".?")
            if key.strip("?") in value:
                _check(field, value[key.strip("?")], inner)
            elif not key.endswith("?"):
                raise ValueError(f"{field} is missing")


def _check_numbers(name: str, value: object) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and not (is_number(value) and value >= 0):
        raise ValueError(f"{name} is {value!r}")
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        _check_numbers(f"{name}.{key}".lstrip("."), item)


def read_table(path: Path, columns: tuple[str, ...], kind: str) -> "dict[str, np.ndarray]":
    """A table of a record by column: numbers of this dtype, these columns at least; losses may be not finite.

    Raises ValueError where it is something else, or OSError.
    """
    from pyarrow import BufferReader, csv  # which reads a table in a third of the time of pandas

    text = path.read_bytes()
    names = text.partition(b"\n")[0].decode().strip().split(",")
    if missing := [name for name in columns if text and name not in names]:
        raise ValueError(f"it has no column {missing[0]!r}")
    if len(set(names)) < len(names):
        raise ValueError("it has two columns of one name")
    # Types that are inferred take twice as long, and clearing pyarrow's usual block, a megabyte, longer than the table.
    types = csv.ConvertOptions(column_types=dict.fromkeys(names, kind))
    options = csv.ReadOptions(use_threads=False, block_size=len(text) + 1)
    content = csv.read_csv(BufferReader(text), options, convert_options=types)
    if not len(content):
        raise ValueError("it has no rows")
    table = {name: column.to_numpy() for name, column in zip(names, content.columns, strict=True)}
    for name, numbers in table.items():
        highest = 100 if name.endswith("error") else 2**53 if kind == "int64" else sys.float_info.max
        if name.endswith("loss"):
            if (numbers < 0).any():
                raise ValueError(f"{name} has negative numbers")
        elif not (numbers.min() >= 0 and numbers.max() <= highest):
            raise ValueError(f"{name} has numbers that are not finite, or none that it can have")
    return table


def contradiction(
    run: "Run", values: Mapping, epochs: "Mapping[str, np.ndarray]", predictions: "Mapping[str, np.ndarray]"
) -> str:
    """The first number of record.json that does not follow from these tables, in words; empty where all do."""
    diverged, final, best = values["diverged"], values["final"], values["best"]
    curve = {name: numbers.tolist() for name, numbers in epochs.items()}
    count = len(curve["epoch"])
    if curve["epoch"] != list(range(1, count + 1)) or count != (diverged or run.epochs):
        span = f"{curve['epoch'][0]:g} to {curve['epoch'][-1]:g} in {count} rows"
        return f"epochs.csv has the epochs {span}, and the run has {diverged or run.epochs}"
    for epoch, rate in enumerate(curve["learning_rate"]):
        reference = run.learning_rate * schedules.rate_factor(epoch, run.epochs, run.milestones, run.drop)
        if not _near(rate, reference):
            return f"epochs.csv has a learning rate of {rate} in epoch {epoch + 1}, the run {reference:.6g}"
    precision = values["environment"]["precision"]
    if precision not in (("bf16", "fp32") if run.precision == "auto" else (run.precision,)):
        return f"was trained in the precision {precision!r}, and its spec has {run.precision!r}"
    last = [curve[name][-1] for name in ("train_loss", "test_loss") if name in curve]
    # A test loss before may be: training goes on from it.
    if diverged is None and not all(map(math.isfinite, [*curve.get("train_loss", ()), *last])):
        return "epochs.csv has a loss that is not finite, and the run has not diverged"
    if diverged is not None and all(map(math.isfinite, last)):
        return f"diverged in epoch {diverged}, and its loss there is {'finite' if last else 'missing'}"
    errors = curve["test_error"]
    if not _near(best["test_error"], min(errors)) or not (
        1 <= best["epoch"] <= count and _near(errors[best["epoch"] - 1], best["test_error"])
    ):
        return f"records {best['test_error']} % as best in epoch {best['epoch']}, epochs.csv another one"
    for name, of_epochs in (("seconds_per_epoch", statistics.median), ("seconds", sum)):
        now = of_epochs(curve["seconds"]) if "seconds" in curve else math.nan
        if not _near(values[name], now):
            return f"records {values[name]} {name.replace('_', ' ')}, epochs.csv {now:g}"
    if any(session["epoch"] > count for session in values["sessions"]):
        return f"records that it was continued after an epoch that it does not have, of {count}"
    if diverged is not None:
        return ""
    error = 100 * float((predictions["label"] != predictions["prediction"]).mean())
    if abs(error - final["test_error"]) > 1e-9:
        return f"records {final['test_error']} % and predictions with {error} % wrong"
    for name, tolerance in (("train_error", _DIGITS), ("train_loss", _DIGITS), ("test_loss", _ROUNDING)):
        value, now = final.get(name, math.nan), curve[name][-1] if name in curve else math.nan
        if (name in final or name in curve) and not abs(value - now) <= tolerance * (now + 0.2):
            return f"records a {name} of {value}, epochs.csv {now:g}"
    top5 = final.get("top5_error")
    if top5 is not None and not has_top5(int(predictions["label"].max())):
        return f"records a top-5 error of {top5:.2f} %, which nobody counts of so few classes"
    if top5 is not None and top5 > final["test_error"]:
        return f"records a top-5 error of {top5:.2f} %, above its error of {final['test_error']:.2f} %"
    limit = 100 * (_FEW + _BORDERLINE * math.sqrt(len(predictions["label"]))) / len(predictions["label"])
    if abs(error - errors[-1]) > limit:
        return f"records a test_error of {final['test_error']} %, epochs.csv {errors[-1]}"
    return ""
