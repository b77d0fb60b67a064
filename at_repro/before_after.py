"""What transfer changed in a student: which images it gets right, and where it looks, against the plain student."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from at_repro import attention, measure
from at_repro.data import ImageSet
from at_repro.results import Record

GROUPS = ("newly right", "newly wrong", "right in both", "wrong in both")


def changed(before: Record, after: Record) -> dict[str, list[int]]:
    """The places of all test images, in the set's order, by what became of them: each of `GROUPS`."""
    was, is_now = (record.predictions().eval("label == prediction") for record in (before, after))
    masks = (~was & is_now, was & ~is_now, was & is_now, ~was & ~is_now)
    return {group: mask.index[mask].tolist() for group, mask in zip(GROUPS, masks, strict=True)}


def answers(records: Mapping[str, Record], images: ImageSet, places: Sequence[int]) -> pd.DataFrame:
    """What each network takes these images for: a row per image, its class as index, a column per network."""
    named = {
        name: [images.classes[label] for label in record.predictions()["prediction"][list(places)]]
        for name, record in records.items()
    }
    truth = [images.classes[label] for label in images.labels[list(places)].tolist()]
    return pd.DataFrame(named, index=pd.Index(truth, name="image of a"))


def moved_rows(
    before: nn.Module, after: nn.Module, images: ImageSet, level: int, mapping: str = "sum-2"
) -> dict[str, Tensor]:
    """Where the normalised maps of one level grew from one network to the other, and where they shrank: (N, H, W).

    By the labels "more" and "less". Raises ParameterError for an unknown mapping.
    """
    first, second = (attention.normalize(measure.maps(network, images, mapping)[level]) for network in (before, after))
    return {"more": (second - first).clamp_min(0), "less": (first - second).clamp_min(0)}


def movement(
    before: nn.Module, after: nn.Module, images: ImageSet, places: Mapping[str, Sequence[int]], mapping: str = "sum-2"
) -> pd.DataFrame:
    """How far attention moved on each group of images: the mean l2 distance of both networks' normalised maps.

    Args:
        images: those that `places` counts, or the first of them: places beyond their end are left out.
        places: by group, as from `changed`.

    Returns:
        A row per group, with the number of its images and a column per level; NaN where a group has no image.

    Raises ParameterError for an unknown mapping.
    """
    pairs = list(zip(*(measure.maps(network, images, mapping) for network in (before, after)), strict=True))
    distances = [(attention.normalize(a) - attention.normalize(b)).flatten(1).norm(dim=1) for a, b in pairs]
    rows = {}
    for group, chosen in places.items():
        here = torch.tensor([place for place in chosen if place < len(images)], dtype=torch.int64)
        rows[group] = [len(here), *(distance[here].double().mean().item() for distance in distances)]
    columns = ["images", *measure.level_names(len(distances))]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("became")
