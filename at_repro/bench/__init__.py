"""`at-repro bench`: what training costs here, as ratios within one run, against the targets set in advance."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from at_repro import data, files
from at_repro.bench import cases
from at_repro.data import ImageSet
from at_repro.errors import DataError, UserError
from at_repro.training import engine, provenance
from at_repro.training.progress import Progress, duration

COMMITTED = files.CHECKOUT / "book" / "bench.json"
OTHER = COMMITTED.with_name("bench-other.json")  # of another processor: ratios are of one run, not of all machines
COLUMNS = ["case", "measured", "value", "unit", "target", "met"]


@dataclass(frozen=True)
class Target:
    """What a value has to reach: at least or at most `bound`."""

    bound: float
    at_least: bool

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"

    def met(self, value: float) -> bool:
        """Whether a value reaches the target."""
        return value >= self.bound if self.at_least else value <= self.bound

    def judge(self, value: float) -> str:
        """For readers: "yes", or by how much of itself the target is missed."""
        return "yes" if self.met(value) else f"no, {abs(value - self.bound) / self.bound:.1%} off"


TARGETS = {  # on two CPU cores
    "wrn-16-1 from wrn-16-2, AT: ratio": Target(3.5, True),
    "wrn-16-2 from wrn-40-2, AT: ratio": Target(3.5, True),
    "cohort: share of the cost per student": Target(0.65, False),
    "wrn-16-2: share of the peak": Target(75, True),
    "wrn-16-1: share of the peak": Target(65, True),
    "data: share of a step": Target(3, False),
    "import beyond torch and torchvision": Target(0.5, False),
    "peak memory of a cohort of twelve": Target(6, False),
    "the book from the records": Target(60, False),
}
GPU_TARGETS = {"wrn-16-1 from wrn-16-2, AT: ours": Target(60_000, True)}  # on one H100


def run(
    device: str = "auto", data_root: str | None = None, compile: str = "auto", progress: Progress | None = None
) -> dict:
    """Measures every case and returns what was found, ready for JSON: `environment`, `rows`, `seconds`.

    The machine should be idle: every case is a comparison within this process, but others make it noisy. Cases
    that fail here, such as for lack of CIFAR-10, are left out, and named.

    Raises ParameterError for a value that is not allowed, UserError where nothing could be measured.
    """
    target = engine.device(device)
    compiled = engine.compiles(compile, 10**9)
    progress = progress or Progress()
    images, left_out = _images(data_root)
    images = images.to(target)
    measured: dict[str, Callable[[], list[cases.Row]]] = {
        "the plain loop": lambda: cases.plain_untouched(images),
        "against the plain loop": lambda: cases.against_plain(images, compiled),
        "cohort": lambda: cases.cohort(images, compiled),
        "peak": lambda: cases.peak(images, compiled),
        "profile": lambda: cases.profiled(images, compiled),
        "processes": lambda: cases.processes(images, compiled),
        "data": lambda: cases.data_share(images, compiled),
        "growth": lambda: cases.growth(images, compiled),
        "start": lambda: cases.start_up(data_root),
        "memory": lambda: cases.memory(data_root),
        "report": lambda: cases.report(data_root),
    }
    start = time.perf_counter()
    rows = []
    for name, case in measured.items():
        began = time.perf_counter()
        if name not in left_out:
            try:
                rows += [[name, *row] for row in case()]
            except Exception as error:  # whatever it is, what the other cases have found stays
                left_out[name] = (str(error).splitlines() or [type(error).__name__])[0]
        engine.keep_freed_memory()  # from the second case on: the first one is without
        took = f"measured in {duration(time.perf_counter() - began)}"
        progress.say(f"{name}: {f'left out, {left_out[name]}' if name in left_out else took}")
    if not rows:
        raise UserError(f"nothing could be measured: {'; '.join(dict.fromkeys(left_out.values()))}")
    return {
        "environment": provenance.environment(target) | {"compiled": compiled, "images": images.name},
        "seconds": time.perf_counter() - start,
        "left_out": left_out,
        "rows": rows,
    }


def load(path: str | Path = "") -> dict:
    """A result of `run` that was saved; empty: the committed one, `book/bench.json`, or no rows where there is none.

    Raises ParameterError where a file that is named holds something else.
    """
    if not path and not COMMITTED.exists():
        return {"environment": {}, "seconds": 0.0, "left_out": {}, "rows": []}
    keys = ("environment", "seconds", "left_out", "rows")
    return files.read_json("measured", path or COMMITTED, keys, "at-repro bench --output")


def stamp(found: dict) -> str:
    """What the numbers were measured on, to stand below a figure."""
    environment = found["environment"]
    if not environment:
        return "not measured yet (at-repro bench --output book/bench.json)"
    compiled = "compiled" if environment["compiled"] else "not compiled"
    return f"{environment['device']}, torch {environment['packages']['torch']}, {compiled}"


def frame(found: dict) -> pd.DataFrame:
    """The result of `run` as a frame with columns case, measured, value, unit, target ("" if none) and met."""
    rows = []
    targets = TARGETS if found["environment"].get("device", "CPU").startswith("CPU") else GPU_TARGETS
    for case, name, value, unit in found["rows"]:
        target = targets.get(name)
        judged = ("", "") if target is None else (str(target), target.judge(value))
        rows.append((case, name, value, unit, *judged))
    return pd.DataFrame(rows, columns=COLUMNS)


def readable(found: dict) -> pd.DataFrame:
    """`frame` for readers: three digits of every value, no column for the case."""
    shown = frame(found).drop(columns="case")
    shown["value"] = [f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}" for value in shown["value"]]
    return shown


def compare(results: Sequence[dict]) -> pd.DataFrame:
    """Results of `run` beside each other as text: a row per measurement, a column per machine that has any.

    Behind a value stand its target and whether it is met.
    """
    columns: dict[str, pd.Series] = {}
    for found in results:
        if found["rows"]:
            shown = readable(found).set_index("measured")
            judged = [f" ({row.target}: {row.met})" if row.target else "" for row in shown.itertuples()]
            own = shown["value"] + " " + shown["unit"] + judged
            columns[stamp(found)] = pd.concat([pd.Series({"code": found["environment"]["commit"][:7]}), own])
    order = dict.fromkeys(name for own in columns.values() for name in own.index)
    return pd.DataFrame(columns, index=pd.Index(list(order), name="measured")).fillna("")


def table(found: dict) -> str:
    """The result of `run` as text."""
    return readable(found).to_string(index=False)


def save(found: dict, path: str | Path) -> Path:
    """Writes the result of `run` as JSON. Raises UserError where the file cannot be written."""
    path = files.output(path)
    with files.write_errors(path):
        path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def _images(data_root: str | None) -> tuple[ImageSet, dict[str, str]]:
    """The images to train on: CIFAR-10, else generated ones of its size, and the cases that have to be left out."""
    left_out: dict[str, str] = {}
    try:
        images = data.load("cifar10", "train", data_root)
    except DataError:
        images = data.load("shapes", "train")
        left_out = dict.fromkeys(("start", "memory"), "CIFAR-10 is not here")
    assert isinstance(images, ImageSet)  # neither is streamed
    return images, left_out
