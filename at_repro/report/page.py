"""What a notebook begins and ends with: its parameters, the studies that they ask for, and what was executed.

Parameters are read by the type of their defaults, and checked before a kernel starts: papermill itself only warns of a
name that it does not know, and takes any value.
"""

import ast
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from at_repro import bench, data, experiments
from at_repro.analysis import imagenet_gallery, network_maps
from at_repro.analysis.study import Study, open_study, stamp
from at_repro.errors import ParameterError, check_choice, check_count, is_number
from at_repro.records import Store
from at_repro.report import trust
from at_repro.report.figures import notebook_output
from at_repro.training import engine, provenance

PATHS = ("data_root", "results", "measured", "proofs")
"""Parameters that are folders and files: where they lie on a machine is nobody's business."""
_SHARED = ("preset", "seeds", "device", "data_root", "results")  # parameters of every notebook


class Page:
    """The parameters of a notebook, checked: a wrong value ends here, before anything is trained.

    Args:
        names: the notebook's `globals()` right after its parameters cell: literals are parameters.

    Raises ParameterError.
    """

    def __init__(self, names: Mapping[str, object]):
        self.parameters: dict[str, Any] = {
            name: value
            for name, value in names.items()
            if not name.startswith("_") and name != "In" and isinstance(value, str | int | float | list)
        }
        check(self.parameters)
        self.studies: list[Study] = []
        provenance.commit()  # what is loaded now is what runs
        notebook_output.use_in_notebook()

    def study(self, experiment: str, *changes: str, **other: object) -> Study:
        """An experiment as the parameters ask for it, see `study.open_study`, which raises what it raises.

        Args:
            changes: names of parameters that change the experiment, see `experiments.vary`.
            other: what is otherwise than the parameters say, such as `preset`, or `train_missing=False`.
        """
        values = {name: self.parameters[name] for name in (*_SHARED, *changes)}
        self.studies.append(open_study(experiment, **values | other))
        return self.studies[-1]

    def studies_of_lengths(self, *changes: str) -> list[Study]:
        """The study of training lengths and, beside it, what its store has of the paper's 200 epochs.

        Those are of another experiment, from a teacher that trained as long.
        """
        shorter = self.study("training-length", *changes)
        if shorter.preset != "reduced" or shorter.changes:
            return [shorter]
        return [shorter, self.study("wrn-16-2-to-16-1", preset="paper", seeds=[], train_missing=False)]

    def table(self, table: pd.DataFrame, *studies: Study) -> pd.DataFrame:
        """The same table, below whose caption the book says of which studies it was made: of none, all of the page."""
        stamped = table.copy()
        stamped.attrs["stamp"] = stamp(studies or self.studies)
        return stamped

    def closing(self) -> str:
        """What the page was made from, on what, by which code and when it was executed: its last line of code.

        The runs of every study that was opened, see `Study.describe`, or that it has no records; then the parameters.
        """
        studies = [
            study.describe() if study.records else f"experiment {study.experiment.name}, {study.origin}: no records"
            for study in self.studies
        ]
        values = {name: value for name, value in self.parameters.items() if name != "device"}
        values |= {name: Path(values[name]).name for name in {*PATHS} & values.keys()}
        parameters = ", ".join(f"{name} {value!r}" for name, value in values.items())
        where = provenance.device_name(engine.device(self.parameters.get("device", "cpu")))
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        end = f"executed on {where}, torch {version('torch')}, at_repro {provenance.commit()}, {when}"
        return "\n".join([*dict.fromkeys(studies), *([f"parameters: {parameters}"] if parameters else []), end])


def read(defaults: Mapping[str, object], values: Mapping[str, object]) -> dict[str, object]:
    """The given values, a text read as a value of its default's type. Raises ParameterError."""
    for name in values:
        if name not in defaults:
            raise ParameterError("notebook parameter", name, defaults or "none: the notebook has no parameters cell")
    return {name: _value(name, value, defaults[name]) for name, value in values.items()}


def check(values: Mapping[str, Any]) -> None:
    """Raises ParameterError for a value that the notebook itself would refuse, or its library later."""
    changes = {name: value for name, value in values.items() if name in experiments.CHANGES}
    variant = experiments.vary(experiments.get("wrn-16-2-to-16-1"), **changes)
    variant.runs(values.get("preset", "smoke"), values.get("seeds") or None)
    for name, value in values.items():
        if name in _CHECKS:
            _CHECKS[name](name, value)


def literal(text: str) -> object:
    """A Python literal, or the text itself where it is none."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # TypeError: a key that has no hash
        return text


# Of the parameters that are no change of an experiment; each takes the name and the value.
_CHECKS: dict[str, Callable[[str, Any], object]] = {
    "device": lambda _, value: engine.device(value),
    "data_root": lambda _, value: data.data_root(value),
    "results": lambda _, value: value and Store(value),
    "mappings": lambda _, value: network_maps.check_mappings(value),
    "networks": lambda _, value: imagenet_gallery.check_network_names(value),
    "photographs": lambda name, value: check_choice(name, value, ("birds", "scenes")),
    "method": lambda name, value: check_choice(name, value, experiments.METHODS),
    "measured": lambda _, value: bench.load(value),
    "proofs": lambda _, value: trust.load(value),
    **dict.fromkeys(("batch", "count", "per_class"), check_count),
}


def _value(name: str, value: Any, default: Any) -> object:
    if isinstance(value, str) and not isinstance(default, str):
        value = literal(value)
        if isinstance(default, list):
            value = _to_list(value, default)
    if isinstance(default, float) and is_number(value):  # an integer may be too large for one
        return float(value)
    if type(value) is type(default):
        return value
    kind = type(default).__name__
    raise ParameterError(name, value, f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}, such as {default!r}")


def _to_list(value: object, default: list) -> object:
    """On a command line `-p seeds 0,1` and `-p seeds 0` are as clear as '[0, 1]' and '[0]', and so are names."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",")] if default and isinstance(default[0], str) else value
    return list(value) if isinstance(value, tuple | list) else [value]
