"""What transfer changed in a student: which images it gets right, and where it looks, against the plain student."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from at_repro import attention, experiments
from at_repro.analysis import map_statistics, network_maps
from at_repro.analysis.study import Study
from at_repro.data import Images, ImageSet
from at_repro.records import Record

GROUPS = ("newly right", "newly wrong", "right in both", "wrong in both")


def changed(before: Record, after: Record) -> dict[str, list[int]]:
    """The places of all test images, in the set's order, by what became of them: each of `GROUPS`."""
    was, is_now = (record.predictions().eval("label == prediction") for record in (before, after))
    masks = (~was & is_now, was & ~is_now, was & is_now, ~was & ~is_now)
    return {group: mask.index[mask].tolist() for group, mask in zip(GROUPS, masks, strict=True)}


def answers(records: Mapping[str, Record], images: Images, places: Sequence[int]) -> pd.DataFrame:
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
    """Where the normalised maps of one level grew from one network to the other (positive) and where they shrank.

    (N, H, W) by the label "moved". Raises ParameterError for an unknown mapping.
    """
    first, second = (
        attention.normalize(network_maps.maps(network, images, mapping)[level]) for network in (before, after)
    )
    return {"moved": second - first}


def movement(
    before: nn.Module, after: nn.Module, images: Images, places: Mapping[str, Sequence[int]], mapping: str = "sum-2"
) -> pd.DataFrame:
    """How far attention moved on each image: the l2 distance of both networks' normalised maps.

    Args:
        images: those that `places` counts.
        places: by group, as from `changed`.

    Returns:
        Columns became (the group), level, distance: a row per image and level, see `tables.means`.

    Raises ParameterError for an unknown mapping.
    """
    levels = zip(*(network_maps.maps(network, images, mapping) for network in (before, after)), strict=True)
    distances = [map_statistics.distance(first, second).double() for first, second in levels]
    parts = [
        pd.DataFrame({"became": group, "level": level, "distance": distance[list(chosen)].numpy()})
        for group, chosen in places.items()
        for level, distance in zip(network_maps.level_names(len(distances)), distances, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


class Transfer:
    """The plain student of a study before, the student of one method after transfer, and for comparison those of the
    other methods and their teacher.

    Attributes:
        places: the test images by what became of them, see `changed`; empty where a student or the images are missing.
        networks, records: of "student", the method, the other ones of `experiments.METHODS` and "teacher", as far as
            there are any.
    """

    def __init__(self, study: Study, method: str):
        others = [other for other in experiments.METHODS if other != method]
        columns = ("student", method, *others, "teacher")
        self.method, self.stamp = method, study.stamp
        self.networks = study.networks(*columns)
        self.records = {name: study.first(name) for name in columns if name in study.records}
        self._images = study.images
        both = {"student", method} <= self.networks.keys()
        self.places = changed(self.records["student"], self.records[method]) if both else {}

    def images(self, group: str, count: int) -> ImageSet | None:
        """The first images of a group, one of `GROUPS`; None where it has none."""
        places = self.places.get(group, [])[:count]
        return self._images.select(torch.tensor(places)) if self._images is not None and places else None

    def rows(self, group: str, count: int, level: int, mapping: str = "sum-2") -> dict[str, Tensor]:
        """Their maps (N, H, W) of one level by network, then `moved_rows`; empty where the group has no image."""
        images = self.images(group, count)
        if images is None:
            return {}
        maps = {name: network_maps.maps(network, images, mapping)[level] for name, network in self.networks.items()}
        return maps | moved_rows(self.networks["student"], self.networks[self.method], images, level, mapping)

    def answers(self, group: str, count: int) -> pd.DataFrame | None:
        """See `answers`; None where nothing can be compared."""
        if self._images is None or not self.places:
            return None
        return answers(self.records, self._images, self.places[group][:count])

    def movement(self, mapping: str = "sum-2") -> pd.DataFrame | None:
        """See `movement`; None where nothing can be compared."""
        if self._images is None or not self.places:
            return None
        return movement(self.networks["student"], self.networks[self.method], self._images, self.places, mapping)

    def note(self, group: str) -> str:
        """What stands below a figure of a group: where it comes from, or why there is nothing to show."""
        return f"no image is {group}" if self.places and not self.places[group] else self.stamp
