"""The explorer: a page on which a reader chooses image, network, level and mapping function, without a server.

This module makes the page's data, `book/_assets/explorer.js` draws it. The maps are sprites, one grey PNG per network,
mapping function and level with all images side by side. They stand inside the page: a browser that opens a page from a
file does not let a script look into other files.
"""

import base64
import html
import io
import json
from collections.abc import Sequence

import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image
from torch import Tensor, nn

from at_repro.analysis import map_statistics, network_maps
from at_repro.analysis.map_statistics import NetworkMaps
from at_repro.data import ImageSet
from at_repro.report.figures.theme import ATTENTION


def page(networks: dict[str, nn.Module], images: ImageSet | None, mappings: Sequence[str], stamp: str) -> str:
    """The explorer of these networks on these images, as HTML for a notebook's output.

    Args:
        networks: frozen networks by their names for readers; those that have not as many levels as the first one are
            named and not shown.
        images: the images to choose from, uint8 (N, 3, H, W); with None, or without networks, only the stamp is shown.
        mappings: names of mapping functions, see `attention.mapping`.
        stamp: what it was made from, see `Study.stamp`.

    Raises:
        ParameterError: for an unknown mapping.
    """
    if images is None or not networks:
        return f"<p>Nothing to show: {html.escape(stamp)}</p>"
    content = _data(networks, images, mappings)
    data = json.dumps(content).replace("<", "\\u003c")  # could end the script element
    if left_out := [name for name in networks if name not in content["networks"]]:
        stamp += f"; without {', '.join(left_out)}: not as many levels"
    return (
        f'<div class="explorer"><script type="application/json">{data}</script>'
        f"<noscript>The explorer needs JavaScript.</noscript></div><p><small>{html.escape(stamp)}</small></p>"
    )


def first_view(networks: dict[str, nn.Module], images: ImageSet | None, mapping: str) -> pd.DataFrame:
    """The numbers behind what `page` shows at first: the first two networks, the first image and mapping, each level.

    Returns:
        By network and level: predicted class, entropy and top share in percent, and distance from the first network's
        map, see `map_statistics`. Empty without images or networks.

    Raises:
        ParameterError: for an unknown mapping.
    """
    columns = ["says", "entropy", "top share", "distance"]
    if images is None or not networks:
        return pd.DataFrame(columns=columns)
    first, first_two = images.select(slice(1)), dict(list(networks.items())[:2])
    maps = _of_as_many_levels(first_two, first, [mapping])
    tidy = map_statistics.tabulate(maps, first, columns[1:], next(iter(first_two)))
    table = tidy.pivot_table("value", ["network", "level"], "statistic", sort=False)
    says = {name: images.classes[network_maps.predictions(networks[name], first)[0]] for name in maps}
    return table.rename_axis(columns=None).assign(says=table.index.get_level_values("network").map(says))[columns]


def _data(networks: dict[str, nn.Module], images: ImageSet, mappings: Sequence[str]) -> dict:
    maps = _of_as_many_levels(networks, images, mappings)
    sprites = {
        name: {
            mapping: {level: _map_sprite(of_level) for level, of_level in levels.items()}
            for mapping, levels in own.items()
        }
        for name, own in maps.items()
    }
    return {
        "classes": images.classes,
        "labels": images.labels.tolist(),
        "images": _png(torch.cat(list(images.images.cpu().permute(0, 2, 3, 1)), 1)),
        "networks": list(maps),
        "levels": list(next(iter(maps.values()))[mappings[0]]),
        "mappings": list(mappings),
        "sprites": sprites,
        "predicted": {name: network_maps.predictions(networks[name], images).tolist() for name in maps},
        "colours": [to_hex(colormaps[ATTENTION](value)) for value in range(256)],
    }


def _of_as_many_levels(
    networks: dict[str, nn.Module], images: ImageSet, mappings: Sequence[str]
) -> dict[str, NetworkMaps]:
    """The maps of the first network, and of those whose panels can stand in its panels' places."""
    maps = network_maps.by_network(networks, images, mappings)
    levels = next(iter(maps.values()))[mappings[0]].keys()
    return {name: own for name, own in maps.items() if own[mappings[0]].keys() == levels}


def _map_sprite(maps: Tensor) -> str:
    """Maps (N, H, W) side by side, each scaled to its own maximum, as 8-bit grey. An all-zero map stays zero."""
    largest = maps.amax((1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    return _png(torch.cat(list((255 * maps / largest).round().to(torch.uint8)), 1))


def _png(pixels: Tensor) -> str:
    """uint8 (H, W) or (H, W, 3) as the address of a PNG that is in the address itself."""
    stream = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
