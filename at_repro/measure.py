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


def rows(networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2") -> dict[str, Tensor]:
    """The maps of several networks on the same images, by labels such as "low, teacher", level after level."""
    levels = {name: maps(network, images, mapping) for name, network in networks.items()}
    count = max(map(len, levels.values()), default=0)
    return {
        f"{level}, {name}": of_network[index]
        for index, level in enumerate(level_names(count))
        for name, of_network in levels.items()
    }


def mapping_rows(
    networks: dict[str, nn.Module], images: ImageSet | None, mappings: Sequence[str], level: int
) -> dict[str, Tensor]:
    """The maps that several mapping functions make of the same activations, by labels such as "sum-2, teacher".

    Raises ParameterError for an unknown mapping.
    """
    return {
        f"{mapping}, {name}": maps(network, images, mapping)[level]
        for mapping in mappings
        for name, network in networks.items()
    }


def gradient_rows(networks: dict[str, nn.Module], images: ImageSet | None) -> dict[str, Tensor]:
    """Gradient attention of several networks, ``|dL/dx|`` summed over colours, by labels such as "J, teacher"."""
    rows = {}
    for name, network in networks.items():
        network.eval()
        batch = augment.normalize(images.images, *data.normalization(images.name)).requires_grad_()
        task = F.cross_entropy(network(batch).logits, images.labels, reduction="none")
        rows[f"J, {name}"] = attention.gradient_map(attention.input_gradient(task, batch)).cpu()
    return rows


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


def object_shares(networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2") -> pd.DataFrame:
    """`object_share` of every network, level and image, and of an even map ("even map": the object's area).

    Returns columns network, level, share (percent); no rows where the images have no masks.
    """
    parts = [_column("", "", torch.empty(0))]
    if images is not None and images.masks is not None:
        masks = images.masks.cpu()
        for name, network in networks.items():
            levels = maps(network, images, mapping)
            for level, level_maps in zip(level_names(len(levels)), levels, strict=True):
                parts.append(_column(name, level, 100 * object_share(level_maps, masks)))
        area = 100 * masks.float().mean((1, 2))
        parts += [_column("even map", level, area) for level in pd.unique(pd.concat(parts)["level"])]
    return pd.concat(parts, ignore_index=True)


def map_distance(ours: Tensor, others: Tensor) -> float:
    """Mean over images of the l2 distance of l2-normalised maps, both (N, H, W): the norm of eq. 2."""
    difference = attention.normalize(ours) - attention.normalize(others)
    return difference.flatten(1).norm(dim=1).mean().item()


def distances(
    networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2", teacher: str = "teacher"
) -> pd.DataFrame:
    """How far each network's attention is from the teacher's: the norm of eq. 2, averaged over images.

    Args:
        networks: the students and, under the name `teacher`, their teacher.

    Returns:
        Columns network, level, distance: the l2 distance of l2-normalised maps, from 0 (the same map) to sqrt 2
        (nowhere at the same place). No rows without images or teacher.
    """
    found = []
    if images is not None and teacher in networks:
        taught = maps(networks[teacher], images, mapping)
        for name in [name for name in networks if name != teacher]:
            own = maps(networks[name], images, mapping)
            for level, student_maps, teacher_maps in zip(level_names(len(own)), own, taught, strict=True):
                found.append((name, level, map_distance(student_maps, teacher_maps)))
    return pd.DataFrame(found, columns=["network", "level", "distance"])


def one_per_class(images: ImageSet, count: int = 1) -> ImageSet:
    """The first `count` images of every class in the set's order: a rule stated in advance, never a choice by hand."""
    of_class = [(images.labels == label).nonzero()[:count, 0] for label in range(len(images.classes))]
    return images.select(torch.cat(of_class))


def level_names(count: int) -> Sequence[str]:
    """Names of a network's levels: low, middle and top for three groups, else their numbers."""
    return LEVELS if count == len(LEVELS) else [f"level {index + 1}" for index in range(count)]


def level(name: str) -> int:
    """The index of a level of a network with three groups. Raises ParameterError."""
    if name not in LEVELS:
        raise ParameterError("level", name, LEVELS)
    return LEVELS.index(name)


def _column(network: str, level: str, share: Tensor) -> pd.DataFrame:
    return pd.DataFrame({"network": network, "level": level, "share": share.numpy().astype(np.float64)})
