"""The house has one direction: each package imports only what stands before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "at_repro"
ORDER = [
    "errors", "files", "attention", "losses", "networks", "data", "runs", "records", "training", "experiments", "bench",
    "analysis", "claims", "report", "cli",
]  # fmt: skip


def test_these_names_and_no_others_stand_at_the_top():
    names = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("__")} - {"py"}  # py.typed
    assert names == set(ORDER)


def imported(text: str, package: list[str]) -> Iterator[tuple[int, str]]:
    """The line and the full name of everything that a module of a package imports, wherever and however."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            module = [*start, *filter(None, [node.module])]
            yield from ((node.lineno, ".".join([*module, alias.name])) for alias in node.names)


@pytest.mark.parametrize("path", [path for path in sorted(PACKAGE.rglob("*.py")) if path.stem != "__main__"], ids=str)
def test_imports_point_back_only(path):
    parts = path.relative_to(PACKAGE.parent).parts
    own = parts[1].removesuffix(".py")
    allowed = ORDER[: ORDER.index(own) + 1] if own in ORDER else []
    for line, name in imported(path.read_text(), list(parts[:-1])):
        if name.startswith("at_repro."):
            assert name.split(".")[1] in allowed, f"line {line}: {own} comes before {name}"


@pytest.mark.parametrize(
    "text",
    ["import at_repro.report.book", "import os, at_repro.report as page", "from at_repro import errors, report",
     "from at_repro.report import book", "from ..report import book", "from .. import report",
     "def late():\n    from ..report.book import build", "if TYPE_CHECKING:\n    import at_repro.report"],
)  # fmt: skip
def test_every_form_of_an_import_is_seen(text):
    assert "at_repro.report" in {".".join(name.split(".")[:2]) for _, name in imported(text, ["at_repro", "runs"])}
