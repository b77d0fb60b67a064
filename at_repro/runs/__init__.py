"""What decides the numbers of a run: its spec, the terms of its loss, and its schedules."""

from at_repro.runs.cohorts import teachers_and_cohorts, with_teachers
from at_repro.runs.spec import Run
from at_repro.runs.terms import (
    ActivationTransfer,
    Distillation,
    FullActivation,
    GradientTransfer,
    MinL2,
    SymmetryNorm,
    Term,
)

__all__ = [
    "ActivationTransfer", "Distillation", "FullActivation", "GradientTransfer", "MinL2", "Run", "SymmetryNorm", "Term",
    "teachers_and_cohorts", "with_teachers",
]  # fmt: skip
