"""The house has one direction: each package imports only what stands before it."""

import ast
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


@pytest.mark.parametrize("path", [path for path in PACKAGE.rglob("*.py") if path.stem != "__main__"], ids=str)
def test_imports_point_back_only(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = ORDER[: ORDER.index(own) + 1] if own in ORDER else []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "at_repro":
            first = node.module.split(".")[1:2]
            for name in first or [alias.name for alias in node.names]:
                assert name in allowed, f"line {node.lineno}: {own} comes before {name}"
