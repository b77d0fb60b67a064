"""Where on a face: boxes and shares whose answer is known."""

import pytest
import torch
from torch import nn

from at_repro.analysis import faces
from at_repro.analysis.map_statistics import FACES, part_mask, part_masks
from at_repro.data import ImageSet
from at_repro.networks import Output


@pytest.fixture
def images():
    pictures = torch.zeros(2, 3, 50, 50, dtype=torch.uint8)
    return ImageSet(FACES, "test", pictures, torch.tensor([0, 1]), ("a", "b"))


class Looks(nn.Module):
    """A network whose one group is the same picture for every image."""

    def __init__(self, group):
        super().__init__()
        self.group = group

    def forward(self, images):
        group = self.group.expand(len(images), 1, *self.group.shape)
        return Output(torch.zeros(len(images), 2), (group,))


def test_an_even_map_gives_every_part_what_is_its_due(images):
    found = faces.shares({"even": Looks(torch.ones(50, 50))}, images)
    assert list(found["part"].unique()) == ["eyes", "nose", "mouth", "all parts"]
    assert found["share"].tolist() == pytest.approx([100] * 4 * len(images), rel=1e-5), "a row per image"


def test_a_map_that_sees_eyes_alone_gives_them_all(images):
    """The eyes are 288 of 2,500 pixels: all of the mass there is 100 * 2500 / 288 percent of an even map's."""
    found = faces.shares({"eyes": Looks(part_mask("eyes", 50, 50).float())}, images).groupby("part")["share"].mean()
    assert found["eyes"] == pytest.approx(100 * 2500 / 288) and found["nose"] == found["mouth"] == 0
    assert found["all parts"] == pytest.approx(100 * 2500 / part_masks(images)[0].sum().item())


def test_nothing_without_images():
    assert faces.shares({"even": Looks(torch.ones(4, 4))}, None).empty
