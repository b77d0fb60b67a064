"""The explorer's page holds the maps that the networks have, and nothing that a browser would have to fetch."""

import base64
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from at_repro import data, networks
from at_repro.analysis import network_maps
from at_repro.errors import ParameterError
from at_repro.report import explorer

MAPPINGS = ["sum-2", "max-1"]


@pytest.fixture(scope="module")
def images():
    return network_maps.first_of_classes(data.load("shapes", "test", subset=200))


@pytest.fixture(scope="module")
def shown():
    names = {"teacher": "wrn-10-2", "student": "wrn-10-1"}
    return {
        name: networks.build(network, 10, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
        for name, network in names.items()
    }


def pixels(address: str) -> np.ndarray:
    kind, content = address.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL).group(1))


def test_sprites_are_the_maps_and_the_images(images, shown):
    found = data_of(explorer.page(shown, images, MAPPINGS, "stamp"))
    assert (found["networks"], found["mappings"], found["levels"]) == ([*shown], MAPPINGS, ["low", "middle", "top"])
    picture = pixels(found["images"])
    assert np.array_equal(picture[:, 64:96], images.images[2].permute(1, 2, 0)), "the third image, in its place"
    for name, network in shown.items():
        for mapping in MAPPINGS:
            for level, maps in zip(found["levels"], network_maps.maps(network, images, mapping), strict=True):
                side, (third, sprite) = maps.shape[-1], (maps[2], pixels(found["sprites"][name][mapping][level]))
                drawn = sprite[:, 2 * side : 3 * side]
                assert np.abs(drawn / 255 - (third / third.max()).numpy()).max() <= 0.5 / 255 + 1e-6, (name, mapping)


def test_predictions_and_labels_are_those_of_the_images(images, shown):
    found = data_of(explorer.page(shown, images, MAPPINGS, "stamp"))
    assert [found["classes"][label] for label in found["labels"]] == list(images.classes), "one of each class, in order"
    for name, network in shown.items():
        logits = torch.cat([output.logits for output in network_maps.outputs(network, images)])
        assert found["predicted"][name] == logits.argmax(1).tolist()


def test_the_numbers_of_the_first_view_are_those_of_its_maps(images, shown):
    """By hand from the maps: of the first two networks, for the first image, by the first mapping."""
    table = explorer.first_view(shown | {"third": shown["student"]}, images, "max-1")
    assert list(table.index) == [(name, level) for name in shown for level in ("low", "middle", "top")]
    one, other = (network_maps.maps(network, images, "max-1")[2][0].double() for network in shown.values())
    shares = other / other.sum()
    spread = -(shares * shares.log()).nansum() / math.log(shares.numel())
    distance = (one / one.norm() - other / other.norm()).norm()
    row = table.loc["student", "top"]
    assert row["entropy"] == pytest.approx(100 * spread.item()) and row["distance"] == pytest.approx(distance.item())
    assert table.loc["teacher", "distance"].abs().max() == 0
    assert row["says"] == images.classes[network_maps.predictions(shown["student"], images)[0]]
    assert explorer.first_view(shown, None, "max-1").empty and explorer.first_view({}, images, "max-1").empty


def test_colours_go_from_dark_to_bright(images, shown):
    colours = data_of(explorer.page(shown, images, MAPPINGS, "stamp"))["colours"]
    assert len(colours) == 256 and (colours[0], colours[-1]) == ("#440154", "#fde725"), "the ends of viridis"


def test_an_all_zero_map_is_dark():
    assert not pixels(explorer._map_sprite(torch.zeros(2, 8, 8))).any()


def test_a_page_fetches_nothing_and_text_cannot_end_its_data(images, shown):
    hostile = replace(images, classes=("</script><b>", *images.classes[1:]))
    page = explorer.page(shown, hostile, MAPPINGS, "<i>stamp</i>")
    assert data_of(page)["classes"][0] == "</script><b>"
    assert "<b>" not in page and "<i>" not in page and page.count("</script>") == 1
    assert not re.search(r"(src|href)=|https?:", page)


def test_without_images_or_networks_the_page_says_why(images, shown):
    for page in (explorer.page(shown, None, MAPPINGS, "no images"), explorer.page({}, images, MAPPINGS, "no images")):
        assert page == "<p>Nothing to show: no images</p>"


def test_networks_of_other_levels_than_the_first_ones_are_named_and_not_shown(images, shown):
    """Their panels would have no place: nothing at all was drawn beside a network of one's own."""
    own = networks.tap(networks.build("wrn-10-1"), ["group0", "group2"]).eval().requires_grad_(False)
    page = explorer.page({"own": own} | shown, images, MAPPINGS, "stamp")
    found = data_of(page)
    assert found["networks"] == [*found["sprites"]] == [*found["predicted"]] == ["own"]
    assert found["levels"] == [*found["sprites"]["own"]["max-1"]] == ["level 1", "level 2"]
    assert "stamp; without teacher, student: not as many levels" in page
    assert list(explorer.first_view({"own": own} | shown, images, "sum-2").index) == [
        ("own", "level 1"), ("own", "level 2")
    ]  # fmt: skip


def test_an_unknown_mapping_is_refused(images, shown):
    with pytest.raises(ParameterError, match=r"^mapping: "):
        explorer.page(shown, images, ["mean"], "stamp")
