"""Experiments by name, their presets and variations, and the numbers that the paper prints."""

from at_repro.experiments.definitions import EXPERIMENTS, METHODS, TABLE_1, columns_of, get
from at_repro.experiments.presets import PRESETS, Preset, get_preset
from at_repro.experiments.variations import CHANGES, Experiment, effective_changes, vary

__all__ = [
    "CHANGES", "EXPERIMENTS", "METHODS", "PRESETS", "TABLE_1", "Experiment", "Preset", "columns_of",
    "effective_changes", "get", "get_preset", "vary",
]  # fmt: skip
