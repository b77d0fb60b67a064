"""The maps of trained networks, and their gradients.

What is asked of several networks is nothing without any, and a study without images has none: `images` is None there.
"""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from at_repro import attention, data
from at_repro.analysis.map_statistics import NetworkMaps, cosine
from at_repro.data import Images, ImageSet, augment
from at_repro.errors import ParameterError
from at_repro.networks import Output, ResizeInput, tap

LEVELS = ("low", "middle", "top")
BATCH = 250  # of images of 32 x 32 pixels; of larger ones as many as have as many pixels


def check_mappings(mappings: list[str]) -> None:
    """Raises ParameterError unless these are one or more names of mapping functions, see `attention.mapping`."""
    if not isinstance(mappings, list) or not mappings:
        raise ParameterError("mappings", mappings, "a list of one or more mapping functions, such as ['sum-2']")
    for mapping in mappings:
        attention.mapping(mapping)


def of_groups(groups: Sequence[Tensor], mappings: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """The maps of one batch: by mapping function and level, float32 (N, H, W), on the CPU, without a graph.

    Args:
        groups: activations (N, C, H, W), low to top.

    Raises ParameterError for an unknown mapping.
    """
    functions = {mapping: attention.mapping(mapping) for mapping in mappings}
    own = dict(zip(level_names(len(groups)), groups, strict=True))
    return {
        mapping: {level: function(group.detach()).cpu() for level, group in own.items()}
        for mapping, function in functions.items()
    }


def join(batches: Sequence[NetworkMaps]) -> dict[str, dict[str, Tensor]]:
    """The maps of all batches, one or more, as those of one, see `of_groups`."""
    return {
        mapping: {level: torch.cat([batch[mapping][level] for batch in batches]) for level in levels}
        for mapping, levels in batches[0].items()
    }


def maps_by_mapping(network: nn.Module, images: Images, mappings: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Attention maps of a network in evaluation mode, which sees the images once, see `of_groups`."""
    return join([of_groups(output.groups, mappings) for output in outputs(network, images)])


def maps(network: nn.Module, images: Images, mapping: str = "sum-2") -> list[Tensor]:
    """`maps_by_mapping` of one mapping function: one tensor (N, H, W) per group, low to top."""
    return list(maps_by_mapping(network, images, [mapping])[mapping].values())


def by_network(
    networks: Mapping[str, nn.Module], images: Images, mappings: Sequence[str] = ("sum-2",)
) -> dict[str, dict[str, dict[str, Tensor]]]:
    """`maps_by_mapping` of several networks, for `map_statistics.tabulate`."""
    return {name: maps_by_mapping(network, images, mappings) for name, network in networks.items()}


def top(networks: Mapping[str, nn.Module], images: Images, mapping: str = "sum-2") -> dict[str, Tensor]:
    """The top maps (N, H, W) of several networks on the same images."""
    return {name: maps(network, images, mapping)[-1] for name, network in networks.items()}


def rows(networks: Mapping[str, nn.Module], images: Images, mapping: str = "sum-2") -> dict[str, Tensor]:
    """The maps (N, H, W) of several networks on the same images, by labels such as "low, AT", level after level."""
    own = {name: of_network[mapping] for name, of_network in by_network(networks, images, [mapping]).items()}
    return by_label(own, *max(own.values(), key=len, default={}))


def by_label(maps: Mapping[str, Mapping[str, Tensor]], *levels: str) -> dict[str, Tensor]:
    """Maps (N, H, W) that are given by network and level, by labels such as "low, teacher", level after level."""
    return {f"{level}, {name}": own[level] for level in levels for name, own in maps.items() if level in own}


def groups(networks: Mapping[str, nn.Module], images: Images) -> dict[str, list[Tensor]]:
    """What maps are made of: by network the activations (N, C, H, W) of its groups, low to top, on the CPU."""
    return {
        name: [torch.cat(group).cpu() for group in zip(*(out.groups for out in outputs(network, images)), strict=True)]
        for name, network in networks.items()
    }


def of_blocks(networks: Mapping[str, nn.Module], images: Images) -> dict[str, list[list[Tensor]]]:
    """The maps (N, H, W) of wide residual networks after every block: by network and by group, low to top."""
    blocks = {}
    for name, network in networks.items():
        layers = [layer for layer, _ in network.named_modules() if re.fullmatch(r"group\d\.block\d+", layer)]
        by_group: dict[str, list[Tensor]] = {}
        for layer, own in zip(layers, maps(tap(network, layers), images), strict=True):
            by_group.setdefault(layer.partition(".")[0], []).append(own)
        blocks[name] = list(by_group.values())
    return blocks


def predictions(network: nn.Module, images: Images) -> Tensor:
    """The class that a network in evaluation mode gives each image: int64 (N,), on the CPU."""
    return torch.cat([output.logits.argmax(1).cpu() for output in outputs(network, images)])


def gradient_rows(networks: Mapping[str, nn.Module], images: ImageSet) -> dict[str, Tensor]:
    """Gradient attention of several networks, ``|dL/dx|`` summed over colours: (N, H, W), by labels such as "J, AT".

    Of copies of the networks in float64, see `_gradient`.
    """
    return {
        f"J, {name}": attention.power_sum(_gradient(network, images, mirrored=False), p=1)
        for name, network in networks.items()
    }


def gradients(networks: Mapping[str, nn.Module], images: Images) -> pd.DataFrame:
    """What gradient-based transfer and the symmetry norm act on, a row per network, means over images.

    Columns: `network`; `norm`, the l2 norm of J = dL/dx; `symmetry`, the cosine of the angle between J(x) and the
    mirrored J of the mirror image, 1 where flips change no more than its length; `distance`, the l2 norm of J minus the
    teacher's, and `cosine`, that of the angle between the two (both NaN without teacher, which has 0 and 1).
    An image whose J is 0 counts for `norm` and `distance` alone. Of copies of the networks in float64.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in networks}
    for batch in _batches(images, images.resolution) if networks else ():
        gradients = {name: _gradient(network, batch, mirrored=False).flatten(1) for name, network in networks.items()}
        for name, own in gradients.items():
            teacher = gradients.get("teacher", torch.full_like(own, float("nan")))
            other = _gradient(networks[name], batch, mirrored=True).flip(-1).flatten(1)
            parts[name].append(
                torch.stack([own.norm(dim=1), cosine(own, other), (own - teacher).norm(dim=1), cosine(own, teacher)])
            )
    means = [(name, *torch.cat(own, 1).double().nanmean(1).tolist()) for name, own in parts.items()]
    return pd.DataFrame(means, columns=["network", "norm", "symmetry", "distance", "cosine"])


def _gradient(network: nn.Module, images: ImageSet, mirrored: bool) -> Tensor:
    """J of a network in evaluation mode at the images or at their mirror images: float32 (N, 3, H, W), on the CPU.

    Computed in float64: where a network is sure, J is 1e-8 long, and float32 would leave its direction to rounding.
    """
    exact = copy.deepcopy(network).eval().double()
    batch = augment.normalize(images.images, *data.normalization(images.name)).double()
    batch = (batch.flip(-1) if mirrored else batch).requires_grad_()
    task = F.cross_entropy(exact(batch).logits, images.labels, reduction="none")
    return attention.input_gradient(task, batch).float().cpu()


def first_of_classes(images: Images, count: int = 1, classes: int | None = None) -> ImageSet:
    """The first `count` images of each of the first classes (None: of all) in the set's order: nobody chooses them."""
    of_class = [(images.labels == label).nonzero()[:count, 0] for label in range(len(images.classes))[:classes]]
    return images.select(torch.cat(of_class))


def level_names(count: int) -> Sequence[str]:
    """Names of a network's levels: low, middle and top for three groups, else their numbers."""
    return LEVELS if count == len(LEVELS) else [f"level {index + 1}" for index in range(count)]


def outputs(network: nn.Module, images: Images, with_gradients: bool = False) -> Iterator[Output]:
    """What a network in evaluation mode makes of the images, batch by batch.

    Args:
        with_gradients: of a frozen network as well: the images require them.
    """
    mean, std = data.normalization(images.name)
    network.eval()
    resolution = network.resolution if isinstance(network, ResizeInput) else images.resolution
    for batch in _batches(images, resolution):
        pixels = augment.normalize(batch.images, mean, std).requires_grad_(with_gradients)
        with torch.set_grad_enabled(with_gradients):
            output = network(pixels)
        yield output


def _batches(images: Images, resolution: int) -> Iterator[ImageSet]:
    """As many images at a time as have the pixels of `BATCH` small ones."""
    return images.chunks(max(1, BATCH * 32**2 // resolution**2))
