"""Small runs and a small experiment: a test that trains takes seconds."""

import functools
import io
import math
import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from filelock import FileLock
from torchvision import datasets

from at_repro import bench, experiments, files, networks
from at_repro.analysis import study
from at_repro.analysis.study import Study
from at_repro.data import ImageSet, cifar10, shapes
from at_repro.experiments import METHODS, Experiment, Preset, columns_of
from at_repro.records import Store
from at_repro.report import book
from at_repro.runs import ActivationTransfer, Distillation, Run
from at_repro.training import Progress, engine, train
from at_repro.training.weights import stored_weights

TINY = {"dataset": "shapes", "subset": 24, "batch_size": 16, "precision": "fp32"}


def pytest_runtest_setup(item):
    """What not every machine has is asked for when a test's turn comes: to find a compiler takes seconds."""
    if item.get_closest_marker("compiler") and not engine.can_compile(torch.device("cpu")):
        pytest.skip("no C++ compiler here to compile with")
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no GPU here")


@pytest.fixture
def quiet():
    return Progress(io.StringIO())


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results", writable=True)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """What is trained once for all tests of a file."""
    return Store(tmp_path_factory.mktemp("kept") / "results", writable=True)


@pytest.fixture
def taught(small, store, kept, quiet):
    """The store with the teacher recorded."""
    train([small["teacher"]], kept, device="cpu", progress=quiet)
    shutil.copytree(kept.record_path(small["teacher"]), store.record_path(small["teacher"]))
    return store


@pytest.fixture
def no_download(monkeypatch):
    """Nobody has internet: torchvision cannot download CIFAR-10."""

    def refuse(self):
        raise OSError("no internet in tests")

    monkeypatch.setattr(datasets.CIFAR10, "download", refuse)


# The images come in chunks of 200, from which every training of a test takes its few: generated once, copied by each.
shapes._chunk = functools.cache(shapes._chunk)
# Thousands of small records and checkpoints wait for the disk, which only a failure of the power would show.
os.fsync = lambda descriptor: None

DATA = Path(os.environ["AT_REPRO_DATA"]) if os.environ.get("AT_REPRO_DATA") else None
_cifar10 = cifar10.cifar10


@functools.cache
def _real_test_images() -> ImageSet:
    """Decoding them takes a second, and most studies open them."""
    return _cifar10("test", DATA, download=False)


@pytest.fixture(autouse=True)
def images_read_anew(monkeypatch):
    """Tests change folders and sizes of data sets under one name, but for the real CIFAR-10."""

    def read(split: str, root: Path, download: bool = True) -> ImageSet:
        return _real_test_images() if (split, root) == ("test", DATA) else _cifar10(split, root, download)

    monkeypatch.setattr(cifar10, "cifar10", read)
    yield
    study._load.cache_clear()


@pytest.fixture
def no_images(tmp_path, monkeypatch):
    """For what is said of records and tables: studies decode photographs for seconds where they are here."""
    monkeypatch.setenv("AT_REPRO_DATA", str(tmp_path))


@pytest.fixture
def few_test_images(monkeypatch):
    """A test set of 20 images: much of the time of a small run is its evaluation."""
    monkeypatch.setitem(shapes.SIZES, "test", 20)


@pytest.fixture
def small(few_test_images):
    """Specs of a small teacher and its students that train in seconds; 24 images are one batch and a smaller one."""
    teacher = Run("wrn-10-1", epochs=1, **TINY)
    at = (ActivationTransfer(),)
    both = (ActivationTransfer(decay="linear"), Distillation())
    student = {"epochs": 3} | TINY
    return {
        "teacher": teacher,
        "student": Run("wrn-10-1", **student),
        "at": Run("wrn-10-1", terms=at, teacher=teacher, **student),
        "kd": Run("wrn-10-1", terms=(Distillation(),), teacher=teacher, **student),
        "at+kd": Run("wrn-10-1", terms=both, teacher=teacher, **student),
    }


@pytest.fixture
def tiny_experiment(few_test_images, monkeypatch):
    """The experiment `wrn-16-2-to-16-1` at preset `smoke`, with six runs of one or two epochs in its place."""
    smoke = Preset("smoke", "tests", TINY | {"epochs": 1}, TINY | {"epochs": 2}, (0,))
    columns = columns_of("wrn-10-1", "wrn-10-1", METHODS)
    tiny = Experiment("wrn-16-2-to-16-1", "a small copy of Table 1, second row", columns)
    monkeypatch.setitem(experiments.PRESETS, "smoke", smoke)
    monkeypatch.setitem(experiments.EXPERIMENTS, tiny.name, tiny)
    return tiny


@functools.cache
def _first_weights(network: str, seed: int) -> dict[str, torch.Tensor]:
    return stored_weights(networks.build(network, 10, engine.generator(seed, "weights")))


def _of_training(seconds: float, epochs: int, parameters: int) -> dict:
    """What record.json says of how a run was trained: in one session, alone."""
    return {
        "seconds": seconds,
        "seconds_per_epoch": seconds / epochs,
        "parameters": parameters,
        "data": {"train": "0" * 64, "test": "1" * 64},
        "environment": {
            "commit": "abc", "device": "CPU", "precision": "fp32", "command": "by hand", "packages": {}, "company": [],
        },
        "sessions": [{"epoch": 0, "step": 0, "seconds": seconds}],
    }  # fmt: skip


@pytest.fixture
def hand_made(store):
    """Writes a record without training: `changes` replace parts of record.json, within its objects by name.

    `predicted` are the classes of the test images, whose `labels` are 0, 1, 2 and so on unless given, and then so many
    images are kept; of the four here one is wrong.
    `curve` has the test error of each epoch; the learning rate drops before the last one. `weights` are the network's
    first ones unless given, which takes a second for a large one.
    """

    def write(
        run: Run,
        curve: Sequence[float] = (20.0, 25.0),
        predicted: Sequence[int] = (0, 1, 2, 9),
        labels: Sequence[int] | None = None,
        weights: dict[str, torch.Tensor] | None = None,
        **changes,
    ):
        values = {
            "diverged": None,
            "final": {"test_error": 25.0, "test_loss": 1 / 3, "train_error": 50.0, "train_loss": 1.5},
            "best": {"test_error": min(curve), "epoch": curve.index(min(curve)) + 1},
        }
        weights = weights or _first_weights(run.network, run.seed)
        counts = [value.numel() for name, value in weights.items() if not re.search("running|num_batches", name)]
        values |= _of_training(changes.get("seconds", 0.1 * len(curve)), len(curve), sum(counts))
        for name in ("final", "best", "data", "environment"):
            values[name] |= changes.pop(name, {})
        values |= changes
        if values["diverged"] is not None:
            values["final"] = dict.fromkeys(values["final"])
        rates = [0.1] * (len(curve) - 1) + [0.02]
        epochs = pd.DataFrame({"epoch": range(1, len(curve) + 1), "learning_rate": rates, "test_error": curve})
        loss = math.nan if values["diverged"] else 1.5
        epochs[["train_error", "train_loss", "test_loss"]] = 50.0, loss, 1 / 3
        epochs["seconds"] = values["seconds_per_epoch"]
        labels = range(len(predicted)) if labels is None else labels
        predictions = pd.DataFrame({"label": labels, "prediction": predicted[: len(labels)]})
        return store.write(run, values, epochs, predictions, weights)

    return write


@pytest.fixture
def no_benchmark(monkeypatch):
    """As where `at-repro bench` was never called: the ledger then rests on the records alone."""
    monkeypatch.setattr(bench, "load", lambda path="": {"rows": []})


@pytest.fixture
def own_signals():
    """Python's own handlers of signals for one test: `cli.main` and dask-jobqueue set others for the whole process."""
    before = {number: signal.getsignal(number) for number in files.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def in_process():
    """Lets papermill execute notebooks in this process, without the seconds that a kernel takes to import torch."""
    from in_process import InProcess
    from papermill.engines import NBClientEngine, papermill_engines

    papermill_engines.register(None, InProcess)
    yield
    papermill_engines.register(None, NBClientEngine)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder of the book as a reader sees it: its pages and the committed notebooks, rendered.

    By the first of several processes that needs it; the others wait for it.
    """
    root, folder = Path(__file__).resolve().parent.parent, tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all processes of this call
    stage, whole = folder / "book", folder / "book-is-whole"
    with FileLock(folder / "book.lock"):
        if not whole.exists():
            book.copy_pages(root / "book", stage)
            shutil.copytree(root / "notebooks", stage / "notebooks", dirs_exist_ok=True)
            book.render(stage)
            whole.touch()
    return stage / book.SITE


@pytest.fixture
def studies(store):
    """Makes a study from which of 200 test images each run gets wrong, by column and seed; None: the run diverged.

    Its columns' errors are 30 and 40 % after the first two of four epochs, then the best, then the final one: no phase
    ends with its lowest. The learning rate drops after the second epoch.
    """

    def write(run, wrong):
        error = None if wrong is None else 100 * len(wrong) / 200
        labels = [image % 10 for image in range(200)]
        predictions = [(label + (image in (wrong or ()))) % 10 for image, label in enumerate(labels)]
        errors = [30.0, 40.0, *([90.0, 90.0] if error is None else [max(0.0, error - 0.5), error])]
        epochs = {"epoch": [1, 2, 3, 4], "learning_rate": [0.1, 0.1, 0.02, 0.02], "train_error": 50.0, "seconds": 1.0}
        values = {
            "diverged": 4 if error is None else None,
            "final": {"test_error": error, "train_error": None if error is None else 50.0},
            "best": {"test_error": min(errors), "epoch": errors.index(min(errors)) + 1},
            **_of_training(4.0, 4, 1),
        }
        if run.dataset.startswith(("imagenet@", "cub200@")):  # more than 100 classes
            values["final"]["top5_error"] = None if error is None else error / 4
        frame = pd.DataFrame({"label": labels, "prediction": predictions})
        return store.write(run, values, pd.DataFrame(epochs | {"test_error": errors}), frame, {"w": torch.zeros(1)})

    def make(preset: str, name: str = "wrn-16-2-to-16-1", **columns: dict[int, object]) -> Study:
        names = {"at": "AT", "kd": "KD", "at_kd": "AT+KD", "f_actt": "F-ActT"}
        wrong = {names.get(column, column): by_seed for column, by_seed in columns.items()}
        experiment = experiments.get(name)
        seeds = sorted({seed for by_seed in wrong.values() for seed in by_seed} or {0})
        by_seed = experiment.runs(preset, seeds)
        records, missing = {}, []
        for column in by_seed[0]:
            for run in dict.fromkeys(runs[column] for runs in by_seed):
                if run.seed in wrong.get(column, {}):
                    records.setdefault(column, {})[run.seed] = store.find(run) or write(run, wrong[column][run.seed])
                else:
                    missing.append(run)
        return Study(None, experiment, preset, store, "cpu", seeds, by_seed[0], records, missing, "")

    return make
