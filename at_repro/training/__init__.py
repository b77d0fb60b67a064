"""The training of runs: the loop that trains a cohort, its checkpoints, and what has no record yet."""

from at_repro.training.progress import Progress
from at_repro.training.student import Student
from at_repro.training.train import load_network, train

__all__ = ["Progress", "Student", "load_network", "train"]
