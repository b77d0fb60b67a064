"""The API pages are made of docstrings: every public name has one."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "at_repro"
# The docstring is that of what they override, or of the class: torch's modules, terms, argparse, the layout of a test.
OVERRIDDEN = {"forward", "weight", "value", "validate", "error"}
# On no API page: the command line, whose help says what a command does, and outlines, all of one documented kind.
APART = {"cli.py", "data/outlines.py"}


def undocumented() -> Iterator[str]:
    for path in sorted(ROOT.rglob("*.py")):
        tree, name = ast.parse(path.read_text()), str(path.relative_to(ROOT))
        if not ast.get_docstring(tree):
            yield name
        for node in tree.body if name not in APART else ():
            if _is_public(node) and not ast.get_docstring(node):
                yield f"{name}: {node.name}"
            if isinstance(node, ast.ClassDef) and _is_public(node):
                for inner in node.body:
                    if _is_public(inner) and inner.name not in OVERRIDDEN and not ast.get_docstring(inner):
                        yield f"{name}: {node.name}.{inner.name}"


def _is_public(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
        return False
    return "overload" not in map(ast.unparse, node.decorator_list)  # its docstring is that of what is overloaded


def test_every_public_name_is_documented():
    assert list(undocumented()) == []
