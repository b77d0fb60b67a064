"""Where a record comes from must be true: a wrong commit is worse than none."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from at_repro import files
from at_repro.training import provenance


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a copy of the package's folders, and the module made to believe that it lives there."""
    package = tmp_path / "at_repro"
    (package / "training").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "losses.py").write_text("")
    shutil.copy(provenance.__file__, package / "training")
    for name in ("GIT_DIR", "GIT_INDEX_FILE"):  # as in a hook of the real repository
        monkeypatch.delenv(name, raising=False)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    commit(tmp_path)
    monkeypatch.setattr(files, "CHECKOUT", tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    git(folder, *who, "-c", "core.hooksPath=/dev/null", "commit", "-qm", "state", "--allow-empty")


def test_the_commit_of_a_clean_checkout(repository):
    assert provenance.commit.__wrapped__() == git(repository, "rev-parse", "HEAD")
    (repository / "notes.md").write_text("not part of the package")
    assert not provenance.commit.__wrapped__().endswith("+changes")


@pytest.mark.parametrize("name", ["losses.py", "training/provenance.py"])
def test_changes_anywhere_in_the_package_are_told(repository, name):
    """Else a record made with an altered loss would name a commit whose loss is another."""
    with (repository / "at_repro" / name).open("a") as file:
        file.write("# changed\n")
    assert provenance.commit.__wrapped__() == git(repository, "rev-parse", "HEAD") + "+changes"


def test_the_repository_of_somebody_else_is_not_ours(repository):
    """Installed in an environment below a user's own repository, the package must not claim that one's commit."""
    git(repository, "rm", "-rq", "--cached", "at_repro")
    commit(repository)
    assert provenance.commit.__wrapped__() == "unknown"


def test_no_repository_and_no_git(tmp_path, monkeypatch):
    (tmp_path / "at_repro").mkdir()
    monkeypatch.setattr(files, "CHECKOUT", tmp_path)
    assert provenance.commit.__wrapped__() == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit.__wrapped__() == "unknown"


def test_the_environment_is_plain_data():
    found = provenance.environment(torch.device("cpu"))
    assert json.loads(json.dumps(found)) == found
    assert found["packages"]["torch"] == torch.__version__
    assert found["device"].startswith(f"CPU, {torch.get_num_threads()} thread")


def test_a_package_that_is_not_installed_costs_no_record(monkeypatch):
    """The record is written after hours of training."""

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(provenance, "version", missing)
    assert set(provenance.environment(torch.device("cpu"))["packages"].values()) == {"unknown"}


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["/home/me/.venv/bin/at-repro", "run", "a b"], "at-repro run 'a b'"),
        (["/x/at-repro", "verify", "--results", "/home/me/mine"], "at-repro verify --results .../mine"),
        (["/x/at-repro", "run", "e", "--results=/home/me/mine/"], "at-repro run e --results=.../mine/"),
        (["/x/at-repro", "bench", "-o/home/b.json", "/b.json"], "at-repro bench -o.../b.json .../b.json"),
        (["/x/at-repro", "run", "a/b", "--results=mine/one"], "at-repro run a/b --results=mine/one"),
        (["/x/at_repro/__main__.py", "run", "e"], "python -m at_repro run e"),
        (["/x/ipykernel_launcher.py", "-f", "/somewhere/kernel-1.json"], "a notebook"),
    ],
)
def test_the_command_as_somebody_would_type_it(monkeypatch, arguments, command):
    monkeypatch.setattr(sys, "argv", arguments)
    assert provenance.command() == command
