"""A sweep executes a notebook once for each value, and shows the results side by side."""

import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from prose import ROOT

from at_repro import cli
from at_repro.errors import ParameterError
from at_repro.report import book, notebooks
from at_repro.report.sweep import sweep

pytestmark = pytest.mark.slow

NAMED = """(words)=
### In words

$$
y = x^2
$$ (eq-square)

```{list-table} Squares
:name: tab-squares

* - 4
```

As {numref}`tab-squares` and [that one](#tab-square) show, by {eq}`eq-square`."""
TABLE = {
    "tags": ["hide-input"],
    "mystnb": {"figure": {"name": "tab-square", "caption": "The square, see {numref}`tab-squares`"}},
}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout whose notebook squares its parameter, and a page that refers to its table."""
    for folder in ("_assets", "_extensions"):
        shutil.copytree(ROOT / "book" / folder, tmp_path / "book" / folder)
    shutil.copy(ROOT / "book" / "_config.yml", tmp_path / "book")
    shutil.copy(ROOT / "book" / "references.bib", tmp_path / "book")
    toc = "format: jb-book\nroot: intro\nparts:\n  - caption: All\n    chapters:\n      - file: notebooks/01_square\n"
    (tmp_path / "book" / "_toc.yml").write_text(toc)
    (tmp_path / "book" / "intro.md").write_text("# Intro\n\nSee {numref}`tab-square`.\n")
    four = new_output("execute_result", {"text/plain": "4"}, execution_count=1)
    cells = [
        new_markdown_cell("# Square"),
        new_code_cell("x = 2\nword = 'is'", metadata={"tags": ["parameters"]}),
        new_code_cell(
            "import pandas as pd\npd.DataFrame({'square': [x * x], 'word': [word]})",
            metadata=TABLE,
            outputs=[four],
            execution_count=1,
        ),
        new_markdown_cell("Some [words](01_square), as between notebooks.\n\n## In short\n\nSo.\n\n## What is printed"),
        new_markdown_cell(NAMED),
        new_code_cell("print(f'{x} is squared')"),
        new_code_cell("print('always the same')"),
        new_code_cell("print(f'executed for {x}')"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks" / "01_square.ipynb")
    monkeypatch.setattr(notebooks, "CHECKOUT", tmp_path)
    monkeypatch.setattr(book.in_browser, "write", lambda *_: [])  # of the real book
    return tmp_path


def test_every_value_has_its_notebook_and_all_stand_on_one_page(checkout, in_process):
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    page = sweep("01_square", {"x": ["3", "5"], "word": ["makes"]})
    assert page == checkout / "build" / "sweep-01_square" / "_build" / "html" / "notebooks" / "sweep_comparison.html"
    text = page.read_text()
    assert text.index("<strong>x 3") < text.index("<td>9</td>") < text.index("<strong>x 5") < text.index("<td>25</td>")
    assert "The square" in text and text.count("<td>makes</td>") == 2
    assert text.index("What is printed") < text.index("3 is squared") < text.index("5 is squared")
    assert "always the same" not in text and "executed for" not in text and "In short" not in text
    for number, square in (("01", 9), ("02", 25)):
        own = (page.parent / f"sweep_{number}.html").read_text()
        assert f"<td>{square}</td>" in own
        assert f'href="#tab-squares-{int(number)}"' in own and f'href="#tab-square-{int(number)}"' in own, (
            "its own tables"
        )
        assert 'href="01_square.html#tab-squares"' not in own
    assert "Sweep of 01_square" in (page.parents[1] / "intro.html").read_text(), "it is not in the table of contents"
    after = {path: path.read_bytes() for path in before}
    assert after == before, "the sources are as they were"


@pytest.mark.parametrize(
    ("parameters", "marked"),
    [
        ({"x": ["3", "5"], "preset": ["smoke"]}, {"sweep_01", "sweep_02", "sweep_comparison"}),
        ({"x": ["3"], "preset": ["smoke", "reduced"]}, {"sweep_01"}),
    ],
)
def test_what_was_swept_on_generated_images_is_called_a_rehearsal(
    parameters, marked, checkout, in_process, monkeypatch
):
    """Below the words of the report its numbers would be taken for results."""
    notebook = nbformat.read(path := checkout / "notebooks" / "01_square.ipynb", as_version=4)
    notebook.cells[1].source += "\npreset = 'reduced'"
    nbformat.write(notebook, path)
    monkeypatch.setattr(book, "render", lambda stage: None)
    pages = sweep("01_square", parameters).parents[3] / "notebooks"
    assert {page.stem for page in pages.glob("*.ipynb") if "This is a rehearsal" in page.read_text()} == marked


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"x": ["3"]}, r"^sweep: \['x'\] is not allowed; allowed: two or more values of at least one parameter$"),
        ({}, r"^sweep: \[\] is not allowed"),
        ({"x": ["3", "4"], "word": []}, r"^sweep: \['x', 'word'\] is not allowed"),
        ({"x": ["3", "three"]}, r"^x: 'three' is not allowed; allowed: an int"),
        ({"x": ["3", "03"[1:]]}, r"^sweep: .* is not allowed; allowed: every combination of values once$"),
        ({"x": ["3", "4"], "y": ["1"]}, r"^notebook parameter: 'y' is not allowed; allowed: x, word"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_is_executed(parameters, message, checkout, monkeypatch):
    monkeypatch.setattr(notebooks, "execute", None)
    with pytest.raises(ParameterError, match=message):
        sweep("01_square", parameters)
    assert not (checkout / "build").exists()


def test_the_command_line_takes_several_values(checkout, monkeypatch, capsys, own_signals):
    given = []
    monkeypatch.setattr("at_repro.report.sweep.sweep", lambda *arguments: given.append(arguments) or "page")
    assert cli.main(["sweep", "01_square", "-p", "x", "3", "5", "-p", "word", "makes"]) == 0
    assert given == [("01_square", {"x": ["3", "5"], "word": ["makes"]})]
    assert cli.main(["sweep", "01_square", "-p", "x"]) == 2
    assert "-p: 'x' is not allowed; allowed: a parameter and one or more values" in capsys.readouterr().err
