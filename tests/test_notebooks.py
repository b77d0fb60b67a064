"""The committed notebooks are regression tests: they hold what a run gives, and a wrong digit is found."""

import configparser
import inspect
import json
import re
import runpy
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from unittest.mock import Mock

import images_at_hand
import nbformat
import pytest
from images_at_hand import are_here
from in_process import shell
from nbformat import NotebookNode
from prose import ROOT
from sealed import seal

from at_repro import experiments
from at_repro.records import default_folder
from at_repro.report import notebooks
from at_repro.report.page import Page

SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
NAMES = notebooks.names()


def read(name: str) -> NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_was_executed_to_its_end(name):
    """nbval passes a notebook without outputs, silently."""
    notebook = read(name)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    end = cells[-1].outputs[0].text
    assert "executed on" in end, "it does not say by which code and when it was executed"
    assert "+changes" not in end, "no commit holds the code that executed it: commit that first, then at-repro refresh"


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_holds_nothing_of_its_execution(name):
    notebook = read(name)
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "at_repro"}
    assert "version" not in notebook.metadata.language_info, "of the Python that happened to execute it"
    assert {key for cell in notebook.cells for key in cell.metadata} <= {"tags", "mystnb"}
    assert "injected-parameters" not in {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}


def test_committed_outputs_are_small():
    """Every version of them stays in the history that a clone fetches; a page is loaded as a whole, on a phone too."""
    sizes = {name: (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size for name in NAMES}
    assert sum(sizes.values()) < 8e6
    assert [name for name, size in sizes.items() if size > 1e6] in ([], ["look_for_yourself"])


# Of others' numbers, of networks that others trained, of all records, and of no network.
OF_NO_PRESET = {
    "tab-others", "tab-larger-images-paper", "tab-edges-photographs", "tab-peaks-photographs",
    "tab-faults", "tab-provenance", "tab-grid-cost", "tab-cost", "tab-claims", "tab-claims-elsewhere",
    "tab-claims-simulation",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_runs_says_preset_seeds_and_device(name):
    """Captions are typed; whoever executes a page with other parameters has other runs below them."""
    silent = set()
    for cell in code_cells(read(name)):
        figure = notebooks.figure(cell) or {"name": ""}
        stamps = [output.get("metadata", {}).get("stamp", "") for output in cell.outputs]
        if figure["name"].startswith("tab-") and not re.search("preset .*, seeds? .*CPU", " ".join(stamps)):
            silent.add(figure["name"])
    assert silent <= OF_NO_PRESET


def test_every_exception_is_a_table():
    figures = {notebooks.figure(cell).get("name") for name in NAMES for cell in code_cells(read(name))}
    assert figures >= OF_NO_PRESET


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_explained_and_a_literal(name):
    notebook = read(name)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    explained = set(re.findall(r"^\| `(\w+)` \|", prose, flags=re.MULTILINE))
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    values: dict = {}
    exec(cell.source, values)
    assert explained == set(values) - {"__builtins__"}
    assert not re.search(r"\bimport\b|\(", cell.source), "derived values do not follow a new parameter"


@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_has_the_same_family_of_parameters_in_front(name):
    """Who reruns several at once gives all of them the same; papermill only warns of those that are not there."""
    assert list(notebooks.defaults(name))[:5] == ["preset", "seeds", "device", "data_root", "results"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_names_the_experiments_that_it_opens(name):
    """`make book` trains those before it executes anything: another one would be shown as not run."""
    notebook = read(name)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    values: dict = {}
    exec(cell.source, values)
    code = "\n".join(cell.source for cell in notebook.cells)
    if "page.studies_of_lengths(" in code:
        code += inspect.getsource(Page.studies_of_lengths)
    opened = re.findall(r"(?:page|self)\.study\(\s*(f?\"[^\"]+\")", code)
    names = {eval(text, values | {"task": task}) for text in opened for task in ("birds", "scenes")}
    names |= set(re.findall(r'": "([\w-]+)"', code)) & experiments.EXPERIMENTS.keys()  # of a table of them
    assert set(notebooks.experiments_of(notebook)) == names


def test_a_notebook_knows_whose_images_it_shows():
    """Its cells are compared where that set is, and skipped where it is not, whatever else is there."""
    known = {
        "gradients": ["cifar10"], "table_1": [], "peaks_objects_faces": ["orl_faces@64"],
        "attention_maps": ["cifar10", "cub50@144"], "larger_images": ["scene15@144"], "trust_and_rerun": [],
    }  # fmt: skip
    assert {name: notebooks.shown_images(read(name)) for name in known} == known


def sanitized(text: str) -> str:
    rules = configparser.RawConfigParser()
    rules.read(SANITIZE)
    for rule in rules.sections():
        text = re.sub(rules[rule]["regex"], rules[rule]["replace"], text)
    return text


def shows_a_table(cell: NotebookNode) -> bool:
    return any("text/html" in output.get("data", {}) for output in cell.get("outputs", []))


def falsify(notebook: NotebookNode, of_images: bool) -> int | None:
    """Changes one digit of a stored output that is compared, of a cell that needs images or of one that does not.

    In the first table, or where there is none in the first text. Returns the place of its cell among the cells of code;
    None where no such cell prints a digit.
    """
    cells = code_cells(notebook)
    for place, cell in sorted(enumerate(cells[:-1]), key=lambda numbered: not shows_a_table(numbered[1])):
        tags = cell.metadata.get("tags", [])
        if ("needs-images" in tags) != of_images or "nbval-skip" in tags:
            continue
        for output in cell.outputs:
            holder, key = (output, "text") if output.output_type == "stream" else (output.data, "text/plain")
            for found in reversed(list(re.finditer(r"\d", holder.get(key, "")))):  # numbers rather than what is above
                text = holder[key]
                changed = text[: found.start()] + str((int(found[0]) + 1) % 10) + text[found.end() :]
                if sanitized(changed) != sanitized(text):
                    holder[key] = changed
                    return place
    return None


def says(cell: NotebookNode) -> str:
    """Source that gives at once what the cell holds, so that its outputs are compared without being computed."""
    if "parameters" in cell.metadata.get("tags", []):
        return cell.source  # that names the images
    calls = ["import sys", "from IPython.display import publish_display_data"]
    for output in cell.outputs:
        if output.output_type == "stream":
            calls.append(f"_ = sys.{output.name}.write({output.text!r})")
        else:
            calls.append(f"publish_display_data({dict(output.data)!r}, {dict(output.metadata)!r})")
    return "\n".join(calls)


def test_table_1_shows_the_pair_that_its_reader_asks_for_though_the_paper_has_a_row_of_that_name(monkeypatch):
    monkeypatch.setattr(Page, "study", lambda page, name, *changes, **_: (name, changes))
    cells = code_cells(read("table_1"))
    names = {}
    exec(cells[0].source, names)
    names |= {"student": "wrn-16-2", "teacher": "wrn-40-2", "beta": 10.0}
    exec(cells[1].source, names)
    studies = names["studies"]
    name, changes = studies["WRN-16-2 from WRN-40-2"]
    assert name == "wrn-16-2-to-16-1" and {"student", "teacher", "beta", "mapping"} < {*changes}
    assert len(studies) == 3 and studies["NIN-THIN from NIN-WIDE"][0] == "nin-wide-to-nin-thin"


@pytest.mark.slow
def test_a_wrong_digit_in_a_notebook_is_found(tmp_path):
    """One in a notebook of each kind: of tables, of text, of photographs; and where its images are here one more.

    That the notebooks still give what they hold is what `make test` finds with nbval; here they give it without being
    executed, and without our settings of tests, which import torch.
    """
    wrong = {}
    for name in ("table_1", "trust_and_rerun", "attention_maps"):
        notebook = read(name)
        for cell in code_cells(notebook):
            cell.source = says(cell)
        wrong[name] = {falsify(notebook, of_images=False)}
        assert wrong[name] != {None}, f"no digit that a reader of {name} sees is compared"
        if all(are_here(dataset) for dataset in notebooks.shown_images(notebook)):
            wrong[name] |= {falsify(notebook, of_images=True)} - {None}
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")

    options = ("--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(SANITIZE), "-p", "no:cacheprovider")
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", *options, f"--junitxml={report}", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    failed: dict[str, set[int]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            name = case.get("classname").removesuffix(".ipynb").rsplit(".", 1)[-1]
            failed.setdefault(name, set()).add(int(case.get("name").split()[-1]))
    assert failed == wrong, done.stdout


def test_cells_are_skipped_where_their_images_are_not_and_only_there(monkeypatch):
    """What `make test` skips without need, nobody compares."""
    monkeypatch.setattr(images_at_hand, "are_here", lambda dataset: dataset == "cifar10")
    items = []
    for name in ("gradients", "attention_maps"):  # which shows birds too
        for tags in ([], ["needs-images"]):
            items.append(Mock(**{"cell.metadata": {"tags": tags}, "parent.nb": read(name)}))
    runpy.run_path(str(ROOT / "conftest.py"))["pytest_collection_modifyitems"](items)
    assert [item.add_marker.called for item in items] == [False, False, False, True]


@pytest.mark.slow
def test_a_number_of_a_record_that_somebody_changed_is_shown(tmp_path):
    """With all checksums made to agree: then nbval finds it, as it finds any other digit."""
    results = shutil.copytree(
        default_folder("reduced"), tmp_path / "changed", ignore=shutil.ignore_patterns("in-progress", "*.safetensors")
    )
    record = results / experiments.get("wrn-16-2-to-16-1").runs("reduced")[0]["teacher"].run_id
    final = json.loads((record / "record.json").read_text())["final"]
    final["test_error"] += 0.01
    seal(record, final=final)
    notebook = read("table_1")
    (own,) = [place for place, cell in enumerate(notebook.cells) if notebooks.figure(cell).get("name") == "tab-table-1"]
    del notebook.cells[own + 1 :]  # it has the number
    *before, table = code_cells(notebook)
    with shell() as running:
        for cell in before:
            running.outputs_of(cell.source.replace('results = ""', f'results = "{results}"'))
        outputs = running.outputs_of(table.source)
    shown, stored = ("".join(output.data["text/plain"] for output in each) for each in (outputs, table.outputs))
    changed = f"{final['test_error']:.2f}"
    assert changed in shown and changed not in stored and sanitized(shown) != sanitized(stored)
