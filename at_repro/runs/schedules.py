"""What changes from epoch to epoch: the learning rate, and the weight of a transfer term."""

import math

DECAYS = ("constant", "linear", "cosine", "step")


def rate_factor(epoch: int, epochs: int, milestones: tuple[float, ...], drop: float) -> float:
    """Factor on the learning rate in an epoch (counted from 0): `drop` for every milestone that has been reached.

    Milestones are fractions of the training length, so that a compressed schedule keeps the shape of that of the public
    code: its 200 epochs, and the 60, 120 and 160 that it names for drops, are 0.3, 0.6 and 0.8. (It drops one epoch
    early, with new momentum; here momentum goes on.) They are rounded to whole epochs: of a training of one epoch 0.3
    is epoch 0, so that its rate is multiplied by `drop` once.
    """
    return drop ** sum(epoch >= round(milestone * epochs) for milestone in milestones)


def decay_factor(decay: str, epoch: int, epochs: int, rate: float) -> float:
    """Factor on a term's weight in an epoch (counted from 0), 1 in the first epoch unless the rate falls in it.

    The paper lets beta decay in AT+KD and F-ActT and does not say how. Four readings are offered, `DECAYS`:
    `constant`; `linear` and `cosine`, which would reach 0 one epoch after the last; `step`, which falls together
    with the learning rate, whose factor is `rate`.
    """
    progress = epoch / epochs
    return {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
        "step": rate,
    }[decay]
