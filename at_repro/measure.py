"""What the attention maps of trained networks say, in numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from at_repro import attention, data
from at_repro.data import ImageSet, augment
from at_repro.errors import ParameterError

LEVELS = ("low", "middle", "top")
BATCH = 250


@torch.no_grad()
def maps(network: nn.Module, images: ImageSet, mapping: str = "sum-2") -> list[Tensor]:
    """Attention maps of a network in evaluation mode: one tensor (N, H, W) per group, low to top, float32 on the CPU.

    Raises ParameterError for an unknown mapping.
    """
    function = attention.mapping(mapping)
    mean, std = data.normalization(images.name)
    network.eval()
    parts = []
    for start in range(0, len(images), BATCH):
        groups = network(augment.normalize(images.images[start : start + BATCH], mean, std)).groups
        parts.append([function(group).cpu() for group in groups])
    return [torch.cat(level) for level in zip(*parts, strict=True)]


def object_share(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map's mass that lies on the object.

    Args:
        maps: (N, H, W), not negative.
        masks: bool (N, H', W'), True on the object; averaged over the area that one place of the map covers.

    Returns:
        (N,), from 0 to 1. A map that is the same everywhere has the object's share of the image area.
    """
    cover = F.adaptive_avg_pool2d(masks.float().unsqueeze(1), maps.shape[-2:]).squeeze(1).to(maps.device)
    return (maps * cover).flatten(1).sum(1) / maps.flatten(1).sum(1)


def object_shares(networks: dict[str, nn.Module], images: ImageSet, mapping: str = "sum-2") -> pd.DataFrame:
    """`object_share` of every network, level and image, and of an even map ("even map": the object's area).

    Returns columns network, level, share (percent). Raises ParameterError where the images have no masks.
    """
    if images.masks is None:
        raise ParameterError("data set", images.name, "one with object masks: shapes")
    masks = images.masks.cpu()
    area = 100 * masks.float().mean((1, 2))
    parts = []
    for name, network in networks.items():
        levels = maps(network, images, mapping)
        for level, level_maps in zip(level_names(len(levels)), levels, strict=True):
            parts.append(_column(name, level, 100 * object_share(level_maps, masks)))
    levels = pd.unique(pd.concat(parts)["level"])
    return pd.concat([*parts, *(_column("even map", level, area) for level in levels)], ignore_index=True)


def distances(
    networks: dict[str, nn.Module], teacher: nn.Module, images: ImageSet, mapping: str = "sum-2"
) -> pd.DataFrame:
    """How far each network's attention is from the teacher's: the norm of eq. 2, averaged over images.

    Returns columns network, level, distance: the l2 distance of l2-normalised maps, from 0 (the same map) to sqrt 2
    (nowhere at the same place).
    """
    taught = maps(teacher, images, mapping)
    rows = []
    for name, network in networks.items():
        own = maps(network, images, mapping)
        for level, student_maps, teacher_maps in zip(level_names(len(own)), own, taught, strict=True):
            difference = attention.normalize(student_maps) - attention.normalize(teacher_maps)
            rows.append((name, level, difference.flatten(1).norm(dim=1).mean().item()))
    return pd.DataFrame(rows, columns=["network", "level", "distance"])


def one_per_class(images: ImageSet, count: int = 1) -> ImageSet:
    """The first `count` images of every class in the set's order: a rule stated in advance, never a choice by hand."""
    of_class = [(images.labels == label).nonzero()[:count, 0] for label in range(len(images.classes))]
    return images.select(torch.cat(of_class))


def level_names(count: int) -> Sequence[str]:
    """Names of a network's levels: low, middle and top for three groups, else their numbers."""
    return LEVELS if count == len(LEVELS) else [f"level {index + 1}" for index in range(count)]


def _column(network: str, level: str, share: Tensor) -> pd.DataFrame:
    return pd.DataFrame({"network": network, "level": level, "share": share.numpy().astype(np.float64)})
