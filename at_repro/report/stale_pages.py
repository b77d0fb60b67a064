"""Whether an executed page is still what an execution would give: digests of all that its outputs depend on.

They are in the metadata of a notebook, under `at_repro` as `fingerprint`, one by part, so that the book can say what
has changed.
"""

import ast
import hashlib
import io
import json
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from at_repro import data, files
from at_repro.errors import DataError
from at_repro.records import Store
from at_repro.report import notebooks

if TYPE_CHECKING:  # it comes with the extra `book`
    from nbformat import NotebookNode

PACKAGE = files.CHECKOUT / "at_repro"
REASONS = {
    "code": "its code or parameters changed",
    "modules": "a module that it imports changed",
    "records": "the records changed",
    "images": "the images at hand changed",
}
"""What a page depends on, and what readers are told where it is not as it was."""
NOT_EXECUTED = "it was not executed by this version of the book"


def reasons(notebook: "NotebookNode", store: Store, data_root: str | None) -> list[str]:
    """Why a page cannot be used as it was executed, for readers; empty where it can. Raises as `fingerprint`.

    Images that are not here now have not changed: their pictures stay.
    """
    now = fingerprint(notebook, store, data_root)
    try:
        before = {part: str(notebook.metadata["at_repro"]["fingerprint"][part]) for part in REASONS}
    except (KeyError, TypeError):
        return [NOT_EXECUTED]
    changes = [part for part in REASONS if before[part] != now[part] and not (part == "images" and not now[part])]
    is_live = notebook.metadata["at_repro"].get("live", False)
    return ["it trains on this machine"] * is_live + [REASONS[part] for part in changes]


def fingerprint(notebook: "NotebookNode", store: Store, data_root: str | None) -> dict[str, str]:
    """By part, twelve hexadecimal digits; of images that the page does not show, or that are not here, an empty text.

    Args:
        store: whose records the page reads. All of them count, and the measurements that lie beside it: tables of
            attention and the claims' intervals draw on every run.
        data_root: see `data.data_root`.

    Raises DamagedRecord for a record that is not whole.
    """
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    root = str(data.data_root(data_root))
    images = [image_digest(name, root) for name in notebooks.shown_images(notebook)]
    return {
        "code": _digest(sources),
        "modules": _digest(_code(path.read_text()) for path in modules("\n".join(sources))),
        "records": _digest(_records(store)),
        "images": _digest(images) if images and all(images) else "",
    }


def modules(source: str) -> list[Path]:
    """The files of this package that a source imports, and that those import, sorted; imports in functions as well."""
    paths: set[Path] = set()
    queue = [source]
    while queue:
        new = {path for name in _imports(queue.pop()) for path in _files(name)} - paths
        paths |= new
        queue += [path.read_text() for path in new]
    return sorted(paths)


@cache  # many pages import the same
def _imports(source: str) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]  # a module of a package, or a name in one
    return names


def _files(name: str) -> Iterator[Path]:
    """The module of this name, or the one that the name stands in, and the packages around it."""
    package, *inner = name.split(".")
    if package == PACKAGE.name:
        for depth in range(len(inner) + 1):
            path = PACKAGE.joinpath(*inner[:depth])
            yield from (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists())


@cache
def _code(source: str) -> str:
    """A module without comments, docstrings and empty lines, which change no output."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1 : node.end_lineno] = [""] * len(lines[node.lineno - 1 : node.end_lineno])
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _records(store: Store) -> Iterator[str]:
    for record in store.all():
        yield f"{record.values}, {record.has_weights}"
    for path in sorted([*store.folder.glob("*.csv"), *(files.CHECKOUT / "book").glob("*.json")]):
        yield hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def image_digest(dataset: str, data_root: str) -> str:
    """Twelve hexadecimal digits of a data set's test images; empty where they are not here, or damaged.

    Read once for each folder: see `data.data_root` for the default one.
    """
    try:
        return data.load(dataset, "test", data_root, download=False).fingerprint[:12]
    except DataError:
        return ""


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:12]
