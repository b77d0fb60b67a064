"""The API pages are made of docstrings: every public name has one, and what they name is there."""

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "at_repro"
# The docstring is that of what they override, or of the class: torch's modules, terms.
OVERRIDDEN = {"forward", "weight", "validate"}
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
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")


def test_every_public_name_is_documented():
    assert list(undocumented()) == []


def unresolved() -> Iterator[str]:
    """Backticked names such as `module.name`, in docstrings and comments, that lead nowhere."""
    modules: dict[str, list[str]] = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        dotted = ".".join(parts).removesuffix(".__init__")
        modules.setdefault(dotted.rpartition(".")[2], []).append(dotted)
    for path in sorted(ROOT.rglob("*.py")):
        for first, rest in re.findall(r"`(\w+)((?:\.\w+)+)`", path.read_text()):
            if first in modules and not any(_resolves(module + rest) for module in modules[first]):
                yield f"{path.relative_to(ROOT)}: {first}{rest}"


def _resolves(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def test_names_in_docstrings_lead_somewhere():
    """What was renamed or deleted is looked for in vain."""
    assert list(unresolved()) == []


def test_a_reference_of_a_page_leads_to_where_its_object_is_documented():
    """Sphinx shows one that leads nowhere as plain words, and says nothing."""
    pages = [*ROOT.parent.glob("book/**/*.md"), *ROOT.parent.glob("notebooks/*.ipynb")]
    roles = r"\{py:\w+\}`(?:[^`<]*<)?~?([\w.]+)>?`"
    targets = {target for page in pages for target in re.findall(roles, page.read_text())}
    assert "at_repro.records.record.Record" in targets
    for target in targets:
        found = pkgutil.resolve_name(target)
        where = found.__name__ if inspect.ismodule(found) else f"{found.__module__}.{found.__qualname__}"
        assert where == target
