"""The size at which networks with ImageNet weights see images, and the names of what they see."""

import torch
from torch import nn

from at_repro.networks import ResizeInput, imagenet


def test_categories_are_in_the_order_of_the_logits():
    """Numbers of the ILSVRC 2012 list."""
    assert len(imagenet.CATEGORIES) == 1000
    assert [imagenet.CATEGORIES[place] for place in (0, 146, 999)] == ["tench", "albatross", "toilet tissue"]


def test_a_network_sees_images_at_its_own_side():
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(ResizeInput(nn.Identity(), 16)(images), images), "of its resolution already: as they are"
    assert ResizeInput(nn.Identity(), 224)(images).shape == (2, 3, 224, 224)
    # Pixels are areas: the new ones lie at 1/4 and 3/4 of the way from centre to centre, the outermost are repeated.
    ramp = torch.tensor([0.0, 4.0]).expand(1, 1, 2, 2)
    assert ResizeInput(nn.Identity(), 4)(ramp)[0, 0, 0].tolist() == [0, 1, 3, 4]
    half = ResizeInput(nn.Identity(), 1)(ramp)
    assert half.item() == 2, "smaller: averaged, not sampled"
