"""How attention transfer works, drawn with the maps of trained networks."""

import numpy as np
import pytest
import torch
from figure_inputs import STAMP, texts
from matplotlib.figure import Figure

from at_repro.report import figures


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(picture.get_array()) for picture in figure.axes[0].images]


def test_transfer_shows_maps_their_differences_and_their_distances(images):
    """(3, 4) has the map (9, 16), and (4, 3) has (16, 9): divided by sqrt 337, 7 / sqrt 337 apart at either place."""
    one, other = torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([[[[4.0, 3.0]]]])
    figure = figures.transfer(images, {"teacher": [one], "student": [other], "AT": [one]}, STAMP)
    image, taught, own, difference = pictures(figure)
    assert np.array_equal(image, images.images[0].permute(1, 2, 0))
    assert taught.tolist() == [[9, 16]] and own.tolist() == [[16, 9]]
    assert difference.tolist() == [pytest.approx([7 / 337**0.5] * 2)]
    assert "0.54 → 0.00" in texts(figure)
    large = one.repeat_interleave(2, 2).repeat_interleave(2, 3)
    of_two_sizes = figures.transfer(images, {"teacher": [large], "student": [other], "AT": [one]}, STAMP)
    assert pictures(of_two_sizes)[-1].tolist() == [pytest.approx([7 / 337**0.5] * 2)], "as the loss compares them"


def test_mappings_show_the_strongest_channel_in_front_and_a_map_per_function():
    activations = torch.tensor([[[[1.0, 0.0]], [[-2.0, 3.0]]]])
    figure = figures.mappings([activations], STAMP)
    shown = [picture.tolist() for picture in pictures(figure)]
    maps = [[[3, 3]], [[5, 9]], [[17, 81]], [[2, 3]], [[4, 9]]]  # sum-1, sum-2, sum-4, max-1 and max-2
    assert shown == [[[1, 0]], [[2, 3]], *maps], "behind, in front, and the maps"
    assert "2 channels" in texts(figure)


def test_pairing_compares_the_ends_of_groups():
    """The student's second block and the teacher's third: nothing in common, a distance of sqrt 2."""
    left, right = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    figure = figures.pairing({"student": [[right, left]], "teacher": [[left, left, right]]}, STAMP)
    assert len(pictures(figure)) == 5
    assert {"student, 2 blocks", "teacher, 3 blocks", "group 1: distance 1.41"} <= set(texts(figure))
