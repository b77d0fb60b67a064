"""Tables of the command line, on a store made by hand."""

import pytest
from torchvision import datasets

from at_repro import data
from at_repro.errors import UserError
from at_repro.experiments import EXPERIMENTS, Experiment
from at_repro.records import Record
from at_repro.report import terminal
from at_repro.runs import Run


def test_images_that_nobody_has_counted_take_a_time_that_nobody_knows(monkeypatch):
    own = Experiment("own", "ours", lambda preset, seed: {"network": Run("wrn-10-1", 1, dataset="photos@64")})
    monkeypatch.setitem(EXPERIMENTS, "own", own)
    lines = terminal.experiments().splitlines()
    assert " ".join(lines[-4].split()).startswith("smoke 1 runs, 1 seed, unknown time (")


def test_status_of_every_kind(store, small, hand_made, monkeypatch):
    from dataclasses import replace

    import torch

    from at_repro.training import Student

    hand_made(small["teacher"])
    hand_made(replace(small["at"], seed=1), diverged=2, final={"test_error": None, "train_error": None})
    student = Student(small["kd"], 10, torch.device("cpu"), "fp32")
    sum(parameter.sum() for parameter in student.network.parameters()).backward()
    student.optimizer.step()
    student.end_epoch({"train_loss": 1.0})
    student.save(store.checkpoint_path(small["kd"]))
    monkeypatch.setattr(Record, "measured_on", lambda record, images: True)
    text = terminal.status([small["at"], replace(small["at"], seed=1), small["kd"]], store)
    rows = [line.split(maxsplit=1) for line in text.splitlines()]
    assert [(run_id, " ".join(rest.split())) for run_id, rest in rows[:-1]] == [
        (small["teacher"].run_id, "recorded test error 25.00 %"),
        (small["at"].run_id, "missing 3 epochs"),
        (replace(small["at"], seed=1).run_id, "recorded diverged in epoch 2"),
        (small["kd"].run_id, "in progress 1 of 3 epochs"),
    ]
    assert text.splitlines()[-1] == f"2 recorded, 1 missing, 1 in progress in {store.folder}"


def test_status_warns_of_records_of_other_images(store, small, hand_made):
    """Their errors stand beside errors on other images, and nobody would see it."""
    other = hand_made(small["student"])
    images = data.load("shapes", "test")
    hand_made(small["teacher"], data={"train": "0" * 64, "test": images.fingerprint})
    lines = terminal.status([small["student"], small["teacher"]], store).splitlines()
    assert lines[2] == f"warning: {other.run.run_id} was measured on other images than those at hand"
    assert len(lines) == 4, "the teacher's images are those at hand"


def test_status_downloads_nothing(store, hand_made, tmp_path, monkeypatch):
    monkeypatch.setenv("AT_REPRO_DATA", str(tmp_path))
    monkeypatch.setattr(datasets.CIFAR10, "download", None)
    hand_made(Run("wrn-10-1", epochs=1))
    assert len(terminal.status([Run("wrn-10-1", epochs=1)], store).splitlines()) == 2


def test_a_checkpoint_that_cannot_be_read_is_one_line(store, small):
    store.checkpoint_path(small["student"]).write_bytes(b"cut")
    with pytest.raises(UserError) as raised:
        terminal.status([small["student"]], store)
    assert str(store.checkpoint_path(small["student"])) in str(raised.value) and "\n" not in str(raised.value)
