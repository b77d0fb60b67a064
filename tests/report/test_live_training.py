"""What a page trains while the book is built."""

from at_repro.report import live_training


def test_a_page_trains_a_student_with_and_without_at_and_leaves_nothing(few_test_images, monkeypatch, tmp_path):
    monkeypatch.setattr(live_training, "IMAGES", 64)
    monkeypatch.setattr(live_training, "EPOCHS", 1)
    monkeypatch.setattr(live_training.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("AT_REPRO_TRAIN", "never")  # which is about records
    now = live_training.train_now("cpu")
    assert list(now.maps) == ["teacher", "student", "AT"]
    assert all(maps.shape == (live_training.SHOWN, 8, 8) for maps in now.maps.values())
    assert set(now.curves["column"]) == {"teacher", "student", "AT"} and "64 generated images, 1 epochs" in now.stamp
    assert list(tmp_path.iterdir()) == []
