"""A page is executed anew where what it was made of has changed, and nowhere else."""

import shutil
from unittest.mock import patch

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from PIL import Image
from tiny_book import write_notebook

from at_repro.report import book, notebooks, stale_pages
from at_repro.runs import Run


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
    parameters = new_code_cell("seeds = [0]", metadata={"tags": ["parameters"]})
    look = new_code_cell("from at_repro import errors", metadata={"tags": ["needs-images"]})
    path = checkout / "notebooks" / "01_tiny.ipynb"
    write_notebook(path, parameters, look, at_repro={"dataset": ["photos@16"]})
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
    path.write_text(path.read_text().replace("seeds = [0]", "seeds = [1]"))


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
    assert stale_pages.reasons(page, store, None) == [stale_pages.REASONS["records"]]
