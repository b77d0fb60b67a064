"""Saved results of a benchmark, as ratios within one run, against the targets set in advance."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from at_repro import files

if TYPE_CHECKING:  # pandas is imported where a table is made: lists on the command line do without
    import pandas as pd

COMMITTED = files.CHECKOUT / "book" / "bench.json"
OTHER = COMMITTED.with_name("bench-other.json")  # of another processor: ratios are of one run, not of all machines
LISTS = ("--help", "experiments", "status", "claims")  # commands that answer at once
LONG = ("verify", "book")  # those that one waits for


@dataclass(frozen=True)
class Target:
    """What a value has to reach: at least or at most `bound`."""

    bound: float
    at_least: bool

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"

    def judge(self, value: float) -> str:
        """For readers: "yes", or by how much of itself the target is missed."""
        is_met = value >= self.bound if self.at_least else value <= self.bound
        return "yes" if is_met else f"no, {abs(value - self.bound) / self.bound:.1%} off"


TARGETS = {  # on two CPU cores
    "wrn-16-1 from wrn-16-2, AT: ratio": Target(3.5, True),
    "wrn-16-2 from wrn-40-2, AT: ratio": Target(3.5, True),
    "cohort: share of the cost per student": Target(0.65, False),
    "wrn-16-2: share of the peak": Target(75, True),
    "wrn-16-1: share of the peak": Target(65, True),
    "data: share of a step": Target(3, False),
    "import beyond torch and torchvision": Target(0.5, False),
    "peak memory of a cohort of twelve": Target(6, False),
    "at-repro verify": Target(300, False),
    "at-repro book": Target(60, False),
    "the book from the records": Target(60, False),  # as benchmarks before November 28 call it
    **{f"at-repro {command}": Target(1, False) for command in LISTS},
}
GPU_TARGETS = {"wrn-16-1 from wrn-16-2, AT: ours": Target(60_000, True)}  # on one H100


def load(path: str | Path = "") -> dict:
    """A saved result of `benchmark.measure`; empty: the committed one, `book/bench.json`.

    Raises ParameterError where the file is not here or holds something else.
    """
    keys = ("environment", "seconds", "left_out", "rows")
    return files.read_json("measured", path or COMMITTED, keys, "at-repro bench --output")


def stamp(results: dict) -> str:
    """What the numbers were measured on, to stand below a figure."""
    environment = results["environment"]
    compiled = "compiled" if environment["compiled"] else "not compiled"
    return f"{environment['device']}, torch {environment['packages']['torch']}, {compiled}"


def frame(results: dict) -> "pd.DataFrame":
    """A result of `benchmark.measure` with columns case, measured, value, unit, target ("" if none) and met."""
    import pandas as pd

    rows = []
    targets = TARGETS if results["environment"]["device"].startswith("CPU") else GPU_TARGETS
    for case, name, value, unit in results["rows"]:
        target = targets.get(name)
        judgement = ("", "") if target is None else (str(target), target.judge(value))
        rows.append((case, name, value, unit, *judgement))
    return pd.DataFrame(rows, columns=["case", "measured", "value", "unit", "target", "met"])


def readable(results: dict) -> "pd.DataFrame":
    """`frame` for readers: three digits of every value, no column for the case."""
    table = frame(results).drop(columns="case")
    table["value"] = [f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}" for value in table["value"]]
    return table


def compare(results: Sequence[dict]) -> "pd.DataFrame":
    """Results of `benchmark.measure` beside each other as text: a row per quantity, a column per machine.

    Behind a value stand its target and whether it is met.
    """
    import pandas as pd

    columns: dict[str, pd.Series] = {}
    for result in results:
        table = readable(result).set_index("measured")
        judgement = [f" ({row.target}: {row.met})" if row.target else "" for row in table.itertuples()]
        own = table["value"] + " " + table["unit"] + judgement
        code = result["environment"]["commit"][:7]
        name = stamp(result)
        while name in columns:  # of one machine
            name += f", code {code}"
        columns[name] = pd.concat([pd.Series({"code": code}), own])
    order = dict.fromkeys(name for own in columns.values() for name in own.index)
    return pd.DataFrame(columns, index=pd.Index(list(order), name="measured")).fillna("")
