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
