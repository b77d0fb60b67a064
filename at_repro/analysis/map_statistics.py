"""What attention maps are like, in numbers: a statistic is a plain function of maps (N, H, W) that returns (N,)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from at_repro import attention
from at_repro.data import ImageSet

NetworkMaps = Mapping[str, Mapping[str, Tensor]]  # of one network, (N, H, W) by mapping function and level

COLUMNS = ["network", "mapping", "level", "image", "statistic", "value"]

FACE_IMAGES = "orl_faces@64"  # heads of the AT&T database are in one place, so that boxes roughly lie on their parts
PARTS = {"eyes": (0.38, 0.54, 0.14, 0.86), "nose": (0.54, 0.72, 0.34, 0.66), "mouth": (0.74, 0.88, 0.28, 0.72)}
"""Top, bottom, left and right of each part of a face as shares of the picture: drawn on the average picture of the
training set, before any map was measured with them."""

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def mass_shares(maps: Tensor) -> Tensor:
    """Each position's share of a map's mass: (N, H, W), not negative, to (N, H * W); NaN for an all-zero map."""
    flat = maps.flatten(1)
    return flat / flat.sum(1, keepdim=True)


def entropy(maps: Tensor) -> Tensor:
    """Entropy of each map's mass over its positions, relative to that of a uniform map.

    Args:
        maps: (N, H, W), not negative, of more than one position.

    Returns:
        (N,), from 0 (all mass at one position) to 1 (uniform); NaN for an all-zero map, which has no mass.
    """
    shares = mass_shares(maps)
    return -torch.special.xlogy(shares, shares).sum(1) / math.log(shares.shape[1])


def top_share(maps: Tensor) -> Tensor:
    """Share of each map's mass at the tenth of its positions that are strongest, rounded up to whole ones.

    Args:
        maps: (N, H, W), not negative.

    Returns:
        (N,), from 0.1, rounded up alike (a uniform map), to 1; NaN for an all-zero map.
    """
    shares = mass_shares(maps)
    return shares.topk(math.ceil(0.1 * shares.shape[1]), dim=1).values.sum(1)


def share(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map's mass that lies inside its mask.

    Args:
        maps: (N, H, W), not negative.
        masks: bool (N, H', W'); averaged over the area that one position of the map covers.

    Returns:
        (N,), from 0 to 1; NaN for a map of zeros. A uniform map has the mask's share of the image area.
    """
    return (maps * _cover(masks, maps)).flatten(1).sum(1) / maps.flatten(1).sum(1)


def _cover(masks: Tensor, maps: Tensor) -> Tensor:
    """The part of each position of the maps that lies inside the mask: (N, H, W), from 0 to 1."""
    return F.adaptive_avg_pool2d(masks.float().unsqueeze(1), (maps.shape[1], maps.shape[2])).squeeze(1)


def surplus(maps: Tensor, masks: Tensor) -> Tensor:
    """What each map has on its own object more than the map of another image has there, the one before it in the set.

    Objects tend to be in the middle, and so does attention: a map that knows nothing of its image may have a large
    `share`, but has no surplus on average. The unit is the surplus that the objects themselves have as maps of
    that size, the mean over images, so that levels can be compared.

    Args:
        maps: (N, H, W), not negative.
        masks: bool (N, H', W'), True on the object.

    Returns:
        (N,), of which the mean is 0 where maps know nothing of their image, and 1 where they are the objects; NaN where
        all objects are at the same positions, as that of one image alone.
    """

    def more(own: Tensor) -> Tensor:
        return share(own, masks) - share(own.roll(1, 0), masks)

    unit = more(_cover(masks, maps)).mean()
    return more(maps) / unit.where(unit != 0, math.nan)


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Of the angles between rows: (N, D) twice to (N,); NaN where one is 0, which has no direction."""
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))


def correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Pearson's correlation of two maps over positions: twice (N, H, W), of one size, to float64 (N,), from -1 to 1.

    NaN where one of the two is uniform.
    """
    return cosine(*((each - each.mean((1, 2), keepdim=True)).flatten(1) for each in (maps.double(), others.double())))


def edge_strength(images: Tensor, size: Sequence[int]) -> Tensor:
    """How strongly the luminance changes: the length of Sobel's gradient, averaged over the positions of a map.

    Args:
        images: uint8 (N, 3, H, W).
        size: height and width of the map, not larger than the images.

    Returns:
        float32 (N, height, width), in luminance per pixel, from 0 to 1.
    """
    grey = (images.float() / 255 * torch.tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
    across = torch.tensor(_SOBEL) / 8
    kernels = torch.stack([across, across.T]).unsqueeze(1)
    across, down = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels).unbind(1)
    return F.adaptive_avg_pool2d(torch.hypot(across, down), (size[0], size[1]))  # a norm takes sixty times as long


@lru_cache(maxsize=8)
def _edges(images: ImageSet, height: int, width: int) -> Tensor:
    """Of one set of images the maps of many networks are measured."""
    return edge_strength(images.images.cpu(), (height, width))


def distance(maps: Tensor, others: Tensor) -> Tensor:
    """The l2 distance of each image's l2-normalised maps, (N,) from twice (N, H, W): the norm of eq. 2.

    From 0 (the same map) to sqrt 2 (no position in common).
    """
    return (attention.normalize(maps) - attention.normalize(others)).flatten(1).norm(dim=1)


def parts_mask(height: int, width: int) -> Tensor:
    """bool (height, width): True where the middle of a pixel lies in the box of a part of a face, see `PARTS`."""
    y, x = ((torch.arange(length) + 0.5) / length for length in (height, width))
    boxes = [
        ((y > top) & (y < bottom)).unsqueeze(1) & ((x > left) & (x < right))
        for top, bottom, left, right in PARTS.values()
    ]
    return torch.stack(boxes).any(0)


# Of maps, their images and the teacher's maps, which may be none; None where a statistic does not apply.
FUNCTIONS: dict[str, Callable[[Tensor, ImageSet, Tensor | None], Tensor | None]] = {
    "entropy": lambda maps, images, teacher: 100 * entropy(maps),
    "top share": lambda maps, images, teacher: 100 * top_share(maps),
    "edges": lambda maps, images, teacher: correlation(maps, _edges(images, *maps.shape[1:])),
    "on object": lambda maps, images, teacher: None if images.masks is None else 100 * share(maps, images.masks.cpu()),
    "on object, surplus": lambda maps, images, teacher: (
        None if images.masks is None else 100 * surplus(maps, images.masks.cpu())
    ),
    "on parts": lambda maps, images, teacher: (
        100 * share(maps, parts_mask(*images.images.shape[-2:])[None]) if images.name == FACE_IMAGES else None
    ),
    "distance": lambda maps, images, teacher: (
        None if teacher is None else distance(*attention.same_size(maps, teacher))
    ),
}
"""By name: shares, entropy and surplus in percent."""


def tabulate(
    networks: Mapping[str, NetworkMaps], images: ImageSet, statistics: Iterable[str], teacher: str = ""
) -> pd.DataFrame:
    """Statistics of every network, mapping function, level and image: one tidy frame.

    Args:
        networks: their maps by name.
        images: the N images of these maps.
        statistics: names, see `FUNCTIONS`; those that do not apply have no rows.
        teacher: the network to whose maps the distance is; empty: there is none.

    Returns:
        The `COLUMNS` network, mapping, level, image (counted from 0), statistic and value.
    """
    targets = networks.get(teacher, {})
    parts = [
        pd.DataFrame({"network": network, "mapping": mapping, "level": level, "image": range(len(value)),
                      "statistic": statistic, "value": value.double().numpy()})
        for network, maps in networks.items()
        for mapping, levels in maps.items()
        for level, own in levels.items()
        for statistic in statistics
        if (value := FUNCTIONS[statistic](own, images, targets.get(mapping, {}).get(level))) is not None
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS).astype({"value": float})
