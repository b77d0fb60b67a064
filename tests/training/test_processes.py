"""Several processes on one batch: what is learnt is what one process learns from all of it."""

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from ranks import together

from at_repro.data import shapes
from at_repro.errors import ParameterError
from at_repro.records import Store
from at_repro.runs import ActivationTransfer, Distillation, FullActivation, GradientTransfer, Run, SymmetryNorm
from at_repro.training import Student, checkpointer, processes, train
from at_repro.training.checkpointer import Checkpointer
from at_repro.training.processes import ALONE, Ranks

pytestmark = pytest.mark.slow

# Without batch norm, whose statistics are of a process's own images; 40 images are a batch of 32 and one of 8.
SPEC = {"dataset": "shapes", "subset": 40, "batch_size": 32, "precision": "fp32", "learning_rate": 0.01}
TEACHER = Run("nin-thin-nobn", epochs=1, **SPEC)
STUDENTS = [
    Run("nin-thin-nobn", epochs=2, terms=terms, teacher=TEACHER, **SPEC)
    for terms in ((ActivationTransfer(),), (ActivationTransfer(form="paper", beta=0.1), Distillation()))
]
CURVES = ["train_loss", "train_error", "test_loss", "test_error"]


def trained(results: Path, interval: float = 180.0, stop: int | None = None) -> None:
    """In each process, the second of which gets a signal in step number `stop`."""
    shapes.SIZES["test"] = 20
    checkpointer.INTERVAL = interval
    steps, after_step = [], Checkpointer.after_step

    def stopped(self: Checkpointer, students: list[Student]) -> None:
        steps.append(students)
        if len(steps) == stop and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        after_step(self, students)

    Checkpointer.after_step = stopped
    train(STUDENTS, Store(results, writable=True), device="cpu")


def train_with(processes: int, folder: Path, **options) -> tuple[list[int], str]:
    """How each process ended, and what they all said."""
    said = folder / "said.txt"
    return together(processes, said, partial(trained, folder / "records", **options)), said.read_text()


@pytest.mark.parametrize(
    ("started", "first"),
    [({}, True), ({"RANK": "1"}, True), ({"RANK": "1", "WORLD_SIZE": "2"}, False), ({"WORLD_SIZE": "2"}, True)],
)
def test_a_process_alone_is_the_first_one_whatever_its_rank(started, first, monkeypatch):
    """It trains, and would end without a word and without what is measured after training."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert processes.is_first() == first


def test_a_launcher_that_does_not_say_which_gpu_is_whose_is_told_so(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(ParameterError, match=r"^WORLD_SIZE: 2 .* torchrun starts, which sets LOCAL_RANK too"):
        processes.join(torch.device("cuda"))


def test_a_launcher_that_does_not_say_which_process_this_is_is_told_so(monkeypatch):
    """One that sets WORLD_SIZE alone, as some schedulers do."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        with pytest.raises(ParameterError, match=rf"^WORLD_SIZE: 2 .* torchrun starts, which sets {name} too"):
            processes.join(torch.device("cpu"))
        monkeypatch.setenv(name, "1")


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Store:
    """The same runs, trained by one process."""
    folder = tmp_path_factory.mktemp("alone")
    ended, said = train_with(1, folder)
    assert ended == [0], said
    return Store(folder / "records")


def test_several_processes_learn_what_one_learns(alone, tmp_path):
    """Of three, one has fewer images of 32 than the others, and all are saved after every step besides."""
    ended, said = train_with(3, tmp_path, interval=0.0)
    assert ended == [0] * 3, said
    assert said.count("recorded shapes-") == 3, "every process reports, or none"
    store = Store(tmp_path / "records")
    for run in (TEACHER, *STUDENTS):
        assert store.load(run).values["environment"]["processes"] == 3
        assert alone.load(run).values["environment"]["processes"] == 1
    agree(store, alone)


def agree(own: Store, other: Store) -> None:
    """Sums of 32 numbers in another order differ in their last bits; 5 steps after a teacher's 2 make that 1e-5."""
    for run in (TEACHER, *STUDENTS):
        weights, curves = own.load(run).weights(), [store.load(run).epochs()[CURVES] for store in (own, other)]
        for name, value in other.load(run).weights().items():
            torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4, msg=name)
        torch.testing.assert_close(*(torch.tensor(curve.to_numpy()) for curve in curves), rtol=1e-3, atol=1e-3)


def test_a_signal_to_one_process_stops_all_and_nothing_is_lost(alone, tmp_path):
    """In the students' first step of four: the teacher is recorded, the students go on with their second.

    Nothing is saved within an epoch otherwise, and two have as many images of each batch.
    """
    ended, said = train_with(2, tmp_path, stop=3)
    assert 0 not in ended and -9 not in ended, f"one went on, or hung: {said}"
    store = Store(tmp_path / "records")
    assert store.has(TEACHER) and not any(map(store.has, STUDENTS))
    assert all(store.checkpoint_path(run).exists() for run in STUDENTS)
    ended, said = train_with(2, tmp_path)
    assert ended == [0, 0], said
    begun = [[(each["epoch"], each["step"]) for each in store.load(run).values["sessions"]] for run in STUDENTS]
    assert begun == [[(0, 0), (0, 1)]] * 2
    agree(store, alone)


def test_another_weight_of_the_parts_would_be_seen(alone, monkeypatch, store, quiet):
    """The tolerance above is not what lets them agree: with half of beta, the weights are others."""
    monkeypatch.setitem(shapes.SIZES, "test", 20)
    halved = replace(STUDENTS[0], terms=(ActivationTransfer(beta=500.0),))
    train([halved], store, device="cpu", progress=quiet)
    own, other = store.load(halved).weights(), alone.load(STUDENTS[0]).weights()
    assert any((own[name] - value).abs().max() > 2e-3 for name, value in other.items())


@pytest.mark.parametrize(("count", "size"), [(1, 7), (2, 7), (3, 8), (4, 4)])
def test_parts_make_the_whole_and_weights_its_mean(count, size):
    batch = torch.arange(float(size))
    ranks = [Ranks(rank, count) for rank in range(count)]
    parts = [each.share(batch) for each in ranks]
    assert torch.equal(torch.cat(parts), batch) and max(map(len, parts)) - min(map(len, parts)) <= 1
    weighed = [each.weight(len(part), size) * part.mean() for each, part in zip(ranks, parts, strict=True)]
    assert sum(weighed) / count == pytest.approx(batch.mean().item())


@pytest.mark.parametrize("term", [FullActivation(), GradientTransfer(beta=0.1), SymmetryNorm(beta=0.1)])
def test_what_several_processes_cannot_train_is_refused(term):
    run = Run("wrn-10-1", 1, terms=(term,), teacher=TEACHER)
    ALONE.check(run, 100)
    with pytest.raises(ParameterError, match=r"^processes: 2 is not allowed; allowed: 1, for a run with"):
        Ranks(0, 2).check(run, 100)


def test_a_batch_has_an_image_for_every_process():
    Ranks(0, 8).check(Run("wrn-10-1", 1, batch_size=16), images=48)
    Ranks(0, 8).check(Run("wrn-10-1", 1, batch_size=16), images=40)
    for size, images in ((4, 48), (16, 37), (33, 34)):
        with pytest.raises(ParameterError, match=rf"^batch_size: {size} is not allowed; allowed: a size that leaves 8"):
            Ranks(0, 8).check(Run("wrn-10-1", 1, batch_size=size), images)
