"""A sweep: one notebook executed for each value of a parameter, and a book in which the results stand side by side."""

import itertools
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from at_repro.errors import ParameterError
from at_repro.report import book, notebooks

if TYPE_CHECKING:  # it comes with the extra `book`
    from nbformat import NotebookNode


# Of sections, tables and equations; and what refers to them, or to figures.
_NAME = re.compile(r"(?m)^(\(|:name: |\$\$ \()([\w-]+)(?=\)=$|$|\)$)")
_REFERENCE = re.compile(r"(\{(?:numref|eq|ref)\}`(?:[^`<]*<)?|\]\(#)([\w-]+)(?=>?`|\))")


def sweep(name: str, parameters: Mapping[str, Sequence[object]]) -> Path:
    """Executes a notebook for every combination of the given values, and builds the book with these as a part of it.

    Its first new page compares: what differs between them, one below the other for all values. Nothing is written
    outside of `build/sweep-NAME`, but for the records of what had to be trained.

    Args:
        name: a notebook, with or without `.ipynb`.
        parameters: values by name; those with a single value are the same in every execution.

    Returns:
        The page that compares, an HTML file.

    Raises:
        ParameterError: for a notebook, a parameter or a value that is not allowed, before anything is executed; or
            where no parameter has two values, or two of them are equal.
        UserError: as `notebooks.execute` and `book.build`.
    """
    notebooks.require_tools()
    import nbformat

    name = notebooks.source(name).stem
    keys = [key for key, values in parameters.items() if len(values) > 1]
    points = [dict(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())]
    points = [notebooks.parameters(name, point) for point in points]
    if not keys or not points:
        raise ParameterError("sweep", list(parameters), "two or more values of at least one parameter")
    for number, point in enumerate(points):
        if point in points[:number]:
            raise ParameterError("sweep", point, "every combination of values once")
    rehearsals = [point.get("preset") == "smoke" for point in points]
    site = f"sweep-{name}"
    with book.staged_pages(site) as stage:
        shutil.copytree(
            notebooks.part_of_checkout("notebooks"), stage / "notebooks", ignore=shutil.ignore_patterns(".*")
        )
        pages = {}  # among the other notebooks, so that a link between two of them leads to its page
        for number, point in enumerate(points, 1):
            title = ", ".join(f"{key} {point[key]}" for key in keys)
            book.say(f"executing notebook {name} with {title} ({number} of {len(points)})")
            path = notebooks.execute(name, point, stage / "notebooks" / f"sweep_{number:02d}.ipynb")
            notebooks.tidy(path)
            pages[title] = _retitle(path, title, number, rehearsals[number - 1])
        comparison = _comparison(name, pages)
        if all(rehearsals):
            comparison.cells[0].source = book.with_rehearsal(comparison.cells[0].source)
        nbformat.write(comparison, stage / "notebooks" / "sweep_comparison.ipynb")
        _list(stage / "_toc.yml", name, len(points))
        book.render(stage)
        return book.put_in_place(stage, site) / book.SITE / "notebooks" / "sweep_comparison.html"


def _retitle(path: Path, title: str, number: int, is_rehearsal: bool) -> "NotebookNode":
    """The executed notebook under a title of its own; nothing on it keeps a name that another page has."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = re.sub(r"^# .*", lambda _: f"# {title}", notebook.cells[0].source, count=1)
    if is_rehearsal:
        notebook.cells[0].source = book.with_rehearsal(notebook.cells[0].source)
    words = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    shown = [figure for cell in notebook.cells if (figure := notebooks.figure(cell))]
    own = {name for cell in words for _, name in _NAME.findall(cell.source)} | {figure["name"] for figure in shown}

    def numbered(found: re.Match) -> str:
        return found[0] + f"-{number}" * (found[2] in own)

    for cell in words:
        cell.source = _REFERENCE.sub(numbered, _NAME.sub(numbered, cell.source))
    for figure in shown:
        figure["name"] += f"-{number}"
        figure["caption"] = _REFERENCE.sub(numbered, figure.get("caption", ""))
    nbformat.write(notebook, path)
    return notebook


def _comparison(name: str, pages: Mapping[str, "NotebookNode"]) -> "NotebookNode":
    """What the notebook shows and prints, for all values, under its captions and headings; what is the same for all
    values is left out, and the notebook's last cell, which says when it was executed."""
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    first = next(iter(pages.values()))
    text = f"What differs between {'; '.join(pages)}. Everything else is the same for all of them."
    cells, heading, last = [new_markdown_cell(f"# Sweep of {name}\n\n{text}")], "", ""
    for index, cell in enumerate(first.cells[:-1]):
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^## .*", cell.source, re.MULTILINE)][-1]
            continue
        cells_of = {title: notebook.cells[index] for title, notebook in pages.items()}
        outputs = {title: _outputs(other) for title, other in cells_of.items()}
        if not any(outputs.values()) or all(other == outputs[next(iter(outputs))] for other in outputs.values()):
            continue
        above = f"## {figure['caption']}" if (figure := notebooks.figure(cell)) else heading
        if above and above != last:
            cells.append(new_markdown_cell(above))
        last = above
        for title, own in cells_of.items():
            cell = new_code_cell(own.source, outputs=outputs[title], metadata={"tags": ["remove-input"]})
            cells += [new_markdown_cell(f"**{title}**"), cell]
    return new_notebook(cells=cells, metadata=first.metadata)


def _outputs(cell: "NotebookNode") -> list:
    """A cell's outputs without curves to touch, which belong to the figure before them."""
    touched = '<div class="curves"'
    return [output for output in cell.outputs if not output.get("data", {}).get("text/html", "").startswith(touched)]


def _list(toc: Path, name: str, count: int) -> None:
    """Adds the sweep to a table of contents, as a part of its own."""
    files = ["comparison", *(f"{number:02d}" for number in range(1, count + 1))]
    chapters = "".join(f"      - file: notebooks/sweep_{file}\n" for file in files)
    toc.write_text(toc.read_text().rstrip("\n") + f"\n  - caption: Sweep of {name}\n    chapters:\n{chapters}")
