import io

import pytest

from at_repro.results import Store
from at_repro.training import ActivationTransfer, Distillation, Progress, Run


@pytest.fixture
def quiet():
    return Progress(io.StringIO())


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results", writable=True)


@pytest.fixture
def small():
    """Specs of a small teacher and its students that train in seconds; 96 images are one batch and a smaller one."""
    fields = {"dataset": "shapes", "subset": 96, "batch_size": 64, "precision": "fp32"}
    teacher = Run("wrn-10-1", epochs=1, **fields)
    at = (ActivationTransfer(),)
    both = (ActivationTransfer(decay="linear"), Distillation())
    student = {"epochs": 3} | fields
    return {
        "teacher": teacher,
        "student": Run("wrn-10-1", **student),
        "at": Run("wrn-10-1", terms=at, teacher=teacher, **student),
        "kd": Run("wrn-10-1", terms=(Distillation(),), teacher=teacher, **student),
        "at+kd": Run("wrn-10-1", terms=both, teacher=teacher, **student),
    }
