"""Captured steps: what is replayed is what the step does, and a graph that does something else trains nothing.

The capture is a parameter: here it is one that calls the step again, which reads what a CUDA graph would read. The
last test has a GPU capture.
"""

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from noisy import Noisy
from torch.utils._python_dispatch import TorchDispatchMode

from at_repro import data, networks
from at_repro.runs import FullActivation, GradientTransfer
from at_repro.training import cuda_graphs, loop, train
from at_repro.training.cuda_graphs import WARM_UP, Replay

pytestmark = pytest.mark.slow

METHODS = ("student", "at", "kd", "at+kd")


class Capture:
    """Stands for a GPU: `disturb` is called at the end of every replay, `fail` in the middle of every capture."""

    def __init__(self, disturb=lambda: None, fail=None):
        self.captured = self.replayed = 0
        self._disturb, self._fail = disturb, fail

    def __call__(self, function):
        self.captured += 1
        if self._fail is not None:
            function()  # leaves gradients and more behind
            raise self._fail

        def launch():
            self.replayed += 1
            function()
            self._disturb()

        return launch


@pytest.fixture
def cohort(small):
    """Six batches of 4 images, the last one smaller, for two epochs, whose rates differ."""
    changes = {"subset": 22, "batch_size": 4, "epochs": 2}
    taught = {name: replace(small[name], **changes) for name in METHODS}
    more = [(FullActivation(),), (GradientTransfer(beta=1.0),)]
    return [*taught.values(), *(replace(taught["at"], terms=terms) for terms in more)]


def trained(runs, folder, store, monkeypatch, quiet, capture, device="cpu", compile="off"):
    """Weights and curves of the runs, trained together with this capture."""
    new = type(store)(folder, writable=True)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "choose_capture", lambda *_: capture)
        train(runs, new, device=device, compile=compile, progress=quiet)
    records = [new.load(run) for run in runs]
    return [record.weights() for record in records], [record.epochs().drop(columns="seconds") for record in records]


@pytest.fixture(scope="module")
def kept():
    """What is trained once for all tests here."""
    return {}


@pytest.fixture
def plain(cohort, kept, store, tmp_path, monkeypatch, quiet):
    """Two of them without a graph."""
    if not kept:
        kept["plain"] = trained(cohort[1:3], tmp_path / "plain", store, monkeypatch, quiet, None)
    return kept["plain"]


def same(first, second):
    weights = all(
        torch.equal(one[name], other[name]) for one, other in zip(first[0], second[0], strict=True) for name in one
    )
    return weights and all(one.equals(other) for one, other in zip(first[1], second[1], strict=True))


def test_training_with_graphs_is_training(cohort, store, tmp_path, monkeypatch, quiet):
    """Every method, learning rates and weights that change, a last batch of another size: to the bit."""
    capture = Capture()
    plain = trained(cohort, tmp_path / "plain", store, monkeypatch, quiet, None)
    assert same(plain, trained(cohort, tmp_path / "replayed", store, monkeypatch, quiet, capture))
    # Whole batches of the students: the small ones, and the teacher with its two batches, are still warming up.
    assert capture.replayed == 2 * (5 - WARM_UP)
    assert capture.captured == 2, "anew for the numbers of every epoch"


def test_a_graph_is_used_as_long_as_its_numbers_and_its_company_hold():
    capture, total = Capture(), torch.zeros(1)
    first, second = (SimpleNamespace(tensors=lambda: {"total": total}, draws=False, name=name) for name in "ab")
    repeat = Replay(capture)
    steps = [([first], 0.1)] * 8 + [([first], 0.02)] * 4 + [([first, second], 0.02)] * 5
    for number, (students, rate) in enumerate(steps):

        def step(images, labels, rate=rate):
            total.add_(images.sum() * rate + labels.sum())

        repeat(step, students, rate, torch.full((2, 3, 4, 4), float(number)), torch.tensor([number, number]))
    assert total.item() == pytest.approx(sum(number * (96 * rate + 2) for number, (_, rate) in enumerate(steps)))
    assert capture.captured == 3 and capture.replayed == (8 - WARM_UP) + (4 - WARM_UP) + (5 - WARM_UP)


@pytest.mark.parametrize(
    ("capture", "said"),
    [
        (lambda function: lambda: None, "does something else than the step itself"),
        (Capture(disturb=lambda: None, fail=RuntimeError("operation not permitted\nwhen capturing")), "not permitted"),
    ],
    ids=["a step that is missing", "a step that cannot be captured"],
)
def test_a_graph_that_is_not_the_step_is_not_used(capture, said, cohort, plain, store, tmp_path, monkeypatch, quiet):
    """Said once for a cohort, and nothing of it is left: a wrong graph would train another method, silently."""
    with pytest.warns(UserWarning, match=said) as warned:
        found = trained(cohort[1:3], tmp_path / "replayed", store, monkeypatch, quiet, capture)
    assert same(plain, found)
    assert len([warning for warning in warned if "kernel by kernel" in str(warning.message)]) == 1


@pytest.mark.parametrize("amount", [0.01, float("nan")])
def test_a_student_that_a_graph_moves_too_far_is_noticed(amount, cohort, plain, store, tmp_path, monkeypatch, quiet):
    """One of two, in one tensor: as a race between streams would, or memory that is somebody else's by now."""
    network = {}
    see = cuda_graphs.Student.see

    def remember(self, *arguments):
        network["last"] = self.network
        return see(self, *arguments)

    def disturb():
        with torch.no_grad():
            network["last"].fc.bias.add_(amount)

    monkeypatch.setattr(cuda_graphs.Student, "see", remember)
    with pytest.warns(UserWarning, match="something else than the step"):
        found = trained(cohort[1:3], tmp_path / "replayed", store, monkeypatch, quiet, Capture(disturb))
    assert same(plain, found)


def test_only_a_gpu_captures_and_only_for_itself(monkeypatch):
    images = data.load("shapes", "test", subset=1)
    on_gpu = Mock(spec=data.ImageSet, device=torch.device("cuda"))
    assert cuda_graphs.choose_capture(images) is None
    assert cuda_graphs.choose_capture(on_gpu) is not None
    assert cuda_graphs.choose_capture(on_gpu, processes=2) is None, "each has a part of the batch"
    assert cuda_graphs.choose_capture(Mock(device=torch.device("cuda"))) is None, "decoded meanwhile"
    monkeypatch.setattr(cuda_graphs, "_failures", [None])
    assert cuda_graphs.choose_capture(on_gpu) is None, "a capture that failed may have left torch's memory in disorder"


def test_a_graph_needs_room_for_all_its_students(cohort, plain, store, tmp_path, monkeypatch, quiet):
    """As branches they cannot use each other's memory: what fits one after another may not fit side by side."""
    capture = Capture()
    monkeypatch.setattr(cuda_graphs, "_memory_demand", lambda step: step() or 10)
    monkeypatch.setattr(cuda_graphs, "_memory_left", lambda device: 29)
    with pytest.warns(UserWarning, match="too little memory"):
        assert same(plain, trained(cohort[1:3], tmp_path / "replayed", store, monkeypatch, quiet, capture))
    assert not capture.captured


def test_what_the_cpu_draws_is_not_captured(cohort, store, tmp_path, monkeypatch, quiet):
    """A graph would keep the same numbers for every step, and its first step agrees with the one as written."""
    monkeypatch.setitem(networks.registry._REGISTERED, "noisy", Noisy)
    capture, run = Capture(), replace(cohort[0], network="noisy")
    with pytest.warns(UserWarning, match="kernel by kernel.* draws numbers on the CPU"):
        trained([run], tmp_path / "replayed", store, monkeypatch, quiet, capture)
    assert not capture.captured


class Waits(TorchDispatchMode):
    """Counts what would make a CPU wait for a GPU: numbers read from it or copied to it, results of unknown size."""

    KINDS = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "is_nonzero", "unique")
    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        # A number that is part of an operation, such as the `2` of `2 * x`, travels with its launch.
        self.count += any(name.startswith(kind) for kind in self.KINDS)
        return function(*arguments, **(keywords or {}))


def test_no_step_waits_for_the_device(cohort, store, quiet, monkeypatch):
    """A CPU that waited in every step would launch nothing in the meantime. Whole epochs wait, however long."""
    counts = []
    train([cohort[1].teacher], store, device="cpu", progress=quiet)
    train_epoch = loop.train_epoch

    def counted(*arguments, **keywords):
        with Waits() as waits:
            rows = train_epoch(*arguments, **keywords)
        counts.append(waits.count)
        return rows

    monkeypatch.setattr(loop, "train_epoch", counted)
    for size in (8, 13):
        train([replace(run, batch_size=size) for run in cohort], store, device="cpu", progress=quiet)
    assert counts[1] == counts[3], "three steps of an epoch wait as often as two"
    with Waits() as waits:
        torch.ones(2).sum().item()
        torch.ones(2).nonzero()
    assert waits.count == 2, "torch has other names for it now: nothing was counted"


@pytest.mark.gpu
@pytest.mark.parametrize("compile", ["off", "on"])
def test_a_gpu_replays_what_it_would_have_done(compile, cohort, store, tmp_path, monkeypatch, quiet, recwarn):
    runs = [replace(run, precision="bf16") for run in cohort]
    plain = trained(runs, tmp_path / "plain", store, monkeypatch, quiet, None, "cuda", compile)
    capture = cuda_graphs.choose_capture(data.load("shapes", "test").to("cuda"))
    replayed = trained(runs, tmp_path / "replayed", store, monkeypatch, quiet, capture, "cuda", compile)
    assert not [warning for warning in recwarn if "kernel by kernel" in str(warning.message)]
    for one, other in zip(plain[0], replayed[0], strict=True):
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)
