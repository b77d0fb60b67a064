"""Which parts of a face attention lies on: heads of the AT&T database are in one place, so that boxes roughly do."""

import pandas as pd
import torch
from torch import Tensor, nn

from at_repro.analysis import network_maps, on_object
from at_repro.data import ImageSet

DATASET = "orl_faces@64"
PARTS = {"eyes": (0.38, 0.54, 0.14, 0.86), "nose": (0.54, 0.72, 0.34, 0.66), "mouth": (0.74, 0.88, 0.28, 0.72)}
"""Top, bottom, left and right of each part as shares of the picture: drawn on the average picture of the training set,
before any map was measured with them."""


def mask(part: str, height: int, width: int) -> Tensor:
    """bool (height, width): True where the middle of a pixel lies in the box of a part, a name in `PARTS`."""
    top, bottom, left, right = PARTS[part]
    y, x = ((torch.arange(side) + 0.5) / side for side in (height, width))
    return ((y > top) & (y < bottom)).unsqueeze(1) & ((x > left) & (x < right))


def parts(images: ImageSet) -> Tensor:
    """bool (N, H, W): True on eyes, nose and mouth, the same for every picture."""
    height, width = images.images.shape[-2:]
    together = torch.stack([mask(part, height, width) for part in PARTS]).any(0)
    return together.expand(len(images), height, width)


def shares(networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2") -> pd.DataFrame:
    """How much attention each part of a face gets, and all parts together.

    Returns columns network, level, part and share (percent of what the box has in an even map), a row per image; no
    rows without images or networks. Raises ParameterError for an unknown mapping.
    """
    found = [pd.DataFrame(columns=["network", "level", "part", "share"])]
    if images is not None:
        height, width = images.images.shape[-2:]
        boxes = {part: mask(part, height, width).expand(len(images), -1, -1) for part in PARTS}
        boxes["all parts"] = parts(images)
        for name, network in networks.items():
            levels = network_maps.maps(network, images, mapping)
            for level, maps in zip(network_maps.level_names(len(levels)), levels, strict=True):
                for part, box in boxes.items():
                    share = 100 * on_object.share(maps, box).double() / box.float().mean()
                    found.append(pd.DataFrame({"network": name, "level": level, "part": part, "share": share.numpy()}))
    return pd.concat([part for part in found if len(part)] or found, ignore_index=True)
