"""What runs cost: their operations, and from the rate that a benchmark measured the hours that they take."""

import heapq
from collections.abc import Iterable, Sequence

import pandas as pd

from at_repro import data, experiments, networks
from at_repro.training import Run, with_teachers
from at_repro.training.train import tasks

RATE = "wrn-16-1 training step"  # of the benchmark, in GFLOP/s: the slowest, wider networks do better
DEVICES = (1, 8, 64)
TABLES = {
    "Table 1": ("nin-wide-to-nin-thin", "wrn-16-2-to-16-1", "wrn-40-1-to-16-1", "wrn-40-2-to-16-2"),
    "Section 4.1": ("one-or-three",),
    "Table 2": ("mapping-functions",),
    "Table 3": ("gradient-methods",),
    "Table 4": ("fine-tuning-birds", "fine-tuning-scenes"),
    "Table 5": ("imagenet-resnet18",),
}
"""The experiments behind each table of the paper."""

# Training images of folders that experiments name; what is in them is known before they are read.
_FOLDERS = {"cub50": 1500, "cub200": 5994, "scene15": 1500, "indoor67": 5360, "imagenette64": 9469,
            "imagenet": 1_281_167}  # fmt: skip


def table(found: dict, preset: str = "paper") -> pd.DataFrame:
    """What the tables of the paper cost on devices like the one of a benchmark.

    A cohort stays on one device, and waits for its teacher. Runs that several tables share are in each of them, and
    once in the last row.

    Args:
        found: see `bench.load`.
        preset: see `experiments.PRESETS`.

    Returns:
        Index table, with a last row "all"; columns runs; device-hours, of all devices together; and for each number of
        DEVICES the hours from start to end. NaN where the benchmark has no RATE.

    Raises ParameterError for an unknown preset.
    """
    rate = 1e9 * next((value for _, name, value, _ in found["rows"] if name == RATE), float("nan"))
    runs = {name: _runs(of_table, preset) for name, of_table in TABLES.items()}
    runs["all"] = list(dict.fromkeys(run for of_table in runs.values() for run in of_table))
    rows = []
    for of_table in runs.values():
        units = tasks(of_table)
        hours = [operations_together(unit) / rate / 3600 for unit in units]
        rows.append([len(of_table), sum(hours), *(finished(units, hours, number) for number in DEVICES)])
    columns = ["runs", "device-hours", *(f"{number} device{'s' * (number > 1)}" for number in DEVICES)]
    return pd.DataFrame(rows, index=pd.Index(runs, name="table"), columns=columns)


def operations(run: Run) -> float:
    """Floating-point operations of a whole run: three forward passes of the student per image, one of its teacher."""
    forward = 3 * networks.forward_operations(run.network)
    if run.teacher is not None:
        forward += networks.forward_operations(run.teacher.network)
    return _places(run) * forward


def operations_together(cohort: Sequence[Run]) -> float:
    """Floating-point operations of runs that are trained in one loop: the teacher's passes serve all of them."""
    taught = [run for run in cohort if run.teacher is not None]
    saved = [_places(run) * networks.forward_operations(run.teacher.network) for run in taught[1:]]
    return sum(map(operations, cohort)) - sum(saved)


def finished(units: Sequence[Sequence[Run]], hours: Sequence[float], devices: int) -> float:
    """When the last of these cohorts is done, in hours, if each goes to the first device that is free.

    Longest first, but no cohort before its teacher, which is a unit of its own.
    """
    free, done = [0.0] * devices, {}
    # By the depth of teachers first: those come before their students.
    for unit, length in sorted(zip(units, hours, strict=True), key=lambda pair: (_depth(pair[0][0]), -pair[1])):
        ready = max((done.get(run.teacher, 0.0) for run in unit), default=0.0)
        end = max(heapq.heappop(free), ready) + length
        heapq.heappush(free, end)
        done |= dict.fromkeys(unit, end)
    return max(done.values())


def _runs(names: Iterable[str], preset: str) -> list[Run]:
    return with_teachers(
        run for name in names for columns in experiments.get(name).runs(preset) for run in columns.values()
    )


def _places(run: Run) -> float:
    """Images in all, in units of 32x32 pixels: convolutions cost as much as there are places."""
    return (run.subset or _images(run.dataset)) * run.epochs * (data.side(run.dataset) / 32) ** 2


def _images(dataset: str) -> int:
    return data.size(dataset, "train") if dataset in data.DATA_SETS else _FOLDERS[dataset.split("@")[0]]


def _depth(run: Run) -> int:
    return 0 if run.teacher is None else 1 + _depth(run.teacher)
