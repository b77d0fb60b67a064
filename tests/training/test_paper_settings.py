"""The paper's own settings of Tables 4 and 5, as preset `paper` has them, on a few images and for one epoch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ranks import together

from at_repro import experiments, networks
from at_repro.records import Store
from at_repro.runs import Run, with_teachers
from at_repro.training import Student, engine, train

# A quarter of the side.
BIRDS = {"dataset": "cub200@64"}
IMAGENET = {"subset": 8, "dataset": "imagenet@56-streamed"}  # most of the time goes into the test


def columns(experiment: str, **changes) -> dict[str, Run]:
    """The runs of preset `paper`, seed 0, for one epoch."""

    def brief(run: Run) -> Run:
        teacher = None if run.teacher is None else brief(run.teacher)
        return replace(run, epochs=1, teacher=teacher, precision="fp32", **changes)

    return {name: brief(run) for name, run in experiments.get(experiment).runs("paper")[0].items()}


def picture(path: Path, seed: int) -> None:
    grain = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grain).resize((80, 60)).save(path)


@pytest.fixture
def birds(tmp_path):
    """A data root with the published archive of birds, of which there are two for each of two classes and splits."""
    folder = tmp_path / "data" / "cub200" / "CUB_200_2011"
    names = [f"00{label}.{name}/{number}.jpg" for label, name in ((1, "Wren"), (2, "Tern")) for number in range(4)]
    for seed, name in enumerate(names):
        picture(folder / "images" / name, seed)
    lists = {
        "images": names, "classes": ["001.Wren", "002.Tern"], "image_class_labels": [name[2] for name in names],
        "train_test_split": ["1", "1", "0", "0"] * 2, "bounding_boxes": ["10.0 10.0 40.0 30.0"] * 8,
    }  # fmt: skip
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{number} {line}\n" for number, line in enumerate(lines, 1)))
    return tmp_path / "data"


@pytest.mark.slow
def test_table_4_is_trained_from_imagenets_weights_on_the_published_archive(birds, store, quiet, tmp_path, monkeypatch):
    """ResNets whose batch norms and first group keep their weights, and whose further groups do not."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(Student, "save", lambda *_: None)  # up to 170 MB each, which nobody reads
    known, files = {}, {"resnet18": "resnet18-f37072fd.pth", "resnet34": "resnet34-b627a593.pth"}
    (tmp_path / "checkpoints").mkdir()
    for seed, (name, file) in enumerate(files.items()):
        known[name] = networks.build(name, 1000, engine.generator(seed, "weights")).state_dict()
        torch.save(known[name], tmp_path / "checkpoints" / file)
    runs = columns("fine-tuning-birds", **BIRDS)
    assert list(runs) == ["student", "KD", "AT", "teacher"]
    train(runs.values(), store, device="cpu", data_root=str(birds), progress=quiet)
    for run in runs.values():
        weights = store.load(run).weights()
        start = {name: value.half().float() for name, value in known[run.network].items() if name in weights}
        kept = {name for name, value in start.items() if name[:2] != "fc" and torch.equal(weights[name], value)}
        trained = ("layer2", "layer3", "layer4")
        learnt = {name for name in start if name.endswith("conv1.weight") and name.startswith(trained)}
        assert {name for name in start if name.startswith(("conv1", "bn1", "layer1"))} <= kept, run.run_id
        assert {name for name in start if ".bn" in name} <= kept and not learnt & kept, run.run_id
        assert len(store.load(run).predictions()) == 4 and weights["fc.weight"].shape[0] == 2


def table_5(results: Path, data_root: Path) -> None:
    """In each process."""
    Student.save = lambda *_: None  # which nobody reads here either
    runs = columns("imagenet-resnet18", **IMAGENET).values()
    train(runs, Store(results, writable=True), device="cpu", data_root=str(data_root))


@pytest.mark.slow
def test_table_5_is_trained_by_two_processes_that_stream_imagenet(tmp_path):
    """101 classes, so that there is a top-5 error, of which each process sees four images: then all have records."""
    for label in range(101):
        for split in ("train", "val"):
            picture(tmp_path / "data" / "imagenet" / split / f"n{label:03}" / "0.JPEG", label)
    said, results = tmp_path / "said.txt", tmp_path / "records"
    assert together(2, said, table_5, results, tmp_path / "data") == [0, 0], said.read_text()
    runs, store = columns("imagenet-resnet18", **IMAGENET), Store(results)
    assert list(runs) == ["student", "KD", "AT", "teacher"] and len(with_teachers(runs.values())) == 4
    for run in runs.values():
        record = store.load(run)
        assert record.values["environment"]["processes"] == 2 and len(record.predictions()) == 101
        assert 0 <= record.final["top5_error"] <= record.final["test_error"] <= 100
