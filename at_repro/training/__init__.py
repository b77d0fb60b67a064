"""The training of runs: the loop that trains a cohort, its checkpoints, and what has no record yet."""

from at_repro.training.missing_runs import train
from at_repro.training.progress import Progress
from at_repro.training.student import Student
from at_repro.training.weights import load_network

__all__ = ["Progress", "Student", "load_network", "train"]
