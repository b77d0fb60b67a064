"""Checkpoints: a run goes on at its step, whatever stopped it, and what is on disk is whole or refused."""

import json
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from filelock import FileLock
from noisy import Noisy
from safetensors import safe_open

from at_repro import data, files, networks
from at_repro.errors import UserError
from at_repro.records import Store, checkpoint_file
from at_repro.training import Progress, Student, checkpointer, train
from at_repro.training.checkpointer import Checkpointer

pytestmark = pytest.mark.slow

STEPS = 3  # of an epoch: 24 images


def test_a_signal_to_another_process_ends_this_one_at_any_save():
    """At the end of an epoch as well: it went on into a step in which it waited for the one that was gone."""
    ranks = Mock(first=False)
    ranks.largest.return_value = 1.0
    with pytest.raises(KeyboardInterrupt):
        Checkpointer(None, ranks).save([Mock()])


class Signal(Progress):
    """Sends this process a signal after a step, once: as a person does who presses Ctrl-C."""

    def __init__(self, stream, number: int, after: int):
        super().__init__(stream)
        self.number, self.after, self.steps = number, after, 0

    def step(self, *_):
        self.steps += 1
        if self.steps == self.after:
            signal.raise_signal(self.number)


@pytest.fixture
def runs(small):
    """A student without and one with a teacher, in one cohort: three steps an epoch, two epochs."""
    return [replace(small[name], batch_size=8, epochs=2) for name in ("student", "at+kd")]


@pytest.fixture
def whole(runs, kept, quiet):
    """The records of the same runs, never stopped."""
    train(runs, kept, device="cpu", progress=quiet)
    return kept


def same(one: Store, other: Store, runs) -> bool:
    """Weights and predictions byte for byte, and all of the curve but its seconds."""
    for run in runs:
        first, second = one.load(run), other.load(run)
        for name in ("weights.safetensors", "predictions.csv", "spec.json"):
            if (first.folder / name).read_bytes() != (second.folder / name).read_bytes():
                return False
        if not first.epochs().drop(columns="seconds").equals(second.epochs().drop(columns="seconds")):
            return False
    return True


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("after", [1, STEPS, 2 * STEPS - 1, 2 * STEPS])  # each signal, and at the end of each epoch
def test_a_signal_waits_for_the_step_and_the_run_goes_on_there(runs, taught, whole, quiet, after):
    number = files.SIGNALS[after % 3]
    handlers = [signal.getsignal(one) for one in files.SIGNALS]
    with pytest.raises(KeyboardInterrupt):
        train(runs, taught, device="cpu", progress=Signal(quiet.stream, number, after))
    assert [signal.getsignal(one) for one in files.SIGNALS] == handlers, "the handlers were not given back"
    progress = Signal(quiet.stream, number, 0)
    train(runs, taught, device="cpu", progress=progress)
    assert progress.steps == 2 * STEPS - after, "a finished step was trained again, or one was left out"
    assert same(taught, whole, runs)


@pytest.mark.parametrize("saved", [1, 3, 4, 7])  # no checkpoint; a step apart; equal, and one joins; an epoch apart
def test_members_that_stand_at_different_steps_catch_up(runs, small, taught, whole, quiet, monkeypatch, saved):
    """Killed between the checkpoints of two members; then somebody joins who has not begun."""

    class Killed(Exception):
        pass

    save, paths = Student.save, []

    def save_and_die(self, path):
        save(self, path)
        paths.append(path)
        if len(paths) == saved:
            raise Killed

    monkeypatch.setattr(checkpointer, "INTERVAL", -1.0)  # a checkpoint after every step
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Student, "save", save_and_die)
        train(runs, taught, device="cpu", progress=quiet)
    joins = replace(small["kd"], batch_size=8, epochs=2)
    train([*runs, joins], taught, device="cpu", progress=quiet)
    assert same(taught, whole, runs) and not any(taught.checkpoint_path(run).exists() for run in [*runs, joins])


def test_a_member_that_has_its_record_already_is_not_missed(runs, taught, whole, quiet):
    with pytest.raises(KeyboardInterrupt):
        train(runs, taught, device="cpu", progress=Signal(quiet.stream, signal.SIGTERM, 4))
    done = taught.record_path(runs[0])
    shutil.copytree(whole.record_path(runs[0]), done)
    train(runs, taught, device="cpu", progress=quiet)
    assert same(taught, whole, runs)


def test_checkpoints_come_every_few_minutes(runs, taught, quiet, monkeypatch):
    """The clock is the test's own: no test waits."""
    now, saves = [0.0], []

    class Minutes(Progress):
        def step(self, *_):
            now[0] += 100.0

    monkeypatch.setattr(checkpointer.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Student, "save", lambda self, path: saves.append((self.epoch, self.step)))
    train(runs[:1], taught, device="cpu", progress=Minutes(quiet.stream))
    assert saves == [(0, 2), (1, 0), (1, 2), (2, 0)], "after 200 of 180 seconds, and at the ends of epochs"


def test_a_second_signal_does_not_wait(store):
    reached = []
    with pytest.raises(KeyboardInterrupt), Checkpointer(store):
        signal.raise_signal(signal.SIGINT)
        reached.append("the first is noted")
        signal.raise_signal(signal.SIGTERM)
        reached.append("the second is noted")
    assert reached == ["the first is noted"]


def test_a_signal_after_the_last_save_is_not_forgotten(store):
    """Else the next cohort would begin, for hours."""
    reached = []
    with pytest.raises(KeyboardInterrupt), Checkpointer(store):
        signal.raise_signal(signal.SIGINT)
        reached.append("the end")
    assert reached == ["the end"]


def test_training_outside_of_the_main_thread(runs, taught, quiet):
    """Only the main thread may set handlers of signals; a notebook's library may train in another."""
    thread = threading.Thread(target=train, args=(runs[:1], taught), kwargs={"device": "cpu", "progress": quiet})
    thread.start()
    thread.join()
    assert taught.has(runs[0])


@pytest.fixture
def stopped(runs, taught, kept, quiet):
    """The path of the checkpoint of a run that was stopped in its second epoch."""
    once, path = kept.folder / "stopped.safetensors", taught.checkpoint_path(runs[0])
    if not once.exists():
        with pytest.raises(KeyboardInterrupt):
            train(runs[:1], taught, device="cpu", progress=Signal(quiet.stream, signal.SIGINT, 4))
        shutil.copy(path, once)
    return Path(shutil.copy(once, path))


def test_what_a_network_draws_depends_on_neither_company_nor_stops(runs, store, tmp_path, quiet, monkeypatch):
    """Else a seed would stand for many trainings."""
    monkeypatch.setitem(networks.registry._REGISTERED, "noisy", Noisy)
    networks.registry._outline.cache_clear()
    plain, other = replace(runs[0], network="noisy"), replace(runs[0], network="noisy", learning_rate=0.05)
    train([other, plain], store, device="cpu", progress=quiet)
    alone = Store(tmp_path / "alone", writable=True)
    with pytest.raises(KeyboardInterrupt):
        train([plain], alone, device="cpu", progress=Signal(quiet.stream, signal.SIGINT, 4))
    torch.rand(3)
    train([plain], alone, device="cpu", progress=quiet)
    one, again = (of.load(plain).weights() for of in (store, alone))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(store.load(other).weights()["fc.weight"], one["fc.weight"])


def refuse(*_):
    raise UserError("the disk is full")


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_checkpoint_is_refused(runs, taught, quiet, stopped, damage, place):
    """Else a flipped bit would be trained on and end in a record whose checksums are right."""
    content = bytearray(stopped.read_bytes())
    position = int(place * len(content))
    content[position] ^= 1
    stopped.write_bytes(content if damage == "flip" else content[:position])
    with pytest.raises(UserError) as raised:
        train(runs[:1], taught, device="cpu", progress=quiet)
    assert str(stopped) in str(raised.value) and "delete it to start" in str(raised.value)
    assert "\n" not in str(raised.value) and not taught.has(runs[0])


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        (b'"precision":"fp32"', b'"precision":"fp33"'),
        (b'"precision":"fp32"', b'"prfcision":"fp32"'),
        (b'"curve"', b'"cusve"'),
    ],
)
def test_a_checkpoint_without_what_is_read_first_is_refused(runs, taught, quiet, stopped, part, damage):
    """Before the checksum, to tell which runs can go on together, and how far they are."""
    content = stopped.read_bytes()
    stopped.write_bytes(content.replace(part, damage))
    with pytest.raises(UserError, match="delete it to start"):
        checkpoint_file.read_header(stopped)
    assert stopped.read_bytes() != content
    with pytest.raises(UserError, match="delete it to start"):
        train(runs[:1], taught, device="cpu", progress=quiet)
    assert not taught.has(runs[0])


def test_a_checkpoint_that_may_not_be_read_is_not_said_to_be_damaged(runs, taught, quiet, stopped, monkeypatch):
    """Its owner would delete days of work."""

    def refuse(path, framework):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint_file, "safe_open", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\); nothing says that it is damaged$"):
        train(runs[:1], taught, device="cpu", progress=quiet)


@pytest.mark.parametrize("more", [(), ("another",)])
def test_a_run_is_not_continued_on_other_images(runs, taught, quiet, stopped, monkeypatch, more):
    """Where there is another class the checkpoint's last layer does not fit: that shall not be what the user reads."""
    load = data.load

    def other(*given, **named):
        images = load(*given, **named)
        return replace(images, images=255 - images.images, classes=(*images.classes, *more))

    monkeypatch.setattr(data, "load", other)
    with pytest.raises(UserError, match="was begun on other images"):
        train(runs[:1], taught, device="cpu", progress=quiet)


def test_a_full_disk_ends_in_one_line_and_the_last_checkpoint_stays(runs, taught, whole, quiet, stopped, monkeypatch):
    before, write = stopped.read_bytes(), Path.write_bytes

    def full(self, content):
        write(self, content[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError) as raised:
        patch.setattr(Path, "write_bytes", full)
        train(runs[:1], taught, device="cpu", progress=quiet)
    assert "No space left on device" in str(raised.value) and "\n" not in str(raised.value)
    assert stopped.read_bytes() == before
    assert not list(taught.in_progress.glob("*.tmp")), "what was half written takes room"
    train(runs[:1], taught, device="cpu", progress=quiet)
    assert same(taught, whole, runs[:1])


def test_a_record_tells_who_trained_it(runs, taught, quiet, stopped, monkeypatch):
    """A run that was continued elsewhere is not from the last machine alone."""
    from at_repro.training import provenance

    threads = provenance.environment(torch.device("cpu"))["threads"]
    monkeypatch.setattr(provenance, "commit", lambda: "another")
    train(runs[:1], taught, device="cpu", progress=quiet)
    values = taught.load(runs[0]).values
    first, last = values["sessions"]
    assert values["environment"]["commit"] == "another" and first["commit"] != "another"
    assert taught.load(runs[0]).commits == [first["commit"], "another"]
    assert "threads" not in first and values["environment"]["threads"] == threads, "what was the same is told once"
    assert set(last) == {"epoch", "step", "seconds"} and (last["epoch"], last["step"]) == (1, 1)
    assert values["seconds"] == pytest.approx(first["seconds"] + last["seconds"])
    assert values["seconds"] == pytest.approx(taught.load(runs[0]).epochs()["seconds"].sum(), rel=1e-4)


def test_a_run_without_momentum_can_be_stopped(runs, store, quiet):
    run = replace(runs[0], momentum=0.0)
    with pytest.raises(KeyboardInterrupt):
        train([run], store, device="cpu", progress=Signal(quiet.stream, signal.SIGINT, 1))
    train([run], store, device="cpu", progress=quiet)
    assert store.has(run)


def test_what_dead_processes_left_is_removed(runs, taught, whole, quiet, stopped):
    """And nothing that somebody alive holds, or that is still of use."""
    dead, recorded, alive = runs[0], runs[1], replace(runs[0], seed=7)
    for run in (dead, recorded, alive):
        (taught.in_progress / f"writing-{run.run_id}-abc").mkdir()
        (taught.in_progress / f".{run.run_id}.safetensors.tmp").write_text("half")
        taught.lock_path(run).touch()
    shutil.copytree(whole.record_path(recorded), taught.record_path(recorded))
    taught.checkpoint_path(recorded).write_text("of no use any more")
    with FileLock(taught.lock_path(alive)):
        train([recorded], taught, device="cpu", progress=quiet)
    left = {path.name for path in taught.in_progress.iterdir()}
    of_alive = {f"{alive.run_id}.lock", f".{alive.run_id}.safetensors.tmp", f"writing-{alive.run_id}-abc"}
    assert left == {stopped.name, f"{dead.run_id}.lock"} | of_alive


def test_nothing_is_left_when_all_is_recorded(whole):
    assert list(whole.in_progress.iterdir()) == []


def test_the_checkpoint_of_a_damaged_record_stays(runs, taught, whole, stopped, quiet):
    shutil.copytree(whole.record_path(runs[0]), taught.record_path(runs[0]))
    (taught.record_path(runs[0]) / "epochs.csv").write_text("")
    train([], taught, device="cpu", progress=quiet)
    assert stopped.exists() and json.loads(safe_open(stopped, "pt").metadata()["step"]) == 1
