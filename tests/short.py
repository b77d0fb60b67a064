"""Experiments that take seconds, for commands that are executed as they stand, and for processes that they start."""

from dataclasses import replace

from at_repro import experiments
from at_repro.data import shapes

SHORT = {"dataset": "shapes", "subset": 8, "batch_size": 4, "precision": "fp32", "epochs": 1}


def shorten() -> None:
    """For the rest of this process: two batches of generated images, one epoch, one seed, twenty test images."""
    shapes.SIZES.update(train=200, test=20)
    for name, preset in experiments.PRESETS.items():
        experiments.PRESETS[name] = replace(preset, teacher=SHORT, student=SHORT, seeds=(0,))
    for name, experiment in experiments.EXPERIMENTS.items():
        experiments.EXPERIMENTS[name] = replace(experiment, sizes={})


def shrink(name: str, *methods: str) -> None:
    """For the rest of this process: small networks, and these methods, in the place of an experiment's."""
    terms = {method: experiments.METHODS[method] for method in methods}
    columns = experiments.columns_of("wrn-10-1", "wrn-10-2", terms)
    experiments.EXPERIMENTS[name] = replace(experiments.EXPERIMENTS[name], columns=columns)
