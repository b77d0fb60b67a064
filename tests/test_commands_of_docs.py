"""Every command that README and book show is one that works: names, options and values are those there are.

Each is given to the command line as it stands. What would take more than seconds (training, the notebooks of
`at-repro`, the book, the benchmark) is checked up to where it would begin; other tests do that at a small size.
"""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from at_repro import bench, book, cli, results, sweep, verification

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "book/intro.md", "book/rerun.md", "book/questions.md", "book/trust.md")


def commands(program: str) -> list[str]:
    """The lines of code blocks, indented or fenced, that call this program; each once."""
    lines = [line for page in PAGES for line in (ROOT / page).read_text().splitlines()]
    return list(dict.fromkeys(found[1] for line in lines if (found := re.match(rf" *({program} [^|`]*)$", line))))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user with a folder for data and no records, who waits for nothing that is long."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AT_REPRO_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "default_folder", lambda preset: tmp_path / "records")
    training = importlib.import_module("at_repro.training")
    monkeypatch.setattr(training, "train", lambda runs, *_, **__: [run.validate() for run in runs])
    monkeypatch.setattr(book, "execute", lambda name, given, *_: book.parameters(name, given))
    monkeypatch.setattr(book, "render", lambda stage: stage)
    monkeypatch.setattr(book, "build", lambda preset, *_: results.default_folder(preset))
    monkeypatch.setattr(
        sweep, "sweep", lambda name, given: [book.parameters(name, {k: v}) for k in given for v in given[k]]
    )
    monkeypatch.setattr(bench, "run", lambda *_: {"rows": []})
    monkeypatch.setattr(verification, "verify", lambda *_: 0)
    return tmp_path


@pytest.mark.parametrize("line", commands("at-repro"))
def test_a_command_is_understood(line, home, own_signals):
    assert cli.main(shlex.split(line, comments=True)[1:]) == 0


@pytest.mark.parametrize("line", commands("papermill"))
def test_a_call_of_papermill_works_as_it_stands(line, tmp_path):
    """Without training: a notebook then lists what has no record."""
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    program, *arguments = shlex.split(line, comments=True)
    # Where make puts the package, its kernel is the only one of this name.
    environment = os.environ | {"AT_REPRO_TRAIN": "never", "JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter")}
    command = [str(Path(sys.executable).parent / program), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr.lower() and "preset smoke" in (tmp_path / "out.ipynb").read_text()


@pytest.mark.parametrize("line", commands("make"))
def test_a_make_target_exists(line):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    words = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
    assert words and set(words) <= targets


def test_the_code_is_in_the_style_that_ruff_checks():
    """As README says it, both commands on one line."""
    (line,) = commands(".venv/bin/ruff")
    for command in line.split(" && "):
        arguments = command.split()[1:]
        arguments += ["--check"] if arguments == ["format"] else []  # which would write otherwise
        done = subprocess.run([sys.executable, "-m", "ruff", *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


# What no test here calls, and why.
ELSEWHERE = {
    "conda": "makes an environment from what pyproject.toml says, which test_environment compares",
    ".venv/bin/python": "is what runs these tests",
    ".ci/run": "runs these tests",
}


def test_every_command_of_the_readme_belongs_to_a_test():
    text = re.sub(r"(?s)```.*?```", "", (ROOT / "README.md").read_text())  # examples in Python
    blocks = re.findall(r"(?:^    [^\s@}].*\n)+", text, flags=re.MULTILINE)
    shown = [line.split() for block in blocks for line in block.splitlines()]
    programs = {words[0] for words in shown if words[0] not in ("maps,", "->")}  # the way through the house
    assert programs == {"at-repro", "papermill", "make", ".venv/bin/ruff", *ELSEWHERE}


def test_commands_are_found():
    """Else the tests above would pass with nothing to test."""
    assert len(commands("at-repro")) > 12 and len(commands("papermill")) == 2 and len(commands("make")) >= 4
