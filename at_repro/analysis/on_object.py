"""How much of attention lies on the object, of images whose masks are known, and how much of that on this very one."""

from collections.abc import Sequence

import pandas as pd
from torch import Tensor, nn

from at_repro.analysis import network_maps
from at_repro.analysis.map_statistics import share, surplus
from at_repro.data import ImageSet

MEASURED = ["share", "surplus"]
COLUMNS = ["network", "mapping", "level", *MEASURED]  # of `shares`


def shares(
    networks: dict[str, nn.Module], images: ImageSet | None, mappings: Sequence[str] = ("sum-2",)
) -> pd.DataFrame:
    """`share` and `surplus` of every network, mapping function, level and image, and of an even map.

    Returns columns network, mapping, level, share and surplus (both in percent), the even map, whose share is the
    object's area, as a network of that name under every mapping; no rows where the images have no masks. Raises
    ParameterError for an unknown mapping.
    """
    parts = [pd.DataFrame(columns=COLUMNS)]
    if images is not None and images.masks is not None:
        masks = images.masks.cpu()
        area = 100 * masks.float().mean((1, 2))
        for name, network in networks.items():
            for mapping, levels in network_maps.maps_by_mapping(network, images, mappings).items():
                for level, maps in levels.items():
                    of_maps = (100 * share(maps, masks), 100 * surplus(maps, masks))
                    parts.append(_rows(name, mapping, level, *of_maps))
        found = pd.concat(parts)[["mapping", "level"]].drop_duplicates()
        parts += [_rows("even map", row.mapping, row.level, area, 0 * area) for row in found.itertuples()]
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _rows(network: str, mapping: str, level: str, share: Tensor, surplus: Tensor) -> pd.DataFrame:
    values = (network, mapping, level, share.double().numpy(), surplus.double().numpy())
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def rises(shares: pd.DataFrame) -> pd.DataFrame:
    """What each network's top map has more than its low one on the same image: the rows of `shares`, as differences."""
    low, top = (shares[shares["level"] == level].reset_index(drop=True) for level in ("low", "top"))
    return top.assign(level="top minus low", **{value: top[value] - low[value] for value in MEASURED})


def differences(shares: pd.DataFrame, reference: str = "student") -> pd.DataFrame:
    """What each other network has more than `reference` on the same image: the rows of `shares`, as differences.

    Args:
        shares: of one mapping function.
    """
    base = shares[shares["network"] == reference][MEASURED].to_numpy()
    parts = [shares[:0]]
    others = [name for name in pd.unique(shares["network"]) if name not in (reference, "even map")]
    for name in others if len(base) else ():
        own = shares[shares["network"] == name]
        parts.append(own.assign(**dict(zip(MEASURED, (own[MEASURED].to_numpy() - base).T, strict=True))))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def matrices(shares: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The means of `shares` for `figures.matrices`: by level, a row per network and a column per mapping."""
    means = shares.groupby(["level", "network", "mapping"], sort=False)["share"].mean().unstack("mapping", sort=False)
    return {level: means.loc[level] for level in pd.unique(shares["level"])}
