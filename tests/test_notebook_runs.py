"""Every notebook runs from its first to its last cell through papermill, with two sets of parameters."""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import nbformat
import pytest
import torch
from torchvision.io import write_png

from at_repro import experiments
from at_repro.claims import simulation
from at_repro.records import Store
from at_repro.report import live_training, notebooks
from at_repro.training import Student

pytestmark = pytest.mark.slow

NAMES = notebooks.names()

# Two sets for each notebook: what it is about, but short; and everything otherwise. Not of the preset's own seed, and
# both of the same one, whose runs are trained once.
SETS = (
    {"preset": "smoke", "seeds": [1], "epochs": 1, "dataset": "own@16", "batch": 8, "device": "cpu"},
    {"preset": "smoke", "seeds": [1], "student": "wrn-10-1", "teacher": "wrn-10-2", "mapping": "max-1", "beta": 10.0,
     "epochs": 1, "dataset": "own@16", "device": "cpu", "mappings": ["sum-3"], "batch": 4,
     "per_class": 3, "method": "KD", "networks": ["efficientnet-lite0"], "photographs": "birds", "count": 1},
)  # fmt: skip


FOLDERS = ("results", "data_root", "measured", "proofs")  # of which only the last part is named


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """What a page trains or simulates while it is executed has tests of its own."""
    monkeypatch.setattr(simulation, "table", partial(simulation.table, 20))
    monkeypatch.setattr(live_training, "IMAGES", 64)
    monkeypatch.setattr(live_training, "EPOCHS", 1)
    monkeypatch.setattr(Student, "save", lambda *_: None)  # up to 170 MB each, which nobody reads
    faces = experiments.EXPERIMENTS["faces"]  # the one study whose teacher no parameter of its page makes small
    few = replace(faces.size("smoke"), teacher=faces.size("smoke").teacher | {"subset": 32})
    monkeypatch.setitem(experiments.EXPERIMENTS, "faces", replace(faces, sizes=faces.sizes | {"smoke": few}))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder for the records that all notebooks share, with few images of two classes, a benchmark and proofs."""
    folder = tmp_path_factory.mktemp("place")
    environment = {"device": "CPU", "packages": {"torch": "2"}, "compiled": False, "commit": "abc"}
    little = {"environment": environment, "seconds": 0, "seed": 0, "left_out": {}}
    (folder / "measured.json").write_text(json.dumps(little | {"rows": [["a case", "a step", 1.0, "s"]]}))
    (folder / "proofs.json").write_text(json.dumps(little | {"rows": [["a kill", 1, "a loss", 0]]}))
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 8), ("test", 4)):
        for name in ("one", "two"):
            (folder / "own" / split / name).mkdir(parents=True)
            for number in range(count):
                image = torch.randint(256, (3, 16, 16), dtype=torch.uint8, generator=generator)
                write_png(image, str(folder / "own" / split / name / f"{number}.png"))
    return folder


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if "text" in output)


@pytest.mark.parametrize("chosen", SETS, ids=["short", "other"])
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_to_its_end(name, chosen, place, tmp_path, monkeypatch, request):
    """What it prints, and what stands below its figures, says so; what it needs is trained, once for all notebooks.

    One that trains in a kernel of its own, as a user's; what a kernel adds does not depend on a notebook.
    """
    results = place / "records"
    if (name, chosen) == ("look_for_yourself", SETS[1]):
        results = tmp_path / "records"  # of other test images
    else:
        request.getfixturevalue("in_process")
        request.getfixturevalue("few_test_images")
    results.mkdir(exist_ok=True)
    monkeypatch.setenv("AT_REPRO_TRAIN", "missing")
    known = notebooks.defaults(name)
    folders = {"results": str(results), "data_root": str(place)}
    if chosen is SETS[1]:
        records = sorted(Store(results).folders())
        folders |= {name: str(place / f"{name}.json") for name in ("measured", "proofs")} | {"run": [*records, ""][0]}
    given = {key: value for key, value in (chosen | folders).items() if key in known}
    notebook = nbformat.read(notebooks.execute(name, given, tmp_path / "out.ipynb"), as_version=4)
    said = printed(notebook)
    if "epochs" in known:
        names = ["student", "teacher", "mapping", "beta", "epochs", "dataset"]
        if name in ("attention_maps", "peaks_objects_faces"):
            names.remove("mapping")  # of what is shown there, not of what was trained
        changes = ", ".join(f"{key} {chosen[key]}" for key in names if key in known and key in chosen)
        assert f"preset smoke, {changes}, seed {chosen['seeds'][0]}, CPU" in said
        images = chosen.get("dataset", "shapes")
        (columns,) = experiments.get(notebooks.experiments_of(notebook)[0]).runs("smoke")
        student = given.get("student", columns["student"].network)
        if name in ("look_for_yourself", "attention_maps"):  # behind its own they list others, which they do not train
            said, _, others = said.partition("\nexperiment ")
        else:
            others = ""
        assert "not run" not in said and f"{images}-{student}-" in said
        said += others
    values = (
        known | given | {key: Path(folder).name for key, folder in folders.items() if key in FOLDERS and key in known}
    )
    named = [f"{key} {value!r}" for key, value in values.items() if key != "device"]
    assert [text for text in named if text not in said] == [], "what it was executed with, at its end"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_without_any_record_or_image(name, tmp_path, in_process, few_test_images, monkeypatch):
    """As preset paper's pages do before anything is trained: they say what is not run, and do not fail."""
    monkeypatch.setenv("AT_REPRO_TRAIN", "never")
    given = {"preset": "paper", "results": str(tmp_path), "data_root": str(tmp_path), "device": "cpu"}
    known = {key: value for key, value in given.items() if key in notebooks.defaults(name)}
    notebook = nbformat.read(notebooks.execute(name, known, tmp_path / "out.ipynb"), as_version=4)
    assert not notebooks.experiments_of(notebook) or re.search("no records|  not run  ", printed(notebook))
