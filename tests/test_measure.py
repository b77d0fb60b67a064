"""Numbers about attention maps, on maps whose answer is known."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from at_repro import data, measure, networks
from at_repro.data import ImageSet
from at_repro.errors import ParameterError
from at_repro.measure import object_share


@pytest.fixture
def images():
    return data.load("shapes", "test", subset=20)


def mask(rows: slice, columns: slice, size: int = 32) -> torch.Tensor:
    one = torch.zeros(1, size, size, dtype=torch.bool)
    one[:, rows, columns] = True
    return one


LEFT_TOP = mask(slice(0, 16), slice(0, 16))


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64])
def test_object_share_at_every_resolution(size):
    half = size // 2
    on_object, off_object = torch.zeros(1, size, size), torch.ones(1, size, size)
    on_object[:, :half, :half], off_object[:, :half, :half] = 3.0, 0.0
    assert object_share(on_object, LEFT_TOP).item() == 1.0, "all of the map lies on the object"
    assert object_share(off_object, LEFT_TOP).item() == 0.0, "none of it does"
    assert object_share(torch.full((1, size, size), 0.7), LEFT_TOP).item() == pytest.approx(0.25), "the object's area"


def test_object_share_by_hand():
    """3 + 1 on the object's upper row, 4 + 0 below it: 4 of 8."""
    maps = torch.tensor([[[3.0, 1.0], [4.0, 0.0]]])
    assert object_share(maps, mask(slice(0, 16), slice(0, 32))).item() == pytest.approx(0.5)
    assert object_share(100 * maps, mask(slice(0, 16), slice(0, 32))).item() == pytest.approx(0.5), (
        "a share has no scale"
    )


def test_a_place_half_on_the_object_counts_half():
    """An 8x8 map place covers 4x4 pixels: the object takes two of its four columns."""
    maps = torch.zeros(1, 8, 8)
    maps[0, 0, 0] = 5.0
    assert object_share(maps, mask(slice(0, 4), slice(0, 2))).item() == pytest.approx(0.5)


def test_every_image_has_its_own_mask():
    maps = torch.zeros(2, 8, 8)
    maps[:, 0, 0] = 1.0
    masks = torch.cat([LEFT_TOP, ~LEFT_TOP])
    assert object_share(maps, masks).tolist() == [1.0, 0.0]


class Fixed(nn.Module):
    """A network whose groups are given: maps (H, W) that are the same for every image."""

    def __init__(self, *maps: torch.Tensor):
        super().__init__()
        self.fixed = maps

    def forward(self, batch):
        groups = tuple(one.sqrt().expand(len(batch), 1, *one.shape) for one in self.fixed)  # sum-2 gives `one`
        return SimpleNamespace(logits=torch.zeros(len(batch), 10), groups=groups)


def test_maps_are_the_mapping_of_each_group(images):
    low, top = torch.rand(8, 8), torch.rand(4, 4)
    found = measure.maps(Fixed(low, top), images)
    assert [tuple(level.shape) for level in found] == [(20, 8, 8), (20, 4, 4)]
    torch.testing.assert_close(found[0], low.expand(20, 8, 8))
    torch.testing.assert_close(measure.maps(Fixed(low, top), images, "sum-4")[1][7], top**2)
    with pytest.raises(ParameterError, match="mapping"):
        measure.maps(Fixed(low), images, "mean")


def test_maps_do_not_depend_on_how_images_are_batched(images, monkeypatch):
    """In evaluation mode and batch by batch: no map may depend on the other images."""
    network = networks.build("wrn-10-1", generator=torch.Generator().manual_seed(0)).train()
    whole = measure.maps(network, images)
    monkeypatch.setattr(measure, "BATCH", 7)
    for level, again in zip(whole, measure.maps(network, images), strict=True):
        torch.testing.assert_close(level, again)
        assert level.dtype == torch.float32 and not level.requires_grad


def test_object_shares_of_networks(images):
    even = torch.ones(8, 8)
    frame = measure.object_shares({"a": Fixed(even, even, even), "b": Fixed(even, even, even)}, images)
    area = 100 * images.masks.float().mean((1, 2))
    assert list(frame.columns) == ["network", "level", "share"]
    assert len(frame) == 3 * 3 * 20
    for (network, level), shares in frame.groupby(["network", "level"])["share"]:
        assert level in ("low", "middle", "top") and network in ("a", "b", "even map")
        assert shares.tolist() == pytest.approx(area.tolist(), rel=1e-5), "an even map shows the object's area"


def test_without_masks_or_networks_there_are_no_shares(images):
    unmasked = ImageSet(images.name, "test", images.images, images.labels, images.classes)
    for frame in (
        measure.object_shares({"a": Fixed(torch.ones(8, 8))}, unmasked),
        measure.object_shares({"a": Fixed(torch.ones(8, 8))}, None),
        measure.object_shares({}, images),
    ):
        assert frame.empty and list(frame.columns) == ["network", "level", "share"]


def corner(row: int, column: int) -> torch.Tensor:
    one = torch.zeros(8, 8)
    one[row, column] = 2.0
    return one


def test_distance_is_zero_to_itself_and_does_not_see_the_scale(images):
    teacher, same, scaled = Fixed(corner(0, 0)), Fixed(corner(0, 0)), Fixed(9 * corner(0, 0))
    found = measure.distances({"teacher": teacher, "same": same, "scaled": scaled}, images)
    assert found["network"].tolist() == ["same", "scaled"], "a teacher has no distance to itself"
    assert found["distance"].tolist() == pytest.approx([0, 0], abs=1e-6)


def test_distance_by_hand(images):
    """Nowhere at the same place: sqrt 2. (3, 4) / 5 against (1, 0): sqrt(0.4^2 + 0.8^2) = sqrt 0.8."""
    apart = measure.distances({"teacher": Fixed(corner(0, 0)), "s": Fixed(corner(5, 5))}, images)
    assert apart["distance"].item() == pytest.approx(math.sqrt(2))
    both = 3 / 2 * corner(0, 0) + 4 / 2 * corner(5, 5)
    partly = measure.distances({"teacher": Fixed(corner(0, 0)), "s": Fixed(both)}, images)
    assert partly["distance"].item() == pytest.approx(math.sqrt(0.8))


def test_no_distances_without_images_or_teacher(images):
    network = Fixed(corner(0, 0))
    for frame in (measure.distances({"s": network}, images), measure.distances({"teacher": network}, None)):
        assert frame.empty and list(frame.columns) == ["network", "level", "distance"]


@pytest.mark.parametrize("count", [1, 2])
def test_one_per_class_takes_the_first(images, count):
    chosen = measure.one_per_class(images, count)
    assert chosen.labels.tolist() == [label for label in range(10) for _ in range(count)]
    for label in range(10):
        first = (images.labels == label).nonzero()[:count, 0]
        assert torch.equal(chosen.images[chosen.labels == label], images.images[first])
        assert torch.equal(chosen.masks[chosen.labels == label], images.masks[first]), "masks went astray"


def test_rows_go_level_by_level(images):
    low, top = torch.rand(8, 8), torch.rand(4, 4)
    found = measure.rows({"teacher": Fixed(low, low, top), "AT": Fixed(low, low, top)}, images)
    assert list(found) == ["low, teacher", "low, AT", "middle, teacher", "middle, AT", "top, teacher", "top, AT"]
    assert found["top, AT"].shape == (20, 4, 4)
    assert measure.rows({}, images) == {}


def test_level_names():
    assert list(measure.level_names(3)) == ["low", "middle", "top"]
    assert list(measure.level_names(4)) == ["level 1", "level 2", "level 3", "level 4"]


def test_shares_of_two_networks_can_be_summed_up(images):
    """The frame's numbers are plain floats, so that pandas can group them."""
    frame = measure.object_shares({"a": Fixed(torch.ones(8, 8))}, images)
    assert pd.api.types.is_float_dtype(frame["share"])
