"""What a page trains while the book is built."""

import pytest
import torch

from at_repro.records import Store
from at_repro.report import live_training


@pytest.fixture
def now(few_test_images, monkeypatch, tmp_path):
    """What is trained on a few images, its temporary files in a folder of the test."""
    monkeypatch.setattr(live_training, "IMAGES", 64)
    monkeypatch.setattr(live_training, "EPOCHS", 1)
    monkeypatch.setattr(live_training.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("AT_REPRO_TRAIN", "never")  # which is about records
    return lambda: live_training.train_now("cpu")


def test_a_page_trains_a_student_with_and_without_at_and_leaves_nothing(now, tmp_path):
    trained = now()
    assert list(trained.maps) == ["teacher", "student", "AT"]
    assert all(maps.shape == (live_training.EXAMPLES, 8, 8) for maps in trained.maps.values())
    assert not torch.equal(trained.maps["AT"], trained.maps["student"]), "it was not taught"
    assert set(trained.curves["column"]) == {"student", "AT"} and "64 generated images, 1 epochs" in trained.stamp
    assert list(tmp_path.iterdir()) == []


def test_without_a_recorded_teacher_the_plain_student_is_alone(now, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(live_training, "open_store", lambda preset: Store(tmp_path_factory.mktemp("empty")))
    trained = now()
    assert list(trained.maps) == ["student"] and set(trained.curves["column"]) == {"student"}
