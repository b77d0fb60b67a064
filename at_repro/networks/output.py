"""What every network of this package returns."""

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """Logits, and the activations that attention maps are taken from.

    Attributes:
        logits: (N, K), one score per class.
        groups: activations (N, C, H, W), from the lowest group (nearest to the image) to the top one.
    """

    logits: Tensor
    groups: tuple[Tensor, ...]
