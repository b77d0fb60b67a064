"""How a book is built and how its pages are renewed: what is trained and executed for it, and what stands meanwhile."""

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
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from prose import ROOT
from tiny_book import ADDRESS, printed, staged, write_notebook

from at_repro import cli, experiments, files, networks
from at_repro.analysis import attention_table
from at_repro.errors import DataError, UserError
from at_repro.records import Store, open_store
from at_repro.report import book, notebooks, stale_pages
from at_repro.runs import Distillation, Run


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


@pytest.mark.slow
def test_pages_lead_to_the_repository_where_its_address_is_set(checkout):
    page = book.jupyter_book(staged(ADDRESS), "html").with_name("notebooks") / "01_tiny.html"
    buttons = re.findall(r'<a href="([^"]*)"[^>]*class="btn', page.read_text())
    binder = f"https://mybinder.org/v2/gh/{ADDRESS.partition('.com/')[2]}/main?urlpath=lab/tree/notebooks/01_tiny.ipynb"
    assert {ADDRESS, binder} <= set(buttons)


def test_what_a_figure_was_made_from_is_written_below_its_caption():
    """As it is, whatever Markdown would make of it; and nothing below a table, or a figure that was not executed."""
    add = runpy.run_path(str(ROOT / "book" / "_extensions" / "figure_stamps.py"))["_add"]
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
        assert stale_pages.reasons(notebook, open_store("reduced"), None) == []

    assert book.refresh() == []
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


@pytest.mark.slow
def test_refresh_leaves_a_notebook_whose_images_are_not_here_as_it_is(
    checkout, all_measured, tmp_path, monkeypatch, capfd
):
    """Else its figures would be overwritten by empty ones."""
    monkeypatch.setenv("AT_REPRO_DATA", str(tmp_path))
    path = checkout / "notebooks" / "02_photos.ipynb"
    cells = [new_code_cell("", metadata={"tags": [tag]}) for tag in ("parameters", "needs-images")]
    write_notebook(path, *cells, at_repro={"dataset": ["photos@16"]})
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


def test_a_build_that_has_no_place_is_one_clear_line(checkout):
    (checkout / "build").write_text("no folder")
    with pytest.raises(UserError, match=r"build cannot be written \(File exists\)"), book.staged_pages("book"):
        pass


def test_without_the_extra_there_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(notebooks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"in the clone: pip install -e '.\[book\]'"):
        book.build("smoke")


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
