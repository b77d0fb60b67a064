"""Attention on the object, on maps and masks whose answer is known."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from fixed_maps import Fixed
from torch import nn

from at_repro import data
from at_repro.analysis import on_object
from at_repro.data import ImageSet
from at_repro.errors import ParameterError


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
    everything, nothing = torch.zeros(1, size, size), torch.ones(1, size, size)
    everything[:, :half, :half], nothing[:, :half, :half] = 3.0, 0.0
    assert on_object.share(everything, LEFT_TOP).item() == 1.0, "all of the map lies on the object"
    assert on_object.share(nothing, LEFT_TOP).item() == 0.0, "none of it does"
    assert on_object.share(torch.full((1, size, size), 0.7), LEFT_TOP).item() == pytest.approx(0.25), (
        "the object's area"
    )


def test_object_share_by_hand():
    """3 + 1 on the object's upper row, 4 + 0 below it: 4 of 8."""
    maps = torch.tensor([[[3.0, 1.0], [4.0, 0.0]]])
    assert on_object.share(maps, mask(slice(0, 16), slice(0, 32))).item() == pytest.approx(0.5)
    assert on_object.share(100 * maps, mask(slice(0, 16), slice(0, 32))).item() == pytest.approx(0.5), (
        "a share has no scale"
    )


def test_a_place_half_on_the_object_counts_half():
    """An 8x8 map place covers 4x4 pixels: the object takes two of its four columns."""
    maps = torch.zeros(1, 8, 8)
    maps[0, 0, 0] = 5.0
    assert on_object.share(maps, mask(slice(0, 4), slice(0, 2))).item() == pytest.approx(0.5)


def test_every_image_has_its_own_mask():
    maps = torch.zeros(2, 8, 8)
    maps[:, 0, 0] = 1.0
    masks = torch.cat([LEFT_TOP, ~LEFT_TOP])
    assert on_object.share(maps, masks).tolist() == [1.0, 0.0]


SHARES = ["network", "mapping", "level", "share", "surplus"]


def test_object_shares_of_networks(images):
    even = torch.ones(8, 8)
    given = {"a": Fixed(even, even, even), "b": Fixed(even, even, even)}
    frame = on_object.shares(given, images, ["sum-1", "max-2"])
    area = 100 * images.masks.float().mean((1, 2))
    assert list(frame.columns) == SHARES
    assert len(frame) == 3 * 2 * 3 * 20
    for (network, mapping, level), found in frame.groupby(["network", "mapping", "level"]):
        assert level in ("low", "middle", "top") and network in ("a", "b", "even map")
        assert mapping in ("sum-1", "max-2")
        assert found["share"].tolist() == pytest.approx(area.tolist(), rel=1e-5), "an even map shows the object's area"
        assert found["surplus"].tolist() == pytest.approx([0] * 20, abs=1e-4), "it knows nothing of its image"


def test_a_surplus_is_what_another_images_map_does_not_have():
    """The first of two images has all of its mass on its object, the second half; each other's map has none there."""
    maps, masks = torch.zeros(2, 4, 4), torch.cat([LEFT_TOP, ~LEFT_TOP])
    maps[0, 0, 0] = 3.0
    maps[1, 0, 1] = maps[1, 3, 3] = 1.0
    # The second's map has half of its mass on the first's object, the first's none on the second's; and the objects,
    # which have nothing in common, as maps of their own 1 - 0.
    assert on_object.surplus(maps, masks).tolist() == pytest.approx([1 - 0.5, 0.5 - 0])
    assert on_object.surplus(masks.float(), masks).tolist() == [1, 1]
    near = torch.cat([LEFT_TOP, mask(slice(0, 16), slice(8, 24))])  # half of each is the other's as well
    left = torch.zeros(2, 4, 4)
    left[0, 0, 0] = left[1, 0, 3] = 1.0  # the second's beside its object
    assert on_object.surplus(left, near).tolist() == pytest.approx([(1 - 0) / 0.5, (0 - 0) / 0.5])
    assert on_object.surplus(maps[:1], masks[:1]).isnan().all(), "there is no other image"
    middle = torch.zeros(2, 4, 4)
    middle[:, 1:3, 1:3] = torch.tensor([1.0, 7.0]).view(2, 1, 1)
    found = on_object.share(middle, masks), on_object.surplus(middle, masks)
    assert found[0].tolist() == pytest.approx([0.25, 0.75]) and found[1].tolist() == pytest.approx([0, 0]), (
        "who always looks into the middle looks at no object"
    )


def test_a_network_that_sees_objects_has_their_surplus(images):
    """One whose group is the mask has all of it, at the full resolution; one that sees another image's has less."""

    class Sees(nn.Module):
        def forward(self, batch):
            group = images.masks.float().unsqueeze(1)
            return SimpleNamespace(logits=torch.zeros(len(batch), 10), groups=(group, group, group.flip(0)))

    found = on_object.shares({"a": Sees()}, images).groupby(["network", "level"])[["share", "surplus"]].mean()
    assert found.loc[("a", "low")].tolist() == pytest.approx([100, 100], rel=1e-4)
    assert found.loc[("a", "top"), "surplus"] < 50


def test_rises_are_from_the_low_to_the_top_level_of_an_image():
    rows = [("low", 1.0, 0.0), ("low", 5.0, 1.0), ("middle", 9.0, 9.0), ("top", 2.0, 3.0), ("top", 9.0, 0.5)]
    columns = ["level", "share", "surplus"]
    found = on_object.rises(pd.DataFrame(rows, columns=columns).assign(network="a", mapping="sum-2"))
    assert found[columns].values.tolist() == [["top minus low", 1, 3], ["top minus low", 4, -0.5]]
    assert on_object.rises(pd.DataFrame(columns=SHARES)).empty


def test_differences_of_shares_are_paired_by_image():
    rows = [("student", 1.0, 0.5), ("student", 5.0, 1.0), ("AT", 2.0, 0.5), ("AT", 9.0, 0.0), ("even map", 3.0, 0.0)]
    shares = pd.DataFrame([(name, "sum-2", "top", *values) for name, *values in rows], columns=SHARES)
    found = on_object.differences(shares)
    assert found["network"].tolist() == ["AT", "AT"] and found["share"].tolist() == [1, 4]
    assert found["surplus"].tolist() == [0, -1]
    assert on_object.differences(shares[shares["network"] != "student"]).empty, "nothing to be compared with"


def test_share_matrices_are_means_by_level():
    rows = [
        (n, m, "top", v, 0) for n, m, v in (("a", "sum-1", 1), ("a", "sum-1", 3), ("a", "sum-2", 5), ("b", "sum-1", 7))
    ]
    (frame,) = on_object.matrices(pd.DataFrame(rows, columns=SHARES)).values()
    assert frame.loc["a"].tolist() == [2, 5] and frame.loc["b", "sum-1"] == 7
    assert list(frame.columns) == ["sum-1", "sum-2"]
    assert on_object.matrices(pd.DataFrame(columns=SHARES)) == {}


def test_without_masks_or_networks_there_are_no_shares(images):
    unmasked = ImageSet(images.name, "test", images.images, images.labels, images.classes)
    for frame in (
        on_object.shares({"a": Fixed(torch.ones(8, 8))}, unmasked),
        on_object.shares({"a": Fixed(torch.ones(8, 8))}, None),
        on_object.shares({}, images),
    ):
        assert frame.empty and list(frame.columns) == SHARES


def test_shares_of_two_networks_can_be_summed_up(images):
    """The frame's numbers are plain floats, so that pandas can group them."""
    frame = on_object.shares({"a": Fixed(torch.ones(8, 8))}, images)
    assert pd.api.types.is_float_dtype(frame["share"])


def test_an_unknown_mapping_is_refused(images):
    with pytest.raises(ParameterError, match=r"^mapping: 'mean' is not allowed"):
        on_object.shares({"a": Fixed(torch.ones(8, 8))}, images, ["mean"])
