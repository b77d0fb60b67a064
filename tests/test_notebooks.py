"""The committed notebooks are regression tests: they hold what a run gives, and a wrong digit is found."""

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat import NotebookNode
from torchvision.io import write_png

from at_repro import book, experiments
from at_repro.results import Store, _checksum, default_folder

ROOT = Path(__file__).resolve().parent.parent
SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
NAMES = book.names()


def read(name: str) -> NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_was_executed_to_its_end(name):
    """nbval passes a notebook without outputs, silently."""
    notebook = read(name)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert "executed on" in cells[-1].outputs[0].text, "it does not say by which code and when it was executed"


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_holds_nothing_of_its_execution(name):
    notebook = read(name)
    found = {key for part in (notebook, *notebook.cells) for key in part.metadata}
    assert not found & {"papermill", "execution", "widgets"}
    assert "injected-parameters" not in {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_explained_and_a_literal(name):
    notebook = read(name)
    explained = set(re.findall(r"^\| `(\w+)` \|", notebook.cells[0].source, flags=re.MULTILINE))
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    values: dict = {}
    exec(cell.source, values)
    assert explained == set(values) - {"__builtins__"}
    assert not re.search(r"\bimport\b|\(", cell.source), "derived values do not follow a new parameter"


@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_has_the_same_family_of_parameters_in_front(name):
    """Who reruns several at once gives all of them the same; papermill only warns of those that are not there."""
    assert list(book._parameters(name))[:5] == ["preset", "seeds", "device", "data_root", "results"]


def test_every_parameter_is_explained_in_the_book():
    page = (ROOT / "book" / "rerun.md").read_text()
    table = page[page.index(":name: tab-parameters") :]
    explained = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\* - (.*)$", table[: table.index(":::")], re.M))))
    assert explained == {name for notebook in NAMES for name in book._parameters(notebook)}


def test_a_notebook_knows_whose_images_it_shows():
    """Its cells are compared where that set is, and skipped where it is not, whatever else is there."""
    assert {name: book.shown_images(read(name)) for name in NAMES if name[:2] in ("02", "04", "11", "12")} == {
        "02_activation_transfer": "cifar10", "04_what_it_costs": None, "11_faces": "orl_faces@64",
        "12_photographs": "cub50@144",
    }  # fmt: skip


def sanitized(text: str) -> str:
    rules = configparser.RawConfigParser()
    rules.read(SANITIZE)
    for rule in rules.sections():
        text = re.sub(rules[rule]["regex"], rules[rule]["replace"], text)
    return text


def falsify(notebook: NotebookNode) -> int:
    """Changes one digit of a stored output that is compared; returns the place of its cell among the cells of code."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for place, cell in reversed(list(enumerate(cells[:-1]))):  # numbers rather than the names above them
        if "needs-images" in cell.metadata.get("tags", []):
            continue
        for output in cell.outputs:
            holder, key = (output, "text") if output.output_type == "stream" else (output.data, "text/plain")
            for found in reversed(list(re.finditer(r"\d", holder.get(key, "")))):
                text = holder[key]
                changed = text[: found.start()] + str((int(found[0]) + 1) % 10) + text[found.end() :]
                if sanitized(changed) != sanitized(text):
                    holder[key] = changed
                    return place
    raise LookupError("no digit that a reader sees is compared")


@pytest.fixture
def folder():
    """Below the checkout, whose settings of tests count there."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="falsified-", dir=ROOT / "build") as path:
        yield Path(path)


def test_a_wrong_digit_in_a_notebook_or_in_a_record_is_found(folder, tmp_path):
    wrong = {}
    for name in NAMES:
        notebook = read(name)
        wrong[name] = {falsify(notebook)}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    for kind in ("true", "changed"):
        results = shutil.copytree(
            default_folder("reduced"), tmp_path / kind, ignore=shutil.ignore_patterns("in-progress")
        )
        notebook = read("02_activation_transfer")
        (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        cell.source = cell.source.replace('results = ""', f'results = "{results}"')
        nbformat.write(notebook, folder / f"of_{kind}_records.ipynb")
    # A number that somebody changed, with all checksums made to agree.
    record = results / experiments.get("wrn-16-2-to-16-1").runs("reduced")[0]["teacher"].run_id
    values = json.loads((record / "record.json").read_text())
    values["final"]["test_error"] += 0.01
    values["checksum"] = _checksum({name: value for name, value in values.items() if name != "checksum"})
    (record / "record.json").write_text(json.dumps(values))

    environment = {name: value for name, value in os.environ.items() if name != "AT_REPRO_DATA"}
    options = ("--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(SANITIZE), "-p", "no:cacheprovider")
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", *options, f"--junitxml={report}", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment | {"AT_REPRO_TRAIN": "never"}, capture_output=True, text=True
    )
    failed: dict[str, set[int]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            name = case.get("classname").removesuffix(".ipynb").rsplit(".", 1)[-1]
            failed.setdefault(name, set()).add(int(case.get("name").split()[-1]))
    assert failed.pop("of_changed_records", None), "a record that was changed is shown"
    assert failed == wrong, done.stdout


# Two sets for each notebook: what it is about, but short; and everything otherwise.
SETS = (
    {"preset": "smoke", "seeds": [0], "epochs": 1, "dataset": "own@16", "batch": 8, "device": "cpu"},
    {"preset": "smoke", "seeds": [1], "student": "wrn-10-1", "teacher": "wrn-10-2", "mapping": "max-1", "beta": 10.0,
     "epochs": 1, "dataset": "own@16", "device": "cpu", "level": "top", "mappings": ["sum-3"], "batch": 4,
     "per_class": 1, "method": "KD", "networks": ["efficientnet-lite0"], "count": 1, "sample": 3},
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a few images of two classes, for the records that all notebooks share, and a file of no results."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "none.json").write_text('{"environment": {}, "seconds": 0, "rows": []}')
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 8), ("test", 4)):
        for name in ("one", "two"):
            (folder / "own" / split / name).mkdir(parents=True)
            for number in range(count):
                image = torch.randint(256, (3, 16, 16), dtype=torch.uint8, generator=generator)
                write_png(image, str(folder / "own" / split / name / f"{number}.png"))
    return folder


@pytest.mark.parametrize("chosen", SETS, ids=["short", "other"])
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_to_its_end(name, chosen, place, tmp_path, monkeypatch):
    """What it prints, and what stands below its figures, says so; what it needs is trained, once for all notebooks."""
    monkeypatch.setenv("AT_REPRO_TRAIN", "missing")
    known = book._parameters(name)
    folders = {"results": str(place / "records"), "data_root": str(place)}
    if chosen is SETS[1]:
        records = sorted(Store(place / "records").folders())
        folders |= {"measured": str(place / "none.json"), "proofs": str(place / "none.json"), "run": [*records, ""][0]}
    given = {key: value for key, value in (chosen | folders).items() if key in known}
    notebook = nbformat.read(book.execute(name, given, tmp_path / "out.ipynb"), as_version=4)
    printed = "".join(output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output)
    if "student" in known:
        names = ["student", "teacher", "mapping", "beta", "epochs", "dataset"]
        if name == "01_attention_maps":
            names.remove("mapping")  # of what is shown there, not of what was trained
        changes = ", ".join(f"{key} {chosen[key]}" for key in names if key in known and key in chosen)
        assert f"preset smoke, {changes}, seed {chosen['seeds'][0]}, CPU" in printed
        images = chosen.get("dataset", "shapes")
        assert "not run" not in printed and f"{images}-{chosen.get('student', 'wrn-16-1')}-" in printed
    values = {key: given.get(key, ast.literal_eval(found["default"])) for key, found in known.items()}
    named = [f"{key} {value!r}" for key, value in values.items() if key not in ("device", "data_root", "results")]
    assert [text for text in named if text not in printed] == [], "what it was executed with, at its end"
