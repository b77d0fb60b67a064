"""Where on a face: boxes and shares whose answer is known."""

import pytest
import torch
from torch import nn

from at_repro.analysis import faces
from at_repro.data import ImageSet
from at_repro.networks import Output


@pytest.fixture
def images():
    pictures = torch.zeros(2, 3, 50, 50, dtype=torch.uint8)
    return ImageSet(faces.DATASET, "test", pictures, torch.tensor([0, 1]), ("a", "b"))


class Looks(nn.Module):
    """A network whose one group is the same picture for every image."""

    def __init__(self, group):
        super().__init__()
        self.group = group

    def forward(self, images):
        group = self.group.expand(len(images), 1, *self.group.shape)
        return Output(torch.zeros(len(images), 2), (group,))


def test_a_box_covers_the_pixels_whose_middle_it_holds():
    """Of 50 rows those whose middle (i + 0.5) / 50 is between 0.38 and 0.54 are 19 to 26; columns 7 to 42."""
    box = faces.mask("eyes", 50, 50)
    assert box[19:27, 7:43].all() and box.sum() == 8 * 36


def test_boxes_do_not_overlap_and_make_up_the_parts(images):
    boxes = torch.stack([faces.mask(part, 50, 50) for part in faces.PARTS])
    assert boxes.sum(0).max() == 1
    assert faces.parts(images).shape == (2, 50, 50) and torch.equal(faces.parts(images)[1], boxes.any(0))


def test_an_even_map_gives_every_part_what_is_its_due(images):
    found = faces.shares({"even": Looks(torch.ones(50, 50))}, images)
    assert list(found["part"].unique()) == ["eyes", "nose", "mouth", "all parts"]
    assert found["share"].tolist() == pytest.approx([100] * 4 * len(images), rel=1e-5), "a row per image"


def test_a_map_that_sees_eyes_alone_gives_them_all(images):
    """The eyes are 288 of 2,500 pixels: all of the mass there is 100 * 2500 / 288 percent of an even map's."""
    found = faces.shares({"eyes": Looks(faces.mask("eyes", 50, 50).float())}, images).groupby("part")["share"].mean()
    assert found["eyes"] == pytest.approx(100 * 2500 / 288) and found["nose"] == found["mouth"] == 0
    assert found["all parts"] == pytest.approx(100 * 2500 / faces.parts(images)[0].sum().item())


def test_nothing_without_images():
    assert faces.shares({"even": Looks(torch.ones(4, 4))}, None).empty
