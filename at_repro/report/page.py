"""What a notebook begins and ends with: its parameters, the studies that they ask for, and what was executed."""

from collections.abc import Mapping
from typing import Any

from at_repro.analysis.study import Study, open_study
from at_repro.report import notebook_parameters
from at_repro.report.figures import encoding
from at_repro.training import provenance

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
            if not name.startswith("_") and name not in ("In", "Out") and isinstance(value, str | int | float | list)
        }
        notebook_parameters.check(self.parameters)
        self.studies: list[Study] = []
        encoding.use_in_notebook()

    def study(self, experiment: str, *changes: str, **other: object) -> Study:
        """An experiment as the parameters ask for it, see `study.open_study`, which raises what it raises.

        Args:
            changes: names of parameters that change the experiment, see `experiments.vary`.
            other: what is otherwise than the parameters say, such as `preset`, or `train_missing=False`.
        """
        given = {name: self.parameters[name] for name in (*_SHARED, *changes)}
        self.studies.append(open_study(experiment, **given | other))
        return self.studies[-1]

    def made_from(self) -> str:
        """The runs of every study that was opened, see `Study.describe`, or that it has no records."""
        return "\n".join(
            study.describe() if study.records else f"experiment {study.experiment.name}, {study.origin}: no records"
            for study in self.studies
        )

    def executed(self) -> str:
        """The parameters, and on what, by which code and when they were executed: see `provenance.execution`."""
        return provenance.execution(**self.parameters)
