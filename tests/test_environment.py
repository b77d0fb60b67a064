"""pyproject.toml says which versions are allowed, constraints.txt which were tested; all else agrees with them."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from prose import ROOT

CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def requirements() -> dict[str, Requirement]:
    """What the project and its extras require, by name, but for itself."""
    extras = PROJECT["optional-dependencies"].values()
    everything = [*PROJECT["dependencies"], *(requirement for extra in extras for requirement in extra)]
    return {name(each): Requirement(each) for each in everything if name(each) != PROJECT["name"]}


def declared() -> set[str]:
    return set(requirements())


def imported() -> set[str]:
    """Top-level names of the third-party modules that the package imports."""
    found = set()
    for path in (ROOT / "at_repro").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"at_repro"}


def reasons() -> set[str]:
    """Packages in the table of reasons."""
    table = (ROOT / "CONTRIBUTING.md").read_text().split("| package | why |")[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    return {package.strip() for cell in cells for package in cell.split(",")}


def newest_tested() -> int:
    """The newest Python for which the versions of constraints.txt are tested, 3 left out."""
    (tested,) = re.findall(r"python: \[(.*)\]", (ROOT / ".github" / "workflows" / "book.yml").read_text())
    return max(int(version) for version in re.findall(r"3\.(\d+)", tested))


def test_conda_environment_agrees_with_the_project():
    lines = (ROOT / "environment.yml").read_text()
    entries = re.findall(r"^\s*- (.+)$", lines, flags=re.MULTILINE)
    (installed,) = [entry for entry in entries if entry.startswith("-e ")]
    extras = re.fullmatch(r"-e \.\[(.+)\]", installed)[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    everything = "at-repro[book,cluster,photographs,timm]"
    assert everything in PROJECT["optional-dependencies"]["test"], "one environment for all"
    # No other package, so no second place where a version could stand.
    python = f"python{PROJECT['requires-python']},<3.{newest_tested() + 1}"
    assert set(entries) == {"conda-forge", python, "pip", "pip:", "-c constraints.txt", installed}


@pytest.mark.skipif("AT_REPRO_TEST_CONDA" not in os.environ, reason="AT_REPRO_TEST_CONDA is not set: needs conda")
def test_conda_makes_an_environment_that_works(tmp_path):
    """The commands of the page on rerunning, in a clone, and not among the user's environments."""
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    create = ["conda", "env", "create", "--quiet", "--file", "environment.yml", "--prefix", str(tmp_path / "env")]
    subprocess.run(create, cwd=tmp_path / "clone", check=True)
    within = ["conda", "run", "--prefix", str(tmp_path / "env"), "--cwd", str(tmp_path / "clone")]
    shown = subprocess.run([*within, "at-repro", "experiments"], check=True, capture_output=True, text=True).stdout
    assert "Table 1, second row" in shown


def test_constraints_are_versions_that_the_project_allows():
    """Of every package that it names; no local build, path or host, which others do not have."""
    assert [line for line in CONSTRAINTS if not re.fullmatch(r"[\w.-]+==[\w.!]+", line)] == []
    tested = {name(line): Requirement(line).specifier for line in CONSTRAINTS}
    assert len(tested) == len(CONSTRAINTS) and declared() <= set(tested)
    for each, requirement in requirements().items():
        (version,) = tested[each]
        assert requirement.specifier.contains(version.version), f"{requirement} does not allow {version}"


def test_makefile_asks_for_the_same_python():
    lowest, newest = re.fullmatch(r">=3\.(\d+)", PROJECT["requires-python"])[1], newest_tested()
    makefile = (ROOT / "Makefile").read_text()
    assert f"(3, {lowest}) <= sys.version_info < $(if $(LATEST),(4, 0),(3, {newest + 1}))" in makefile
    assert f"Python 3.{lowest} $(if $(LATEST),or newer,to 3.{newest})" in makefile
    told = f"Python 3.{lowest} to 3.{newest}"
    pages = ("README.md", "notebooks/trust_and_rerun.ipynb")
    assert all(told in (ROOT / page).read_text() for page in pages)


@pytest.mark.parametrize(
    ("version", "taken", "kept"),
    [("3.10.14", False, True), ("3.15.0", False, True), ("3.14.1", True, False), ("3.12.1", True, True)],
)
def test_make_takes_no_python_for_which_nothing_was_tested_and_no_environment_of_another(
    version, taken, kept, tmp_path
):
    """The versions of constraints.txt have no wheels for it; and `venv` leaves an interpreter that is there."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for file in ("pyproject.toml", "constraints.txt"):
        (tmp_path / file).touch()
    python = tmp_path / "python"
    pip = "test -e .venv/bin/python || { mkdir -p .venv/bin && cp $0 .venv/bin/python; }"
    info = ", ".join(version.split("."))
    ask = f'{sys.executable} -c "import sys; sys.version_info = ({info}); exec(sys.argv[1])" "$2"'
    venv = f'-V) echo Python {version};; -c) {ask};; -m) test "$2" = pip || {{ {pip}; }};;'
    python.write_text(f'#!/bin/sh\ncase "$1" in {venv} esac\n')
    python.chmod(0o755)
    old = tmp_path / ".venv" / "bin" / "python"
    old.parent.mkdir(parents=True)
    old.write_text('#!/bin/sh\ntest "$1" = -V && echo Python 3.12.1 || true\n')
    old.chmod(0o755)
    make = ["make", ".venv/installed", "LATEST=", f"PYTHON={python}"]
    done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode == 0) == taken, done.stderr
    assert ("is not Python 3.11 to 3.14" in done.stdout) != taken
    assert (old.read_bytes() != python.read_bytes()) == kept
    assert (".venv is of another Python" in done.stdout) != kept


def test_imports_are_declared():
    providers = packages_distributions()
    # nbformat and nbclient come with papermill, whose notebooks and errors are theirs; IPython and its backend with
    # ipykernel.
    undeclared = {
        module
        for module in imported() - {"nbformat", "nbclient", "IPython", "matplotlib_inline"}
        if not {name(provider) for provider in providers.get(module, [module])} & declared()
    }
    assert undeclared == set()


def test_every_dependency_has_a_reason():
    assert declared() == reasons()
