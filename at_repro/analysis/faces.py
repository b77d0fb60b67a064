"""Which parts of a face attention lies on: heads of the AT&T database are in one place, so that boxes roughly do."""

import pandas as pd
from torch import nn

from at_repro.analysis import network_maps
from at_repro.analysis.map_statistics import PARTS, part_masks
from at_repro.analysis.map_statistics import share as share_of
from at_repro.data import ImageSet


def shares(networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2") -> pd.DataFrame:
    """How much attention each part of a face gets, and all parts together.

    Returns columns network, level, part and share (percent of what the box has in an uniform map), a row per image; no
    rows without images or networks. Raises ParameterError for an unknown mapping.
    """
    found = [pd.DataFrame(columns=["network", "level", "part", "share"])]
    if images is not None:
        boxes = {part: part_masks(images, part) for part in PARTS}
        boxes["all parts"] = part_masks(images)
        for name, network in networks.items():
            for level, maps in network_maps.by_level(network_maps.maps(network, images, mapping)).items():
                for part, box in boxes.items():
                    share = 100 * share_of(maps, box).double() / box.float().mean()
                    found.append(pd.DataFrame({"network": name, "level": level, "part": part, "share": share.numpy()}))
    return pd.concat([part for part in found if len(part)] or found, ignore_index=True)
