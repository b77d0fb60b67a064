"""An experiment, and the same with other networks, another transfer, another length or other images."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from at_repro.errors import ParameterError, check_choice, check_count
from at_repro.experiments.presets import Preset, get_preset
from at_repro.runs import ActivationTransfer, Run, Term


@dataclass(frozen=True)
class Experiment:
    """One table or figure of the paper.

    Attributes:
        name: as on the command line.
        title: what it reproduces.
        columns: from a preset and a seed to the runs, by the name of their column in the paper's table.
        sizes: presets that are another size here than in `PRESETS`.
        stand_ins: by preset, what stands in for the paper's networks, images or recipe: such runs neither support nor
            contradict the paper.
    """

    name: str
    title: str
    columns: Callable[[Preset, int], dict[str, Run]]
    sizes: dict[str, Preset] = field(default_factory=dict)
    stand_ins: dict[str, str] = field(default_factory=dict)

    def size(self, preset: str) -> Preset:
        """A preset as it is for this experiment. Raises ParameterError for an unknown one."""
        return self.sizes.get(preset, get_preset(preset))

    def runs(self, preset: str, seeds: Iterable[int] | None = None) -> list[dict[str, Run]]:
        """The runs by column, one dictionary per seed; seeds None: those of the preset.

        Raises ParameterError for an unknown preset or a seed that is no integer from 0.
        """
        size = self.size(preset)
        seeds = size.seeds if seeds is None else seeds
        if isinstance(seeds, str) or not isinstance(seeds, Iterable) or not (seeds := list(seeds)):
            raise ParameterError("seeds", seeds, "a list of one or more integers from 0")
        for seed in seeds:
            check_count("seeds", seed, 0)
        if len(set(seeds)) < len(seeds):
            raise ParameterError("seeds", seeds, "every seed once")
        return [self.columns(size, seed) for seed in seeds]


def vary(experiment: Experiment, **changes: object) -> Experiment:
    """The same experiment with other networks, another transfer, another length, other images.

    Args:
        student, teacher: networks, by name.
        mapping, beta: of activation-based transfer, in every column that has the usual one: a column about another one,
            such as "AT, beta 327", stays what it is.
        epochs: of the students; 0: those of the preset.
        dataset: a name for `data.load`, empty: that of the preset; of another one all images are used.

    The runs, and so the values, are checked where they are asked for, by `Experiment.runs`. Raises ParameterError for a
    change that is none of these.
    """
    for name in changes:
        check_choice("change", name, CHANGES)

    def columns(preset: Preset, seed: int) -> dict[str, Run]:
        from at_repro.runs import checks  # which ask networks, and so torch: a list of experiments does without

        variant = _vary_runs(experiment.columns(preset, seed), changes)
        return {name: checks.validate(run) for name, run in variant.items()}

    return replace(experiment, columns=columns)


def effective_changes(experiment: Experiment, preset: Preset, changes: Mapping[str, object]) -> dict[str, object]:
    """Those of the changes of `vary` that make any run of an experiment another one.

    Compared one by one and unchecked: two may be right together that are not alone, such as student and teacher.
    """
    runs = experiment.columns(preset, 0)
    return {name: value for name, value in changes.items() if _vary_runs(runs, {name: value}) != runs}


CHANGES = ("student", "teacher", "mapping", "beta", "epochs", "dataset")


def _vary_runs(runs: dict[str, Run], changes: Mapping[str, object]) -> dict[str, Run]:
    teachers = {run.teacher for run in runs.values()}
    return {name: _vary_run(run, run in teachers, changes) for name, run in runs.items()}


def _vary_run(run: Run, teaches: bool, changes: Mapping[str, object]) -> Run:
    fields: dict[str, Any] = {"network": changes.get("teacher" if teaches else "student", run.network)}
    if not teaches and changes.get("epochs", 0) != 0:
        fields["epochs"] = changes["epochs"]
    if changes.get("dataset", "") not in ("", run.dataset):
        fields |= {"dataset": changes["dataset"], "subset": None}
    if run.teacher is not None:
        fields["teacher"] = _vary_run(run.teacher, True, changes)
    fields["terms"] = tuple(_vary_term(term, changes) for term in run.terms)
    return replace(run, **fields)


def _vary_term(term: Term, changes: Mapping[str, object]) -> Term:
    """A column about another mapping or beta than the usual one stays what it is."""
    if not isinstance(term, ActivationTransfer):
        return term
    usual = ActivationTransfer()
    own: dict[str, Any] = {
        name: changes[name]
        for name in ("mapping", "beta")
        if name in changes and getattr(term, name) == getattr(usual, name)
    }
    return replace(term, **own)
