"""How concentrated attention is, where it lies on average, and how alike mapping functions are, over test sets."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from at_repro.analysis import network_maps
from at_repro.data import ImageSet


def entropy(maps: Tensor) -> Tensor:
    """Entropy of each map's mass over its places, relative to that of an even map.

    Args:
        maps: (N, H, W), not negative, of more than one place.

    Returns:
        (N,), from 0 (all mass in one place) to 1 (the same everywhere); NaN for an all-zero map, which has no mass.
    """
    shares = _shares(maps)
    return -torch.special.xlogy(shares, shares).sum(1) / math.log(shares.shape[1])


def top_share(maps: Tensor, places: float = 0.1) -> Tensor:
    """Share of each map's mass in its strongest places.

    Args:
        maps: (N, H, W), not negative.
        places: the part of all places that is counted, rounded up to whole ones.

    Returns:
        (N,), from these places' part of all (the same everywhere) to 1; NaN for an all-zero map.
    """
    shares = _shares(maps)
    return shares.topk(math.ceil(places * shares.shape[1]), dim=1).values.sum(1)


def concentrations(networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2") -> pd.DataFrame:
    """`entropy` and `top_share` of every network, level and image, in percent.

    Returns columns network, level, entropy, top_share; no rows without images or networks. Raises ParameterError for an
    unknown mapping.
    """
    found: dict[str, dict[str, Tensor]] = {}
    if images is None:
        return of_maps(found)
    for name, network in networks.items():
        levels = network_maps.maps(network, images, mapping)
        found[name] = dict(zip(network_maps.level_names(len(levels)), levels, strict=True))
    return of_maps(found)


def of_maps(found: Mapping[str, Mapping[str, Tensor]]) -> pd.DataFrame:
    """`concentrations` of maps (N, H, W) that are there already, by network and level."""
    parts = [pd.DataFrame(columns=["network", "level", "entropy", "top_share"])]
    for name, levels in found.items():
        for level, maps in levels.items():
            measured = {"entropy": 100 * entropy(maps).double(), "top_share": 100 * top_share(maps).double()}
            parts.append(pd.DataFrame({"network": name, "level": level} | measured))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def class_rows(network: nn.Module | None, images: ImageSet | None, mapping: str = "sum-2") -> dict[str, Tensor]:
    """The average map of every class, and what it has more and less than the average of all classes: (K, H, W) each.

    Each image's map counts by its shares of mass, in units of what every place of an even map has. By labels such as
    "low, average" and "low, minus all", level after level; nothing without network or images. A class without images
    has an all-zero average map. Raises ParameterError for an unknown mapping.
    """
    if network is None or images is None:
        return {}
    belongs = torch.nn.functional.one_hot(images.labels.cpu(), len(images.classes)).float()
    belongs = belongs / belongs.sum(0).clamp_min(1)
    levels = network_maps.maps(network, images, mapping)
    rows: dict[str, Tensor] = {}
    for level, maps in zip(network_maps.level_names(len(levels)), levels, strict=True):
        shares = _shares(maps).nan_to_num().view(maps.shape)
        average = maps[0].numel() * torch.einsum("nk,nhw->khw", belongs, shares)
        rows |= {f"{level}, average": average, f"{level}, minus all": average - average.mean(0)}
    return rows


def mapping_correlations(
    network: nn.Module | None, images: ImageSet | None, mappings: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Pearson's correlation, over places, of the maps that two mapping functions make of the same activations.

    By level a square frame, with the mappings as index and columns: the mean over images. An image on which one of the
    two maps is even counts for nothing. Nothing without network or images. Raises ParameterError for an unknown
    mapping.
    """
    if network is None or images is None:
        return {}
    levels = list(zip(*network_maps.maps_by_mapping(network, images, mappings).values(), strict=True))
    frames = {}
    for name, of_level in zip(network_maps.level_names(len(levels)), levels, strict=True):
        found = [[network_maps.correlation(own, other).nanmean().item() for other in of_level] for own in of_level]
        frames[name] = pd.DataFrame(found, index=list(mappings), columns=list(mappings))
    return frames


def _shares(maps: Tensor) -> Tensor:
    """Each place's share of a map's mass: (N, H * W); NaN for an all-zero map."""
    flat = maps.flatten(1)
    return flat / flat.sum(1, keepdim=True)
