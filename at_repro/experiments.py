"""The paper's tables and figures as lists of runs, at each preset."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from at_repro.errors import ParameterError
from at_repro.training import ActivationTransfer, Distillation, Run


@dataclass(frozen=True)
class Preset:
    """One size at which every experiment can be run."""

    name: str
    meant_for: str
    teacher: dict  # fields of the runs that train a teacher
    student: dict  # fields of the runs that train a student
    seeds: tuple[int, ...]


# float32 is fast on every processor, bfloat16 only on new ones; a smaller batch makes more steps of few images.
_SMOKE = {"dataset": "shapes", "subset": 2500, "batch_size": 64, "precision": "fp32"}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("smoke", "a first look, tests: the embedded data set, minutes on two cores",
               teacher=_SMOKE | {"epochs": 10}, student=_SMOKE | {"epochs": 8}, seeds=(0,)),
        Preset("reduced", "a laptop over a few nights: all of CIFAR-10, the paper's schedule compressed",
               teacher={"epochs": 60}, student={"epochs": 40}, seeds=(0,)),
        Preset("paper", "one GPU: CIFAR-10, 200 epochs, five seeds, as in the paper",
               teacher={"epochs": 200}, student={"epochs": 200}, seeds=(0, 1, 2, 3, 4)),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """One table or figure of the paper.

    Attributes:
        name: as on the command line.
        title: what it reproduces.
        columns: from a preset and a seed to the runs, by the name of their column in the paper's table.
    """

    name: str
    title: str
    columns: Callable[[Preset, int], dict[str, Run]]

    def runs(self, preset: str, seeds: Iterable[int] | None = None) -> list[dict[str, Run]]:
        """The runs by column, one dictionary per seed; seeds None: those of the preset.

        Raises ParameterError for an unknown preset or a seed that is no integer from 0.
        """
        size = get_preset(preset)
        seeds = size.seeds if seeds is None else seeds
        if isinstance(seeds, str) or not isinstance(seeds, Iterable) or not (seeds := list(seeds)):
            raise ParameterError("seeds", seeds, "a list of one or more integers from 0")
        return [{name: run.validate() for name, run in self.columns(size, seed).items()} for seed in seeds]


def transfer_columns(student: str, teacher: str) -> Callable[[Preset, int], dict[str, Run]]:
    """The columns of Table 1 for one pair of networks: student, AT, KD, AT+KD and the teacher.

    One teacher, of seed 0, serves the students of every seed: a comparison of methods is then one of students alone.
    In AT+KD the weight of the attention term decays linearly to 0: the paper says that it decays, not how.
    """

    def columns(preset: Preset, seed: int) -> dict[str, Run]:
        taught_by = Run(teacher, **preset.teacher)

        def taught(*terms) -> Run:
            return Run(student, terms=terms, teacher=taught_by, seed=seed, **preset.student)

        return {
            "student": Run(student, seed=seed, **preset.student),
            "AT": taught(ActivationTransfer()),
            "KD": taught(Distillation()),
            "AT+KD": taught(ActivationTransfer(decay="linear"), Distillation()),
            "teacher": taught_by,
        }

    return columns


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "wrn-16-2-to-16-1",
            "Table 1, second row: activation-based attention transfer from WRN-16-2 to WRN-16-1",
            transfer_columns("wrn-16-1", "wrn-16-2"),
        ),
    )
}


def get(name: str) -> Experiment:
    """An experiment by name. Raises ParameterError."""
    if name not in EXPERIMENTS:
        raise ParameterError("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def get_preset(name: str) -> Preset:
    """A preset by name. Raises ParameterError."""
    if name not in PRESETS:
        raise ParameterError("preset", name, PRESETS)
    return PRESETS[name]
