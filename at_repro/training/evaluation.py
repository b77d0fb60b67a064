"""Test errors of networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from at_repro import data
from at_repro.data import Images, augment
from at_repro.networks import Output
from at_repro.records.schema import has_top5

BATCH = 250  # divides 10,000: one batch size, so one compilation
PIXELS = BATCH * 64**2  # of a batch: of larger images it has fewer, or memory would not hold their activations


@dataclass(frozen=True)
class Evaluation:
    """`loss`: mean cross-entropy; `error`: percent; `predictions`: int64 (N,), on the CPU.

    `top5_error`: percent of images whose class is not among the five likeliest; None where there are 100 classes or
    fewer, of which nobody counts it.
    """

    loss: float
    error: float
    predictions: Tensor
    top5_error: float | None


@torch.no_grad()
def evaluate(
    forward: Callable[[nn.Module, Tensor], Output], networks: Sequence[nn.Module], images: Images
) -> list[Evaluation]:
    """Runs networks over a whole image set, which is read once for all, on the device the set is on.

    Networks are put into evaluation mode, and stay there.
    """
    mean, std = data.normalization(images.name)
    logits: list[list[Tensor]] = [[] for _ in networks]
    for chunk in images.chunks(min(BATCH, PIXELS // images.resolution**2)):
        batch = augment.normalize(chunk.images, mean, std)
        for network, own in zip(networks, logits, strict=True):
            own.append(forward(network.eval(), batch).logits.float())
    return [_evaluation(torch.cat(own), images) for own in logits]


def _evaluation(logits: Tensor, images: Images) -> Evaluation:
    predictions = logits.argmax(1)
    mistakes = (predictions != images.labels).sum().item()
    top5 = None
    if has_top5(int(images.labels.max())):
        among_five = (logits.topk(5).indices == images.labels.unsqueeze(1)).any(1)
        top5 = 100 * (~among_five).sum().item() / len(images)
    return Evaluation(
        cross_entropy(logits, images.labels).item(), 100 * mistakes / len(images), predictions.cpu(), top5
    )
