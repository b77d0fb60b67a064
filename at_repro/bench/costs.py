"""What runs cost: their operations, and from the rate that a benchmark measured the hours that they take."""

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from at_repro import data, experiments
from at_repro.data.names import SIZES
from at_repro.runs import Run, teachers_and_cohorts, with_teachers

if TYPE_CHECKING:  # pandas is imported where a table is made: the list of experiments does without
    import pandas as pd

RATE = "wrn-16-1 training step"  # of the benchmark, in GFLOP/s
CORES_RATE = 250e9
"""Operations a second of a training step on two cores: about that on a Zen 4 in bfloat16, on a Xeon in float32."""

DEVICE_COUNTS = (1, 8, 64)
TABLES = {
    "Table 1": experiments.TABLE_1,
    "Section 4.1": ("one-or-three",),
    "Table 2": ("mapping-functions",),
    "Table 3": ("gradient-methods",),
    "Table 4": ("fine-tuning-birds", "fine-tuning-scenes"),
    "Table 5": ("imagenet-resnet18",),
}
"""The experiments behind each table of the paper."""
TOGETHER = ("Table 5",)  # so long that all devices train each of its cohorts together, as `torchrun` does

# Training images of folders that experiments name; what is in them is known before they are read.
_FOLDERS = {"cub50": 1500, "cub200": 5994, "scene15": 1500, "indoor67": 5360, "imagenette64": 9469,
            "imagenet": 1_281_167}  # fmt: skip


OPERATIONS = {
    "efficientnet-lite0": 15_695_296, "efficientnet-lite2": 23_504_352,
    "nin-thin": 118_677_504, "nin-thin-nobn": 118_677_504,
    "nin-wide": 444_973_056, "nin-wide-nobn": 444_973_056, "nin-wide-norelu": 444_973_056,
    "resnet18": 74_033_152, "resnet34": 149_530_624,
    "wrn-16-1": 53_314_816, "wrn-16-2": 202_213_888, "wrn-40-1": 166_561_024, "wrn-40-2": 655_198_720,
}  # fmt: skip
"""What `networks.forward_operations` counts in the networks of the experiments; others are counted when asked for."""


def table(results: dict) -> "pd.DataFrame":
    """What the tables of the paper cost at preset `paper` on devices like the one of a benchmark.

    A cohort stays on one device, and waits for its teacher; those of TOGETHER are divided among all devices, one after
    the other, as if communication cost nothing. Runs that several tables share are in each of them, and once in the
    last row.

    Args:
        results: see `bench.load`.

    Returns:
        Index table, with a last row "all"; columns runs; device-hours, of all devices together; and for each number of
        DEVICE_COUNTS the hours from start to end. NaN where the benchmark has no RATE.
    """
    import pandas as pd

    rate = 1e9 * next((value for _, name, value, _ in results["rows"] if name == RATE), math.nan)
    runs = {name: runs_of(of_table, "paper") for name, of_table in TABLES.items()}
    together = {run for name in TOGETHER for run in runs[name]}
    runs["all"] = list(dict.fromkeys(run for of_table in runs.values() for run in of_table))
    rows = []
    for of_table in runs.values():
        hours = [(unit, operations(unit) / rate / 3600) for unit in teachers_and_cohorts(of_table)]
        common = sum(length for unit, length in hours if unit[0] in together)
        separate = [(unit, length) for unit, length in hours if unit[0] not in together]
        ends = (common / number + makespan(separate, number) for number in DEVICE_COUNTS)
        rows.append([len(of_table), sum(length for _, length in hours), *ends])
    columns = ["runs", "device-hours", *(f"{number} device{'s' * (number > 1)}" for number in DEVICE_COUNTS)]
    return pd.DataFrame(rows, index=pd.Index(runs, name="table"), columns=columns)


def hours(runs: Iterable[Run]) -> float:
    """How long it takes to train runs and their teachers one after the other, at the rate of two cores."""
    return sum(map(operations, teachers_and_cohorts(runs))) / CORES_RATE / 3600


def operations(cohort: Sequence[Run]) -> float:
    """Floating-point operations of runs that are trained in one loop; at most, where groups of layers are frozen.

    NaN for images whose number is not known before they are read.

    Forward and backward are three passes of a student; twice as many with a term on gradients, which is differentiated
    twice, and twice as many with mirror images. The teacher sees a batch once, whoever learns from it, and twice more,
    forward and backward, where its gradient is asked for.
    """
    (teacher,) = {run.teacher for run in cohort} - {None} or {None}
    passes = {run: 3 << _any(run, "needs_gradient") << _any(run, "needs_mirror") for run in cohort}
    forward = sum(count * _forward_operations(run.network) for run, count in passes.items())
    if teacher is not None:
        of_gradient = any(_any(run, "needs_gradient") for run in cohort if run.teacher is not None)
        forward += (3 if of_gradient else 1) * _forward_operations(teacher.network)
    return _positions(cohort[0]) * forward


def _forward_operations(network: str) -> int:
    if network in OPERATIONS:
        return OPERATIONS[network]
    from at_repro import networks  # torch, which the list of experiments does without

    return networks.forward_operations(network)


def makespan(hours: Iterable[tuple[Sequence[Run], float]], devices: int) -> float:
    """When the last of these cohorts, each with its length, is done, if each goes to the first device that is free.

    Longest first, but no cohort before its teacher, which is a unit of its own.
    """
    free = [0.0] * devices
    ends: dict[Run, float] = {}
    # By the depth of teachers first: those come before their students.
    for unit, length in sorted(hours, key=lambda pair: (max(map(_depth, pair[0])), -pair[1])):
        ready = max(ends[run.teacher] if run.teacher else 0.0 for run in unit)
        end = max(heapq.heappop(free), ready) + length
        heapq.heappush(free, end)
        ends |= dict.fromkeys(unit, end)
    return max(ends.values(), default=0.0)


def runs_of(names: Iterable[str], preset: str) -> list[Run]:
    """The runs of experiments at a preset and their teachers, each once. Raises ParameterError."""
    return with_teachers(
        run for name in names for columns in experiments.get(name).runs(preset) for run in columns.values()
    )


def _any(run: Run, need: str) -> bool:
    return any(getattr(term, need) for term in run.terms)


def _positions(run: Run) -> float:
    """Images in all, in units of 32x32 pixels: convolutions cost as much as there are positions."""
    pixels = data.training_resolution(run.dataset, run.augmentation)
    return (run.subset or _images(run.dataset)) * run.epochs * (pixels / 32) ** 2


def _images(dataset: str) -> float:
    return SIZES[dataset]["train"] if dataset in SIZES else _FOLDERS.get(data.folder(dataset), math.nan)


def _depth(run: Run) -> int:
    return 0 if run.teacher is None else 1 + _depth(run.teacher)
