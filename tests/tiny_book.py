"""A book with one tiny notebook, for tests that build one."""

import re
import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook

from at_repro.report import book, notebooks

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
TOC = "format: jb-book\nroot: intro\nchapters:\n  - file: notebooks/01_tiny\n"
ADDRESS = "https://github.com/somebody/at_repro"


def write_notebook(path: Path, *cells, **metadata) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Stand-in"), *cells], metadata=kernel | metadata), path)


def set_address(config: Path, address: str, changed: Path) -> None:
    """Writes a book's settings whose repository has this address."""
    changed.write_text(re.sub(r'(?m)^(repository:\n  url: )".*?"', rf'\1"{address}"', config.read_text()))


def printed(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def staged(address: str) -> Path:
    """Pages to render whose repository has this address."""
    with book.staged_pages("book") as stage:
        shutil.copytree(notebooks.part_of_checkout("notebooks"), stage / "notebooks")
        set_address(stage / "_config.yml", address, stage / "_config.yml")
    return stage
