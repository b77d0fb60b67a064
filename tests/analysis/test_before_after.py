"""What changed from one network to another, on predictions and maps typed by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from fixed_maps import Fixed

from at_repro import data
from at_repro.analysis import before_after, map_statistics

LEFT, RIGHT = torch.tensor([[9.0, 0], [9, 0]]), torch.tensor([[0, 25.0], [0, 25]])
BEFORE, AFTER = (0, 9, 2, 9, 9), (0, 1, 8, 8, 4)  # of classes 0 to 4


class Opened:
    """A study of a plain student and one with KD, whose attention moves from left to right."""

    def __init__(self, images, **predictions: tuple[int, ...] | None):
        self.images, self.records = images, predictions

    def networks(self, *columns):
        known = {"student": Fixed(LEFT, LEFT, LEFT), "KD": Fixed(RIGHT, RIGHT, RIGHT)}
        return {name: known[name] for name in columns if self.records.get(name)} if self.images else {}

    def first(self, column):
        predictions = self.records[column]
        mistakes = np.array(predictions or range(5)) != np.arange(5)
        return SimpleNamespace(diverged=predictions is None, mistakes=lambda: mistakes)


@pytest.fixture(scope="module")
def images():
    return data.load("shapes", "test", subset=5)


def test_every_image_is_counted_by_what_became_of_it(images):
    assert before_after.outcomes(Opened(images, student=BEFORE, KD=AFTER), "KD") == {
        "newly right": [1, 4], "newly wrong": [2], "right in both": [0], "wrong in both": [3],
    }  # fmt: skip


def test_the_first_images_of_an_outcome_are_shown_with_their_maps_and_what_moved(images):
    """Normalised, two of four positions have 1 / sqrt 2 each, however large the activations were."""
    study = Opened(images, student=BEFORE, KD=AFTER)
    chosen = before_after.images(study, "KD", "newly right", 1)
    assert torch.equal(chosen.images, images.images[[1]])
    rows, half = before_after.rows(study, "KD", chosen), 1 / math.sqrt(2)
    assert list(rows) == ["student", "KD", "moved"]
    torch.testing.assert_close(rows["KD"][0], RIGHT)
    torch.testing.assert_close(rows["moved"][0], torch.tensor([[-half, half], [-half, half]]))


def test_movement_is_a_distance_per_image_and_outcome(images):
    """Disjoint maps are sqrt 2 apart; one image has no interval."""
    moved = before_after.movement(Opened(images, student=BEFORE, KD=AFTER), "KD", 1)
    assert list(moved.index) == ["newly right", "newly wrong", "right in both", "wrong in both"]
    assert list(moved) == ["low", "middle", "top"]
    assert (moved == "1.414 ± nan").all(axis=None), "one image each, as asked"


def test_movement_stands_with_the_interval_that_figures_draw(images, monkeypatch):
    """1.96 standard errors: of 1, 2 and 3 the deviation is 1, so 1.96 / sqrt 3 = 1.132."""
    rows = [("KD", level, value) for level in ("low", "top") for value in (1.0, 2.0, 3.0)]
    frame = pd.DataFrame([*rows, ("student", "low", 9.0)], columns=["network", "level", "value"])
    monkeypatch.setattr(map_statistics, "tabulate", lambda *_: frame)
    moved = before_after.movement(Opened(images, student=BEFORE, KD=AFTER), "KD", 3)
    assert (moved == "2.000 ± 1.132").all(axis=None) and list(moved) == ["low", "top"]


@pytest.mark.parametrize("predictions", [{}, {"student": BEFORE}, {"KD": AFTER}, {"student": BEFORE, "KD": None}])
def test_without_both_students_there_is_nothing_to_show(images, predictions):
    study = Opened(images, **predictions)
    assert before_after.outcomes(study, "KD") == {} == before_after.rows(study, "KD", images)
    assert before_after.images(study, "KD", "newly right", 8) is None
    assert before_after.movement(study, "KD", 8).empty
    assert before_after.rows(Opened(None, student=BEFORE, KD=AFTER), "KD", None) == {}
