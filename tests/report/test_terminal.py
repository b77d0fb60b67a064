"""Tables of the command line, on a store made by hand."""

import pytest

from at_repro.errors import UserError
from at_repro.experiments import EXPERIMENTS, Experiment
from at_repro.report import terminal
from at_repro.runs import Run


def test_images_that_nobody_has_counted_take_a_time_that_nobody_knows(monkeypatch):
    own = Experiment("own", "ours", lambda preset, seed: {"network": Run("wrn-10-1", 1, dataset="photos@64")})
    monkeypatch.setitem(EXPERIMENTS, "own", own)
    lines = terminal.experiments().splitlines()
    assert " ".join(lines[-4].split()).startswith("smoke 1 runs, 1 seed, unknown time (")


def test_status_of_every_kind(store, small, hand_made):
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
    text = terminal.status([small["at"], replace(small["at"], seed=1), small["kd"]], store)
    rows = [line.split(maxsplit=1) for line in text.splitlines()]
    assert [(run_id, " ".join(rest.split())) for run_id, rest in rows[:-1]] == [
        (small["teacher"].run_id, "recorded test error 25.00 %"),
        (small["at"].run_id, "missing 3 epochs"),
        (replace(small["at"], seed=1).run_id, "recorded diverged in epoch 2"),
        (small["kd"].run_id, "in progress 1 of 3 epochs"),
    ]
    assert text.splitlines()[-1] == f"2 recorded, 1 missing, 1 in progress in {store.folder}"


def test_a_checkpoint_that_cannot_be_read_is_one_line(store, small):
    store.checkpoint_path(small["student"]).write_bytes(b"cut")
    with pytest.raises(UserError) as raised:
        terminal.status([small["student"]], store)
    assert str(store.checkpoint_path(small["student"])) in str(raised.value) and "\n" not in str(raised.value)
