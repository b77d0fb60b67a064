"""What changed from one network to another, on predictions and maps typed by hand."""

import math

import pandas as pd
import pytest
import torch
from torch import nn

from at_repro import data
from at_repro.analysis import before_after
from at_repro.networks import Output

LABELS = [0, 1, 2, 3, 4]


class Predicted:
    """A record of which only the predictions are asked for."""

    def __init__(self, *predictions: int):
        self.frame = pd.DataFrame({"label": LABELS, "prediction": predictions})

    def predictions(self) -> pd.DataFrame:
        return self.frame


class Fixed(nn.Module):
    """Has the same activations (C, H, W) at every level for each image."""

    def __init__(self, activations: torch.Tensor):
        super().__init__()
        self.activations = activations

    def forward(self, images):
        group = self.activations.expand(len(images), -1, -1, -1)
        return Output(torch.zeros(len(images), 10), (group, group, group))


LEFT, RIGHT = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
LEFT[0, :, 0], RIGHT[0, :, 1] = 3.0, 5.0


@pytest.fixture(scope="module")
def images():
    return data.load("shapes", "test", subset=5)


def test_every_image_is_in_the_group_of_what_became_of_it():
    before, after = Predicted(0, 9, 2, 9, 9), Predicted(0, 1, 8, 8, 4)
    assert before_after.changed(before, after) == {
        "newly right": [1, 4], "newly wrong": [2], "right in both": [0], "wrong in both": [3],
    }  # fmt: skip


def test_answers_are_names_of_classes_in_the_order_of_the_places(images):
    found = before_after.answers({"student": Predicted(0, 9, 2, 9, 9), "AT": Predicted(0, 1, 8, 8, 4)}, images, [4, 1])
    name = images.classes
    assert found.to_dict("list") == {"student": [name[9], name[9]], "AT": [name[4], name[1]]}
    assert found.index.tolist() == [name[images.labels[4]], name[images.labels[1]]]


def test_attention_that_moves_from_left_to_right_is_more_there_and_less_here(images):
    """Normalised, two of four places have 1 / sqrt 2 each, however large the activations were."""
    rows = before_after.moved_rows(Fixed(LEFT), Fixed(RIGHT), images, level=1)
    half = 1 / math.sqrt(2)
    torch.testing.assert_close(rows["moved"][3], torch.tensor([[-half, half], [-half, half]]))


def test_movement_is_a_distance_per_image_and_group(images, monkeypatch):
    """Disjoint maps are sqrt 2 apart, and a network is nowhere from itself."""
    places = {"newly right": [0, 4], "newly wrong": []}
    found = before_after.movement(Fixed(LEFT), Fixed(RIGHT), images, places)
    assert found["became"].tolist() == ["newly right"] * 6, "two images at three levels, and none of the other group"
    assert found["level"].tolist() == ["low"] * 2 + ["middle"] * 2 + ["top"] * 2
    assert found["distance"].tolist() == pytest.approx([math.sqrt(2)] * 6)
    maps = iter(([torch.stack([LEFT[0], RIGHT[0]])], [torch.stack([LEFT[0], LEFT[0]])]))
    monkeypatch.setattr(before_after.network_maps, "maps", lambda *_: next(maps))
    found = before_after.movement(None, None, images, {"right in both": [1], "wrong in both": [0]})
    assert found["distance"].tolist() == pytest.approx([math.sqrt(2), 0]), "each group has the distances of its images"


class Opened:
    """A study of a plain student and one with KD, whose attention moves from left to right."""

    stamp = "seed 0"

    def __init__(self, images, **predictions: tuple[int, ...]):
        self.images = images
        self.records = {name: Predicted(*classes) for name, classes in predictions.items()}

    def networks(self, *columns):
        known = {"student": Fixed(LEFT), "KD": Fixed(RIGHT)}
        return {name: known[name] for name in columns if name in self.records} if self.images else {}

    def first(self, column):
        return self.records[column]


def test_the_first_images_of_a_group_are_shown_with_their_maps_and_what_moved(images):
    transfer = before_after.Transfer(Opened(images, student=(0, 9, 2, 9, 9), KD=(0, 1, 8, 8, 4)), "KD")
    shown, rows = transfer.images("newly right", 1), transfer.rows("newly right", 1, level=2)
    assert torch.equal(shown.images, images.images[[1]])
    assert list(rows) == ["student", "KD", "moved"] and {len(maps) for maps in rows.values()} == {1}
    torch.testing.assert_close(rows["KD"][0], 25 * torch.tensor([[0.0, 1], [0, 1]]))
    assert transfer.answers("newly right", 1).to_dict("list") == {
        "student": [images.classes[9]], "KD": [images.classes[1]],
    }  # fmt: skip
    assert transfer.movement().groupby("became")["distance"].mean()["newly right"] == pytest.approx(math.sqrt(2))
    assert transfer.note("newly right") == "seed 0"


def test_every_method_is_shown_beside_the_one_that_is_compared(images, monkeypatch):
    opened = Opened(images, student=(0, 9, 2, 9, 9), AT=(0, 9, 2, 9, 9), KD=(0, 1, 8, 8, 4))
    monkeypatch.setattr(opened, "networks", lambda *columns: {n: Fixed(LEFT) for n in columns if n in opened.records})
    transfer = before_after.Transfer(opened, "KD")
    assert list(transfer.rows("newly right", 1, level=0)) == ["student", "KD", "AT", "moved"]
    assert list(transfer.answers("newly right", 1)) == ["student", "KD", "AT"]


def test_a_group_without_images_says_so(images):
    transfer = before_after.Transfer(Opened(images, student=(0, 1, 2, 3, 9), KD=(0, 1, 2, 3, 4)), "KD")
    assert transfer.images("newly wrong", 8) is None and transfer.rows("newly wrong", 8, level=0) == {}
    assert transfer.note("newly wrong") == "no image is newly wrong"


@pytest.mark.parametrize("predictions", [{}, {"student": (0, 1, 2, 3, 4)}, {"KD": (0, 1, 2, 3, 4)}])
def test_without_both_students_there_is_nothing_to_show(images, predictions):
    transfer = before_after.Transfer(Opened(images, **predictions), "KD")
    assert (transfer.places, transfer.rows("newly right", 8, 0), transfer.movement()) == ({}, {}, None)
    assert transfer.images("newly right", 8) is None and transfer.answers("newly right", 8) is None
    assert transfer.note("newly right") == "seed 0"
