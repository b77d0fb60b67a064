"""Runs and their training: specs, transfer terms, schedules, and the loop that trains a cohort."""

from at_repro.training.progress import Progress
from at_repro.training.spec import Run
from at_repro.training.student import Student
from at_repro.training.terms import (
    ActivationTransfer,
    Distillation,
    FullActivation,
    GradientTransfer,
    MinL2,
    SymmetryNorm,
    Term,
)
from at_repro.training.train import load_network, train, with_teachers

__all__ = [
    "ActivationTransfer",
    "Distillation",
    "FullActivation",
    "GradientTransfer",
    "MinL2",
    "Progress",
    "Run",
    "Student",
    "SymmetryNorm",
    "Term",
    "load_network",
    "train",
    "with_teachers",
]
