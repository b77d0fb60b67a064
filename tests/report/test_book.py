"""Notebooks and the book: parameters are checked, faults end in one line, the site needs nothing from other hosts."""

import json
import os
import queue
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import nbformat
import papermill
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from prose import prose

from at_repro import bench, cli, experiments, files, networks
from at_repro.analysis import attention_table
from at_repro.errors import DataError, ParameterError, UserError
from at_repro.records import Store, open_store
from at_repro.report import book, notebooks, page, pdf, stale_pages, trust
from at_repro.report.page import literal
from at_repro.runs import Distillation, Run, terms

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = REPOSITORY / "book"

PARAMETERS = """preset = "reduced"
seeds = [0]
device = "auto"
data_root = ""
results = ""
images = 4  # how many
rate = 0.5
dark = False
seed = None
fail = ""
"""
BODY = """from at_repro.errors import ParameterError
if fail == "user":
    raise ParameterError("fail", fail, "nothing")
if fail == "bug":
    raise RuntimeError("a bug")
print(repr((preset, seeds, images, rate, dark, seed)))
"""
NAMED = r'<(?:figure|table)[^>]* id="([^"]*)"'
NUMBERED = rf'{NAMED}(?:(?!{NAMED}).)*?class="caption-number">(Fig\.|Table) (\d+)'
ADDRESS = "https://github.com/somebody/at_repro"
TOC = "format: jb-book\nroot: intro\nchapters:\n  - file: notebooks/01_tiny\n"


def write_notebook(path: Path, *cells) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Stand-in"), *cells], metadata=kernel), path)


@pytest.fixture
def in_kernels():
    """For a test whose notebooks are executed as a user does it: in kernels, as many at a time as there are cores."""


@pytest.fixture(autouse=True)
def one_after_another(request, monkeypatch):
    """All others' are executed in this process, where there is no room for two at a time."""
    if "in_kernels" not in request.fixturenames:
        request.getfixturevalue("in_process")
        monkeypatch.setattr(book, "cores", lambda: 1)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one tiny notebook and a book of two pages; the current folder is another one."""
    folder = tmp_path / "checkout"
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    write_notebook(folder / "notebooks" / "01_tiny.ipynb", parameters, new_code_cell(BODY))
    (folder / "book" / "results").mkdir(parents=True)
    set_address(PAGES / "_config.yml", "", folder / "book" / "_config.yml")
    for name in ("_assets", "_extensions"):
        shutil.copytree(PAGES / name, folder / "book" / name)
    for name in ("references.bib", "metadata.yaml"):
        shutil.copy(PAGES / name, folder / "book")
    (folder / "book" / "_toc.yml").write_text(TOC)
    (folder / "book" / "intro.md").write_text("# Tiny\n\n[](../notebooks/01_tiny.ipynb)\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(notebooks, "CHECKOUT", folder)
    monkeypatch.setattr(book.in_browser, "write", lambda *_: [])  # of the real book
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def set_address(config: Path, address: str, changed: Path) -> None:
    """Writes a book's settings whose repository has this address."""
    changed.write_text(re.sub(r'(?m)^(repository:\n  url: )".*?"', rf'\1"{address}"', config.read_text()))


def printed(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        ("4", "12", 12),
        ("0.5", "2", 2.0),
        ("0.5", "1e-3", 0.001),
        ('"reduced"', "smoke", "smoke"),
        ('"reduced"', "5", "5"),
        ("True", "False", False),
        ("[0]", "[0, 1]", [0, 1]),
        ("[0]", "0,1", [0, 1]),
        ("[0]", "3", [3]),
        ('["sum-2"]', "sum-2", ["sum-2"]),
        ('["sum-2"]', "sum-2, max-1", ["sum-2", "max-1"]),
        ('["sum-2"]', '["max-1"]', ["max-1"]),
        ("[]", "[]", []),
    ],
)
def test_text_is_read_by_the_type_of_the_default(default, text, value):
    read = page.read({"x": literal(default)}, {"x": text})["x"]
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("default", "value", "kind"),
    [
        ("4", "many", "an int, such as 4"),
        ("4", "1.5", "an int, such as 4"),
        ("4", "true", "an int, such as 4"),
        ("4", True, "an int, such as 4"),
        ("0.5", "fast", "a float, such as 0.5"),
        ("0.5", "1" + 400 * "0", "a float, such as 0.5"),
        ("False", "1", "a bool, such as False"),
        ("[0]", "first", r"a list, such as \[0\]"),
        ("[0]", "{[1]: 2}", r"a list, such as \[0\]"),
        ('"reduced"', 5, "a str, such as 'reduced'"),
    ],
)
def test_a_value_of_another_type_is_refused(default, value, kind):
    with pytest.raises(ParameterError, match=f"x: .* is not allowed; allowed: {kind}"):
        page.read({"x": literal(default)}, {"x": value})


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("preset", "huge", "preset: 'huge'"),
        ("seeds", [-1], "seeds: -1"),
        ("device", "tpu", "device: 'tpu'"),
        ("data_root", "/nowhere", "data root: '/nowhere'"),
        ("results", __file__, "results: "),
        ("results", "a\0b", "results: "),
        ("data_root", "a\0b", "data root: "),
        ("mapping", "mean-2", "mapping: 'mean-2'"),
        ("beta", 0.0, "beta: 0.0"),
        ("dataset", "nowhere", "data set: 'nowhere'"),
        ("mappings", [], "mappings: []"),
        ("networks", ["vgg"], "networks: 'vgg'"),
        ("method", "XX", "method: 'XX'"),
        ("count", 0, "count: 0"),
        ("epochs", 10**400, "epochs: 1000"),
        ("seeds", [2**70], "seeds: 1180591620717411303424"),
        ("batch", 0, "batch: 0"),
        ("measured", "/nowhere", "measured: '/nowhere'"),
        ("proofs", "/nowhere", "proofs: '/nowhere'"),
        ("measured", str(trust.COMMITTED), "measured: '"),
        ("proofs", str(bench.COMMITTED), "proofs: '"),
    ],
)
def test_a_wrong_value_is_refused_before_a_kernel_starts(name, value, line):
    """A sweep would otherwise train for its other values first."""
    page.check({"preset": "smoke", "seeds": [], "results": "", "data_root": "", "count": 1})
    with pytest.raises(ParameterError) as raised:
        page.check({name: value})
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value)


def test_a_notebook_is_known_by_its_path_as_well():
    assert notebooks.defaults("notebooks/table_1.ipynb") == notebooks.defaults("table_1")


def test_unknown_names_are_refused(checkout):
    write_notebook(checkout / "notebooks" / "00_other.ipynb", new_code_cell("1"))
    with pytest.raises(ParameterError, match=r"notebook: 'tinny' is not allowed; allowed: 01_tiny, 00_other"):
        notebooks.execute("tinny")
    with pytest.raises(ParameterError, match=r"notebook parameter: 'presett' is not allowed; allowed: preset, seeds"):
        notebooks.execute("01_tiny", {"presett": "smoke"})
    with pytest.raises(ParameterError, match="preset"):
        book.build("huge")
    assert not Path("01_tiny.ipynb").exists() and not (checkout / "build").exists()


@pytest.mark.parametrize(("name", "value"), [("seeds", "-1"), ("student", "wrn-3-1"), ("dataset", "photos@7")])
def test_a_wrong_value_of_a_shared_parameter_is_refused_before_a_kernel_starts(name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(papermill, "execute_notebook", None)
    with pytest.raises(ParameterError, match="is not allowed; allowed: "):
        notebooks.execute("table_1", {name: value})


@pytest.mark.parametrize("name", ["01_tiny", "01_tiny.ipynb"])
def test_the_source_is_never_overwritten(checkout, name):
    source = checkout / "notebooks" / "01_tiny.ipynb"
    before = source.read_bytes()
    for output in (source, source.parent):
        with pytest.raises(ParameterError, match="output"):
            notebooks.execute(name, output=output)
    assert source.read_bytes() == before


def test_execute_writes_into_the_current_folder(checkout):
    output = notebooks.execute("01_tiny", {"preset": "smoke", "seeds": "0,1", "rate": "1"})
    assert output == Path("01_tiny.ipynb")
    assert printed(output) == "('smoke', [0, 1], 4, 1.0, False, None)\n"


def test_a_user_error_in_a_notebook_becomes_its_message(checkout):
    with pytest.raises(UserError) as caught:
        notebooks.execute("01_tiny", {"fail": "user"})
    assert str(caught.value) == "fail: 'user' is not allowed; allowed: nothing"
    assert not Path("01_tiny.ipynb").exists()


def test_a_bug_in_a_notebook_stays_visible(checkout):
    with pytest.raises(papermill.PapermillExecutionError, match="a bug"):
        notebooks.execute("01_tiny", {"fail": "bug"}, "out.ipynb")


@pytest.mark.slow
def test_a_kernel_that_is_killed_is_one_line(checkout, in_kernels):
    """As the system does with what takes all memory: nothing is wrong with the code."""
    kill = new_code_cell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    write_notebook(checkout / "notebooks" / "02_large.ipynb", kill)
    with pytest.raises(UserError, match=r"^the kernel of notebook 02_large died, .* memory$"):
        notebooks.execute("02_large")
    assert not Path("02_large.ipynb").exists()


INTERRUPTED = """
import signal, sys
from pathlib import Path
from at_repro import cli
from at_repro.report import notebooks
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
notebooks.CHECKOUT = Path(sys.argv[1])
sys.exit(cli.main(["notebook", "02_long"]))
"""


@pytest.mark.slow
def test_an_interrupted_notebook_is_interrupted_inside_and_ends_in_one_line(checkout):
    """Its kernel gets the signal too, so that training inside saves; nobody has to read of sockets."""
    wait = "from pathlib import Path\nimport time\nPath('begun').touch()\ntry:\n    time.sleep(600)\n"
    wait += "except KeyboardInterrupt:\n    Path('interrupted').touch()\n    raise"
    write_notebook(checkout / "notebooks" / "02_long.ipynb", new_code_cell(wait))
    command = [sys.executable, "-c", INTERRUPTED, str(checkout)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not Path("begun").exists() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)  # as Ctrl-C, which test_cli sends
        said = process.stderr.read()
        assert process.wait() == 130, said
    assert said.strip() == "at-repro: stopped; the same command continues what was being trained"
    assert Path("interrupted").exists()


@pytest.mark.slow
def test_build_trains_what_its_notebooks_open_before_it_executes_them(checkout, tiny_experiment, monkeypatch, capfd):
    """Several kernels that train at once would be slower than one after another, and nobody would see how far.

    As far as its images are here: who has CIFAR-10 and not ImageNet gets the rest of preset paper's book.
    """
    photographs = replace(tiny_experiment, name="photographs", columns=vary_images)
    monkeypatch.setitem(experiments.EXPERIMENTS, photographs.name, photographs)
    path = checkout / "notebooks" / "01_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["at_repro"] = {"experiments": [tiny_experiment.name, photographs.name]}
    given = "*map(os.path.basename, (data_root, results)), device"
    look = f"import os\nprint(os.environ['AT_REPRO_TRAIN'], os.environ['OMP_NUM_THREADS'], {given})"
    notebook.cells.append(new_code_cell(look))
    nbformat.write(notebook, path)
    monkeypatch.setenv("AT_REPRO_TRAIN", "missing")
    monkeypatch.setattr(book, "render", lambda stage: stage)
    stage = book.build("smoke", "cpu", str(checkout), str(checkout / "records")).parents[2]
    store = Store(checkout / "records")
    assert all(store.has(run) for run in tiny_experiment.runs("smoke")[0].values())
    assert set(attention_table.load(store)["run_id"]) == {
        run.run_id for run in tiny_experiment.runs("smoke")[0].values()
    }
    executed = nbformat.read(stage / "notebooks" / "01_tiny.ipynb", as_version=4)
    never, _, *given = executed.cells[-1].outputs[0].text.split()
    assert (never, given) == ("never", ["checkout", "records", "cpu"]), "pages would be of other records or images"
    told = capfd.readouterr().err
    assert told.index("recorded shapes-") < told.index("executing notebook 01_tiny") < told.index("1 of 1 notebooks")
    assert "what learns from nobody@64 is not trained: " in told and "nobody holds no train images" in told


def test_nothing_is_trained_for_want_of_imagenets_weights(monkeypatch):
    def nowhere(name):
        raise DataError(f"{name}: no weights")

    monkeypatch.setattr(networks, "pretrained", nowhere)
    run = Run("efficientnet-lite0", 1, dataset="shapes", start="imagenet")
    assert book._obstacle([run], None) == "efficientnet-lite0: no weights"
    assert book._obstacle([replace(run, start="random")], None) == ""


def test_a_book_whose_runs_are_recorded_needs_no_images(checkout, monkeypatch, capfd):
    """Offline, without CIFAR-10: its pages are shown without them."""

    def nowhere(*_):
        raise DataError("offline")

    measured = []
    monkeypatch.setattr(book.notebooks, "experiments_of", lambda _: ["wrn-16-2-to-16-1"])
    monkeypatch.setattr(book.data, "load", nowhere)
    monkeypatch.setattr(book, "train", lambda *_, **__: None)
    monkeypatch.setattr(book.attention_measurement, "update_experiment", lambda *given: measured.append(given))
    book._train(["01_tiny"], "smoke", Store(checkout / "records"), "cpu", None)
    assert len(measured) == 1 and "pages are made without images of shapes: offline" in capfd.readouterr().err


def test_what_learns_from_a_teacher_without_images_is_not_trained_either(store, hand_made, monkeypatch, capfd):
    """Its own record is there, the teacher's was deleted, and its images are elsewhere: the book is made without."""
    teacher = Run("wrn-10-1", 1, dataset="nobody@64")
    student = replace(teacher, terms=(Distillation(),), teacher=teacher)
    own, asked = SimpleNamespace(runs=lambda preset: [{"student": student, "teacher": teacher}]), []
    monkeypatch.setattr(book.notebooks, "experiments_of", lambda _: ["photographs"])
    monkeypatch.setattr(book.experiments, "get", lambda name: own)
    monkeypatch.setattr(book, "train", lambda runs, *_, **__: asked.extend(runs))
    monkeypatch.setattr(book.attention_measurement, "update_experiment", lambda *_: None)
    hand_made(student)
    book._train(["table_1"], "smoke", store, "cpu", str(store.folder))
    assert not asked and "what learns from nobody@64 is not trained" in capfd.readouterr().err


def test_another_build_of_the_same_site_is_waited_for(checkout, monkeypatch):
    """It would remove this one's pages, after hours of execution."""
    said, found = queue.Queue(), []
    monkeypatch.setattr(book, "say", said.put)

    def build_too():
        with book.staged_pages("book") as other:
            found.append((other.exists(), stage.exists()))

    with book.staged_pages("book") as stage:
        thread = threading.Thread(target=build_too, daemon=True)
        thread.start()
        assert said.get(timeout=60) == "waiting for another build of book"
        thread.join(0.5)
        assert thread.is_alive() and stage.exists()
    thread.join(60)
    assert found == [(True, False)], "but one that has ended is not"


def vary_images(preset, seed):
    return {"teacher": Run("wrn-10-1", 1, dataset="nobody@64", seed=seed)}


def test_the_report_is_made_of_the_records_that_are_there(checkout, monkeypatch):
    """Days of training may be missing: whoever asks for the report gets it at once; a preset is for those who train."""
    monkeypatch.delenv("AT_REPRO_TRAIN", raising=False)
    monkeypatch.setattr(book, "open_store", lambda *_, **__: Store(checkout / "records"))
    monkeypatch.setattr(book, "render", lambda stage: stage)
    trained = []
    monkeypatch.setattr(book, "_train", lambda *given: trained.append(given))
    stage = book.build().parents[2]
    assert stage == checkout / "build" / "book"
    assert not trained and printed(stage / "notebooks" / "01_tiny.ipynb"), "a page that nobody has executed"
    book.build("reduced")
    assert len(trained) == 1


@pytest.fixture
def executed(checkout, store, hand_made, tmp_path, monkeypatch):
    """Of a checkout whose notebook shows an image, imports a module and was executed: a call that builds the report and
    returns which pages it executes."""
    for name in ("train", "test"):
        folder = tmp_path / "data" / "photos" / name / "cat"
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 16), "red").save(folder / "1.png")
    monkeypatch.setenv("AT_REPRO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(stale_pages, "PACKAGE", checkout / "at_repro")
    (checkout / "at_repro").mkdir()
    (checkout / "at_repro" / "__init__.py").touch()
    (checkout / "at_repro" / "errors.py").write_text("import at_repro.files\n")
    (checkout / "at_repro" / "files.py").write_text('"""Says what."""\n\nx = 1  # one\n')
    hand_made(Run("wrn-10-1", epochs=1))
    monkeypatch.setattr(book, "open_store", lambda *_, **__: store)
    parameters = new_code_cell('dataset = "photos@16"', metadata={"tags": ["parameters"]})
    look = new_code_cell("from at_repro import errors", metadata={"tags": ["needs-images"]})
    path = checkout / "notebooks" / "01_tiny.ipynb"
    write_notebook(path, parameters, look)
    stale_pages.image_digest.cache_clear()
    notebooks.tidy(path, stale_pages.fingerprint(nbformat.read(path, as_version=4), store, None))
    monkeypatch.setattr(book, "render", lambda stage: stage)
    monkeypatch.setattr(book, "_verify", lambda *_: book.say("records are verified"))

    def build() -> list[str]:
        stale_pages.image_digest.cache_clear()
        names: list[str] = []
        with patch.object(book, "_execute_all", lambda jobs, given: iter(names.extend(jobs) or ())):
            stage = book.build().parents[2]
        if not names:
            shown = (stage / "notebooks" / "01_tiny.ipynb").read_bytes()
            assert shown == (checkout / "notebooks" / "01_tiny.ipynb").read_bytes()
        return names

    return build


def change_code(checkout):
    path = checkout / "notebooks" / "01_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source += "\nprint(1)"
    nbformat.write(notebook, path)


def change_parameter(checkout):
    path = checkout / "notebooks" / "01_tiny.ipynb"
    path.write_text(path.read_text().replace("photos@16", "photos@24"))


def change_module(checkout):
    """Not one that the page names, but one that it gets by another."""
    (checkout / "at_repro" / "files.py").write_text("x = 2\n")


def change_record(checkout):
    shutil.rmtree(next((checkout.parent / "results").glob("*-s0-*")))


def change_image(checkout):
    Image.new("RGB", (16, 16), "blue").save(checkout.parent / "data" / "photos" / "test" / "cat" / "1.png")


def change_fingerprint(checkout):
    path = checkout / "notebooks" / "01_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["at_repro"]["fingerprint"] = "?"
    nbformat.write(notebook, path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_code, "its code or parameters changed"), (change_parameter, "its code or parameters changed"),
        (change_module, "a module that it imports changed"), (change_record, "the records changed"),
        (change_image, "the images at hand changed"), (change_fingerprint, "not executed by this version"),
    ],
)  # fmt: skip
def test_a_page_is_executed_where_something_that_it_depends_on_has_changed(change, told, executed, checkout, capfd):
    assert executed() == [], "nothing has changed: it is used as it is"
    assert "1 of 1 pages are used as they were executed" in capfd.readouterr().err
    change(checkout)
    assert executed() == ["01_tiny"]
    said = capfd.readouterr().err
    assert f"page 01_tiny is executed: {told}" in said.replace("it was ", "")
    may_be_new = change in (change_record, change_fingerprint)  # which says nothing of the records that it had
    assert ("records are verified" in said) == may_be_new, "what is new is compared with its weights"


def test_a_page_is_used_as_it_is_where_nothing_has_changed_that_it_shows(executed, checkout):
    """Words about code change no output; and pictures of images that are not here can only be kept."""
    (checkout / "at_repro" / "files.py").write_text('"""Says more.\n\nMuch.\n"""\nx = 1\n')
    shutil.rmtree(checkout.parent / "data" / "photos")
    assert executed() == []


def test_a_page_that_trains_is_always_executed(executed, checkout):
    path = checkout / "notebooks" / "01_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["at_repro"]["live"] = True
    nbformat.write(notebook, path)
    assert executed() == ["01_tiny"]


def test_a_rehearsal_is_called_so_on_every_page(checkout, monkeypatch):
    monkeypatch.setattr(book, "render", lambda stage: stage)
    intro = (checkout / "book" / "intro.md").read_text()
    (checkout / "book" / "intro.md").write_text(f"{intro}\n<!-- counts -->\n4 supported\n<!-- end -->\nthe rest\n")
    stage = book.build("smoke", "cpu", results=str(checkout / "records")).parents[2]
    for path in (stage / "intro.md", stage / "notebooks" / "01_tiny.ipynb"):
        assert "This is a rehearsal" in path.read_text()
    landing_page = (stage / "intro.md").read_text()
    assert "4 supported" not in landing_page and "the rest" in landing_page, "verdicts are the report's"


@pytest.mark.slow
def test_build_leaves_the_sources_alone_and_refuses_a_broken_reference(checkout, capfd):
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    stale = checkout / "build" / "book-smoke" / "_build" / "html" / "old.html"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier build")

    page = book.build("smoke", "cpu", results=str(checkout / "records"))

    assert page == checkout / "build" / "book-smoke" / "_build" / "html" / "index.html"
    assert not stale.exists()
    text = (page.parent / "notebooks" / "01_tiny.html").read_text()
    assert "smoke" in text
    assert "github.com" not in text, "a button that leads to somebody else's repository is worse than none"
    assert str(checkout) not in "".join(path.read_text() for path in page.parent.rglob("*.ipynb"))
    assert {path: path.read_bytes() for path in before} == before

    stage = checkout / "build" / "book-smoke"
    broken = ("{numref}`fig-nowhere`", "![](no-picture.png)", "{cite}`nobody1900`", "[](no-page.md)")
    (stage / "intro.md").write_text("\n\n".join(["# Tiny", *broken, ""]))
    with pytest.raises(UserError, match=r"the book has 4 faults; see .*build\.log"):
        book.render(stage)
    told = capfd.readouterr().err
    assert all(what in told for what in ("fig-nowhere", "no-picture.png", "nobody1900", "no-page.md"))


HALF = """
import os, pathlib, signal, sys, time
stage = pathlib.Path(sys.argv[2])
page = stage / "_build" / "html" / "index.html"
page.parent.mkdir(parents=True)
page.write_text("half a page")
(stage / "pid").write_text(str(os.getpid()))
"""
FAULT = "sys.exit('a.md:1: ERROR: no page')"
WHOLE = "page.write_text('a new page')"
SWEEP = ["sweep", "01_tiny", "-p", "images", "1", "2"]


@pytest.mark.parametrize(
    ("command", "end", "code"),
    [
        (["book"], FAULT, 2),
        (SWEEP, FAULT, 2),
        (SWEEP, "SIGTERM", 130),
        *((["book"], number.name, 130) for number in files.SIGNALS),
    ],
)
def test_a_site_stands_until_the_next_one_is_whole(command, end, code, checkout, monkeypatch, capfd, own_signals):
    """However Jupyter Book or its caller ends in the middle, and nothing of it goes on to write."""
    monkeypatch.setattr(book, "open_store", lambda *_, **__: Store(checkout / "records"))
    monkeypatch.setattr(book, "_execute_all", lambda *_: iter(()))
    monkeypatch.setattr(notebooks, "execute", lambda name, _, path: shutil.copyfile(notebooks.source(name), path))
    site = checkout / "build" / ("book" if command == ["book"] else "sweep-01_tiny")
    index = site / "_build" / "html" / "index.html"
    index.parent.mkdir(parents=True)
    index.write_text("an old page")

    def call(end: str) -> int:
        monkeypatch.setattr(book, "JUPYTER_BOOK", (sys.executable, "-c", HALF + end))
        return cli.main(command)

    stop = f"os.kill(os.getppid(), signal.{end})\ntime.sleep(60)\n{WHOLE}"
    assert call(stop if end.startswith("SIG") else end) == code
    assert index.read_text() == "an old page" and len(list(site.rglob("*.html"))) == 1
    (pid,) = (int(path.read_text()) for path in site.parent.glob(f".{site.name}.*/pid"))
    with suppress(ChildProcessError):  # it has been waited for
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    assert call(WHOLE) == 0
    assert index.read_text() == "a new page" and {*site.parent.iterdir()} <= {site, site.with_name(f"{site.name}.lock")}
    assert str(site) in capfd.readouterr().out, "the link that is printed leads there"


def test_links_lead_to_files_where_the_sources_are_read():
    """On a code host, where nothing is rendered. In the book a dead link is a fault: see above."""
    sources = [*PAGES.glob("*.md"), *PAGES.glob("api/*.md"), *(REPOSITORY / "notebooks").glob("*.ipynb")]
    link = r"\]\((?!#|\w+:)([^)#\s]+)"
    places = {page.parent / target for page in sources for target in re.findall(link, prose(str(page)))}
    assert len(places) > 10 and [place for place in places if not place.exists()] == []


def staged(address: str) -> Path:
    """Pages to render whose repository has this address."""
    with book.staged_pages("book") as stage:
        shutil.copytree(notebooks.part_of_checkout("notebooks"), stage / "notebooks")
        set_address(stage / "_config.yml", address, stage / "_config.yml")
    return stage


@pytest.mark.slow
def test_pages_lead_to_the_repository_where_its_address_is_set(checkout):
    page = book.jupyter_book(staged(ADDRESS), "html").with_name("notebooks") / "01_tiny.html"
    buttons = re.findall(r'<a href="([^"]*)"[^>]*class="btn', page.read_text())
    binder = f"https://mybinder.org/v2/gh/{ADDRESS.partition('.com/')[2]}/main?urlpath=lab/tree/notebooks/01_tiny.ipynb"
    assert {ADDRESS, binder} <= set(buttons)


def test_what_a_figure_was_made_from_is_written_below_its_caption():
    """As it is, whatever Markdown would make of it; and nothing below a table, or a figure that was not executed."""
    add = runpy.run_path(str(PAGES / "_extensions" / "figure_stamps.py"))["_add"]
    captioned = {"mystnb": {"figure": {"caption": "Errors."}}}
    drawn = new_output("display_data", {"image/png": ""}, metadata={"stamp": "preset smoke, 2 * CPU (a_b_c)"})
    cells = [
        new_code_cell(metadata=captioned, outputs=[drawn]),
        new_code_cell(metadata=captioned, outputs=[new_output("display_data", {"text/html": ""})]),
        new_code_cell(metadata=captioned),
    ]
    content = [nbformat.writes(new_notebook(cells=cells))]
    add(SimpleNamespace(env=SimpleNamespace(doc2path=lambda page: f"{page}.ipynb")), "page", content)
    captions = [notebooks.figure(cell)["caption"] for cell in nbformat.reads(content[0], as_version=4).cells]
    assert captions == ["Errors.\n\npreset smoke\\, 2 \\* CPU \\(a\\_b\\_c\\)", "Errors.", "Errors."]


@pytest.mark.skipif(not any(map(shutil.which, pdf.BROWSERS)), reason="no Chromium here; apt-get install chromium")
@pytest.mark.slow
def test_all_pages_are_printed_into_one_pdf_with_a_journals_metadata(checkout, store, hand_made):
    """Each page begins on a sheet of its own after that of the contents, and the reader's program lists them."""
    for seed in (0, 1):
        hand_made(Run("wrn-10-1", epochs=1, dataset="shapes", seed=seed), seconds=5400.0)
    stage = staged(ADDRESS)
    printed = pdf.write(stage, store).read_bytes()
    assert printed.startswith(b"%PDF-") and printed.count(b"/Type /Page\n") == 3
    assert all(b"/Title (" + title in printed for title in (b"Tiny", b"Stand-in"))
    metadata = yaml.safe_load((stage / "metadata.yaml").read_text())
    assert metadata["title"].startswith("[Re] ") and metadata["authors"]
    assert metadata["code"][0]["url"] == metadata["data"][0]["url"] == ADDRESS
    assert metadata["computing"].startswith("2 records are behind this report, 3 hours of training on CPU")


def test_a_pdf_that_is_not_printed_leaves_the_old_one(store, tmp_path, monkeypatch):
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho of no display >&2\nexit 1\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(book, "jupyter_book", lambda stage, builder: tmp_path / "index.html")
    (tmp_path / "report.pdf").write_bytes(b"of yesterday")
    with pytest.raises(UserError, match=r"Chromium did not print .*intro\.html: of no display$"):
        pdf.write(tmp_path, store)
    assert (tmp_path / "report.pdf").read_bytes() == b"of yesterday"


def test_without_chromium_nothing_is_built_and_one_line_says_what_to_install(monkeypatch, capsys, own_signals):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(book, "build", lambda *_: pytest.fail("a book is built"))
    assert cli.main(["book", "--pdf"]) == 2
    said = capsys.readouterr().err
    assert "apt-get install chromium" in said and said.count("\n") == 1


def test_no_book_is_made_of_records_that_do_not_agree_with_their_weights(store, hand_made, capfd):
    """A number that was changed after it was measured does not get into the report."""
    run = Run("wrn-10-1", epochs=1, dataset="shapes")
    hand_made(run)
    with pytest.raises(UserError, match="do not agree with their weights"):
        book._verify(store, "cpu", None)
    assert f"FAILED  {run.run_id}" in capfd.readouterr().out


def test_a_book_without_records_or_without_their_data_says_so(no_download, store, hand_made, tmp_path, capfd):
    book._verify(store, "cpu", str(tmp_path))
    assert "no records to verify" in capfd.readouterr().err
    hand_made(Run("wrn-10-1", epochs=1), curve=(25.0,))
    book._verify(store, "cpu", str(tmp_path))
    assert "records are not verified: CIFAR-10 is not in" in capfd.readouterr().err


LOOK = """import os
from pathlib import Path
print(preset, os.environ["AT_REPRO_TRAIN"], [str(path) for path in Path().glob("*.ipynb")])
"""


@pytest.fixture
def all_measured(monkeypatch):
    """Nothing is measured, as where no record is new: a refresh would write beside the real records."""
    for name in ("update_experiment", "update_imagenet"):
        monkeypatch.setattr(book.attention_measurement, name, lambda *_: 0)


@pytest.fixture
def stale(checkout, all_measured, monkeypatch):
    """A checkout with a second notebook, both with outputs of older code."""
    monkeypatch.setenv("AT_REPRO_TRAIN", "missing")  # given back after the test
    old = new_output("stream", name="stdout", text="of older code\n")
    parameters = new_code_cell('preset = "reduced"\n', metadata={"tags": ["parameters"]}, execution_count=7)
    look = new_code_cell(LOOK, outputs=[old], execution_count=8)
    write_notebook(checkout / "notebooks" / "02_look.ipynb", parameters, look)
    return checkout


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_refresh_executes_every_notebook_in_place_and_trains_nothing(stale, in_kernels):
    before = contents(stale)
    sources = [stale / "notebooks" / f"{name}.ipynb" for name in ("01_tiny", "02_look")]
    assert book.refresh() == sources
    first, second = map(printed, sources)
    assert first == "('reduced', [0], 4, 0.5, False, None)\n", "with its own defaults"
    assert second == "reduced never []\n", "something would be trained, or files lie about"
    after = contents(stale)
    assert {path for path in after if after[path] != before.get(path)} == set(sources), "another file was touched"
    assert list(Path().iterdir()) == [], "the current folder was touched"

    # What is committed is the notebook: its cells as they were, nothing of papermill, of this machine or of today.
    for path in sources:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        old = nbformat.reads(before[path].decode(), as_version=4)
        assert [cell.source for cell in notebook.cells] == [cell.source for cell in old.cells]
        assert [cell.id for cell in notebook.cells] == [cell.id for cell in old.cells]
        assert "injected-parameters" not in path.read_text() and "papermill" not in path.read_text()
        assert str(stale) not in path.read_text()
        assert stale_pages.stale_parts(notebook, stale_pages.fingerprint(notebook, open_store("reduced"), None)) == []

    book.refresh()
    assert contents(stale) == after, "a second time without new records must change nothing"


def test_refresh_measures_what_is_recorded_at_full_length_too(checkout, all_measured, monkeypatch):
    """Pages show the maps of 200 epochs beside those of 40: weights that were replaced would have no row any more."""
    presets = set()
    monkeypatch.setattr(book.attention_measurement, "update_experiment", lambda _, preset, *rest: presets.add(preset))
    monkeypatch.setattr(book, "_pages_with_images", lambda: [])
    book.refresh()
    assert presets == {"reduced", "paper"}


@pytest.mark.slow
def test_refresh_does_not_renew_the_time_alone(checkout, all_measured):
    """Else every refresh would change every notebook."""
    path = checkout / "notebooks" / "01_tiny.ipynb"
    ends = new_code_cell("import time\nprint('executed on', time.time_ns())")
    write_notebook(path, new_code_cell("x = 1", metadata={"tags": ["parameters"]}), new_code_cell("print(x)"), ends)
    book.refresh()
    first = path.read_bytes()
    book.refresh()
    assert path.read_bytes() == first and b"executed on" in first
    path.write_bytes(first.replace(b"x = 1", b"x = 2"))
    book.refresh()
    assert path.read_bytes() not in (first, first.replace(b"x = 1", b"x = 2")), "what has changed is renewed whole"


def test_a_record_that_arrives_while_a_page_is_executed_makes_it_stale(
    checkout, store, hand_made, tmp_path, monkeypatch
):
    """It may not be in the page."""
    hand_made(Run("wrn-10-1", epochs=1))
    monkeypatch.setattr(book, "open_store", lambda *_: store)

    def execute(name, choices, output):
        shutil.copy(checkout / "notebooks" / f"{name}.ipynb", output)
        hand_made(Run("wrn-10-1", epochs=1, seed=1))

    monkeypatch.setattr(notebooks, "execute", execute)
    assert list(book._execute_all({"01_tiny": tmp_path / "page.ipynb"}, {})) == ["01_tiny"]
    page = nbformat.read(tmp_path / "page.ipynb", as_version=4)
    assert stale_pages.stale_parts(page, stale_pages.fingerprint(page, store, None)) == ["records"]


@pytest.mark.slow
def test_refresh_leaves_a_notebook_whose_images_are_not_here_as_it_is(
    checkout, all_measured, tmp_path, monkeypatch, capfd
):
    """Else its figures would be overwritten by empty ones."""
    monkeypatch.setenv("AT_REPRO_DATA", str(tmp_path))
    path = checkout / "notebooks" / "02_photos.ipynb"
    parameters = new_code_cell('dataset = "photos@16"\n', metadata={"tags": ["parameters"]})
    write_notebook(path, parameters, new_code_cell("", metadata={"tags": ["needs-images"]}))
    before = path.read_bytes()
    assert book.refresh() == [checkout / "notebooks" / "01_tiny.ipynb"]
    assert path.read_bytes() == before
    assert "notebook 02_photos stays as it is" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ('raise RuntimeError("a bug")', papermill.PapermillExecutionError),
        ('from at_repro.errors import UserError\nraise UserError("mend it")', UserError),
    ],
)
@pytest.mark.slow
def test_refresh_leaves_a_notebook_that_fails_as_it_is(stale, source, error):
    """Half of a result would look like one. Those before it are done."""
    broken = stale / "notebooks" / "02_look.ipynb"
    notebook = nbformat.read(broken, as_version=4)
    notebook.cells.append(new_code_cell(source))
    nbformat.write(notebook, broken)
    before = contents(stale)
    with pytest.raises(error, match="a bug" if error is not UserError else "^mend it$"):
        book.refresh()
    after = contents(stale)
    assert after[broken] == before[broken]
    assert {path for path in after if after[path] != before.get(path)} == {stale / "notebooks" / "01_tiny.ipynb"}


def test_without_a_checkout_there_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setattr(notebooks, "CHECKOUT", tmp_path)
    with pytest.raises(UserError, match="there is no folder notebooks beside the package"):
        notebooks.names()


def test_a_build_that_has_no_place_is_one_clear_line(checkout):
    (checkout / "build").write_text("no folder")
    with pytest.raises(UserError, match=r"build cannot be written \(File exists\)"), book.staged_pages("book"):
        pass


def test_without_the_extra_there_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(notebooks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"in the clone: pip install -e '.\[book\]'"):
        book.build("smoke")


def chapters() -> list[str]:
    return re.findall(r"^(?:root|\s*- file): *(\S+)", (PAGES / "_toc.yml").read_text(), flags=re.MULTILINE)


def page_texts() -> dict[str, str]:
    return {str(path.relative_to(PAGES)): path.read_text() for path in PAGES.glob("**/*.md")}


def wanted_labels() -> set[str]:
    """Figures and tables that pages refer to and that notebooks have to provide."""
    text = "\n".join(page_texts().values())
    return set(re.findall(r"{numref}`([\w-]+)`", text)) - set(re.findall(r":name: *(\S+)", text))


def test_every_page_and_notebook_is_in_the_table_of_contents():
    pages = {name.removesuffix(".md") for name in page_texts()}
    notebooks = {f"notebooks/{path.stem}" for path in (REPOSITORY / "notebooks").glob("*.ipynb")}
    assert pages | notebooks <= set(chapters())


def test_every_module_that_users_call_has_an_api_page():
    """The study's own machinery is read in its files: to read all of it for a page is a third of a build."""
    documented = set(re.findall(r"automodule:: (\S+)", "\n".join(page_texts().values())))
    paths = [path.relative_to(REPOSITORY) for path in (REPOSITORY / "at_repro").rglob("[!_]*.py")]
    modules = {".".join(path.with_suffix("").parts) for path in paths}
    own = {name for name in modules if name.startswith(("at_repro.bench.", "at_repro.claims.", "at_repro.report."))}
    inner = {"at_repro.cli", "at_repro.data.outlines", "at_repro.data.textures", "at_repro.networks.initialise"}
    assert modules - own - inner <= documented


def test_every_module_has_its_place_in_the_map_of_the_house():
    readme = (REPOSITORY / "README.md").read_text()
    paths = [path for path in (REPOSITORY / "at_repro").glob("[!_]*") if path.is_dir() or path.suffix == ".py"]
    rooms = {path.name + "/" * path.is_dir() for path in paths}
    assert [name for name in rooms if not re.search(rf"(?<![\w]){re.escape(name)}`", readme)] == []


def test_notebooks_provide_what_pages_refer_to():
    labels = set()
    for path in (REPOSITORY / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            labels.add(notebooks.figure(cell).get("name"))
    assert wanted_labels() - labels == set()


class _Fetches(HTMLParser):
    """What a browser would fetch from another host to show a page; links that a reader may follow are not."""

    def __init__(self, text: str):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        for name in ("src", "data", "href") if tag not in ("a",) else ():
            if re.match(r"(https?:)?//", values.get(name) or ""):
                self.found.append((tag, values[name]))


@pytest.mark.slow
def test_the_real_pages_build_without_a_warning(site):
    assert {f"{name}.html" for name in chapters()} <= {str(path.relative_to(site)) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_tables_are_numbered_as_tables_and_no_number_is_left_out(site):
    numbered: dict[str, list[int]] = {"Fig.": [], "Table": []}
    for path in site.rglob("*.html"):
        for name, _, what, number in re.findall(NUMBERED, path.read_text(), re.DOTALL):
            assert (what == "Table") == name.startswith("tab-"), (path.name, name)
            numbered[what].append(int(number))
    assert all(numbered.values()), "NUMBERED finds none"
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in numbered.values()), numbered


@pytest.mark.slow
def test_the_search_names_the_page_of_everything_that_it_finds(site):
    """A function was "in " nothing, as the text of its page is not searched."""
    index = json.loads((site / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")"))
    assert all(index["titles"]) and "Attention maps" in index["titles"]


@pytest.mark.slow
def test_no_docstring_is_taken_for_a_type(site):
    """Napoleon took what stands before its first colon for one."""
    pages = {path.name: path.read_text() for path in (site / "api").glob("*.html")}
    assert "losses.html" in pages
    assert [name for name, text in pages.items() if ">Type<" in text] == []


@pytest.mark.slow
def test_pages_fetch_nothing_from_other_hosts(site):
    pages = {path.name: _Fetches(path.read_text()).found for path in site.rglob("*.html")}
    assert _Fetches('<img src="https://example.org/y.png">').found
    assert {name: found for name, found in pages.items() if found} == {}
    styles = [
        path.name for path in site.rglob("*.css") if re.search(r"(@import|url\()[\s\"']*https?:", path.read_text())
    ]
    assert styles == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "notebooks/trust_and_rerun.ipynb"])
@pytest.mark.slow
def test_python_examples_run(page, tmp_path, few_test_images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("book").symlink_to(notebooks.part_of_checkout("book"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    with ExitStack() as stack:
        for registry in (
            experiments.EXPERIMENTS,
            terms.TERMS,
            networks.registry.FAMILIES,
            networks.registry._REGISTERED,
        ):
            stack.enter_context(patch.dict(registry))  # to which examples add
        for example in re.findall(r"```python\n(.*?)```", prose(page), flags=re.DOTALL):
            exec(compile(example, page, "exec"), {"__name__": "example"})


@pytest.mark.parametrize("ends", [KeyboardInterrupt, UserError])
def test_pages_in_execution_are_not_waited_for_when_a_build_ends(ends, tmp_path, monkeypatch):
    """A page takes a minute: who presses Ctrl-C would press it again, and leave kernels behind."""
    kernels = []

    def execute(name, *_):
        if name == "long":
            command = [sys.executable, "-c", "import time; time.sleep(600)", "ipykernel_launcher"]
            kernels.append(subprocess.Popen(command))
            kernels[0].wait()
            raise RuntimeError("the kernel died")
        while not kernels:
            time.sleep(0.01)
        raise ends("the other page")

    monkeypatch.setattr(notebooks, "execute", execute)
    monkeypatch.setattr(book, "cores", lambda: 2)
    with pytest.raises(ends, match="the other page"):
        list(book._execute_all({"failing": tmp_path / "1", "long": tmp_path / "2"}, {"preset": "smoke"}))
    assert kernels[0].returncode == -signal.SIGKILL


def test_a_foreign_kernel_of_the_same_name_is_not_taken(tmp_path, monkeypatch):
    """Pages would be executed by another Python, with other packages."""
    from jupyter_client.kernelspec import get_kernel_spec

    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "foreign", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert get_kernel_spec("python3").argv[0] == "/bin/false", "or this shows nothing"
    with notebooks.environment(**notebooks.own_kernel()):
        assert get_kernel_spec("python3").argv[0] != "/bin/false"
