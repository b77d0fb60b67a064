"""Test error of a network, and the weights as they are stored and published."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from at_repro import data
from at_repro.data import ImageSet, augment
from at_repro.training.engine import Forward

BATCH = 250  # divides 10,000: one batch size, so one compilation


@dataclass(frozen=True)
class Evaluation:
    """`loss`: mean cross-entropy; `error`: percent; `predictions`: int64 (N,), on the CPU."""

    loss: float
    error: float
    predictions: Tensor


@torch.no_grad()
def evaluate(forward: Forward, network: nn.Module, images: ImageSet) -> Evaluation:
    """Runs a network in evaluation mode over a whole image set, on the device the set is on."""
    network.eval()
    mean, std = data.normalization(images.name)
    logits = torch.cat(
        [
            forward(network, augment.normalize(images.images[start : start + BATCH], mean, std)).logits.float()
            for start in range(0, len(images), BATCH)
        ]
    )
    predictions = logits.argmax(1)
    wrong = (predictions != images.labels).sum().item()
    return Evaluation(cross_entropy(logits, images.labels).item(), 100 * wrong / len(images), predictions.cpu())


def stored_weights(network: nn.Module) -> dict[str, Tensor]:
    """Weights as a record stores them, on the CPU: float16, except a tensor with a value beyond its range."""
    limit = torch.finfo(torch.float16).max

    def stored(value: Tensor) -> Tensor:
        value = value.detach().cpu().contiguous()
        return value.half() if value.is_floating_point() and value.abs().max() < limit else value.clone()

    return {name: stored(value) for name, value in network.state_dict().items()}
