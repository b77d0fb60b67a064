"""Tables of the command line, on a store made by hand."""

from dataclasses import replace

import torch

from at_repro import data
from at_repro.experiments import EXPERIMENTS, Experiment
from at_repro.report import terminal_output
from at_repro.runs import Run


def test_images_that_nobody_has_counted_take_a_time_that_nobody_knows(monkeypatch):
    own = Experiment("own", "ours", lambda preset, seed: {"network": Run("wrn-10-1", 1, dataset="photos@64")})
    monkeypatch.setitem(EXPERIMENTS, "own", own)
    lines = terminal_output.experiments().splitlines()
    assert " ".join(lines[-4].split()).startswith("smoke 1 run, 1 seed, unknown time (")


def test_status_of_every_kind(store, small, hand_made):
    from at_repro.training import Student

    hand_made(small["teacher"])
    hand_made(replace(small["at"], seed=1), diverged=2)
    student = Student(small["kd"], 10, torch.device("cpu"), "fp32")
    sum(parameter.sum() for parameter in student.network.parameters()).backward()
    student.optimizer.step()
    student.end_epoch({"train_loss": 1.0})
    student.save(store.checkpoint_path(small["kd"]))
    text, damages = terminal_output.status([small["at"], replace(small["at"], seed=1), small["kd"]], store)
    assert not damages
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
    text, (damage,) = terminal_output.status([small["student"]], store)
    assert text.startswith(f"{small['student'].run_id}  damaged")
    assert str(store.checkpoint_path(small["student"])) in str(damage) and "\n" not in str(damage)


def test_names_from_files_say_nothing_to_the_terminal(monkeypatch):
    """A class may be called as a terminal's command, or as no text at all."""
    zeros = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images = data.ImageSet("photos@8", "train", zeros, torch.arange(2), ("\x1b[2J", "caf\udce9"))
    monkeypatch.setattr(data, "describe", lambda name, root: data.Description({"train": images}))
    text, whole = terminal_output.data_sets(names=["photos@8"])
    assert whole and text.splitlines()[-1].strip() == "1 \\x1b[2J, 1 caf\\udce9"
