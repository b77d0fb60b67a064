"""Every command that README and book show is one that works: each is executed as it stands.

So that this takes seconds each, experiments are two batches of generated images here, notebooks train nothing and start
no kernel, a cluster is this process, as test_cluster starts one, and three commands end where their longest work would
begin: `at-repro book`, which `make book` runs in CI, `at-repro bench`, whose cases test_bench runs, and `at-repro
sweep`, whose book test_sweep renders.
"""

import os
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
import short
from papermill.cli import papermill
from prose import ROOT, prose

from at_repro import cli, experiments, records
from at_repro.bench import benchmark
from at_repro.data import shapes
from at_repro.experiments import cluster
from at_repro.report import book, pdf
from at_repro.training import train
from at_repro.training.processes import Ranks

pytestmark = pytest.mark.slow

PAGES = ("README.md", "CONTRIBUTING.md", "book/intro.md", "notebooks/trust_and_rerun.ipynb")


def commands(program: str) -> list[str]:
    """The lines of code blocks, indented or fenced, that call this program, without their comments; each once."""
    lines = [line for page in PAGES for line in prose(page).splitlines()]
    found = [match[1] for line in lines if (match := re.match(rf" *({program} [^|`]*)$", line))]
    return list(dict.fromkeys(re.sub(" +#.*", "", line) for line in found))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user with a folder for data and no records, whose experiments take seconds."""
    for name in ("data", "mine"):  # the latter a command before makes
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AT_REPRO_TRAIN", "never")  # for notebooks; `at-repro run` trains
    monkeypatch.delenv("AT_REPRO_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    for place in ("at_repro.records.store", "at_repro.records"):
        monkeypatch.setattr(f"{place}.default_folder", lambda preset: tmp_path / "records")
    monkeypatch.setattr(book, "build", lambda preset=None, *_: records.store.default_folder(preset))
    monkeypatch.setattr(book, "render", lambda stage: stage)
    monkeypatch.setattr(pdf, "chromium", lambda: "chromium")
    monkeypatch.setattr(pdf, "write", lambda stage, store: stage / pdf.NAME)
    monkeypatch.setattr(benchmark, "measure", lambda *_: {"environment": {}, "rows": []})
    monkeypatch.setattr(cluster, "connect", {"local:2": nullcontext()}.__getitem__)  # as test_cluster calls it
    monkeypatch.setattr(cluster, "train_on", lambda client, runs, store, **how: train(runs, store, **how))
    with patch.dict(shapes.SIZES), patch.dict(experiments.PRESETS), patch.dict(experiments.EXPERIMENTS):
        short.shorten()
        yield tmp_path


@pytest.mark.parametrize("line", commands("at-repro"))
def test_a_command_works_as_it_stands(line, home, in_process, own_signals, capsys):
    words = shlex.split(line)[1:]
    if words[0] in ("verify", "claims"):  # of records that somebody has
        assert cli.main(["run", "precisions"]) == 0
    if words[0] == "run":
        for name in experiments.TABLE_1:
            short.shrink(name, "AT")
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert {
        "run": "have a record in",
        "verify": "2 of 2 records verified",
        "notebook": f"executed {words[-1] if words[0] != 'notebook' else words[1]}",
        "sweep": "the comparison is here",
        "status": "missing",
        "claims": "29 claims: ",
        "maps": "drawn: ",
        "experiments": "wrn-16-2-to-16-1",
        "data": "sha256",
    }.get(words[0], "") in shown


@pytest.mark.parametrize("line", commands("papermill"))
def test_a_call_of_papermill_works_as_it_stands(line, home, in_process, caplog):
    """Without training: a notebook then lists what has no record. Kernels are started by test_notebook_runs."""
    (home / "notebooks").symlink_to(ROOT / "notebooks")
    papermill(shlex.split(line)[1:], standalone_mode=False)
    assert "unknown parameter" not in caplog.text.lower() and "preset smoke" in (home / "out.ipynb").read_text()


@pytest.mark.parametrize("line", commands("torchrun"))
def test_a_call_of_torchrun_works_as_it_stands(line, tmp_path):
    program, *arguments = line.split()
    for run in experiments.get(arguments[arguments.index("run") + 1]).runs("smoke")[0].values():
        Ranks(0, 2).check(run, 100)  # what is trained here in its place are smaller networks, with KD and AT
    command = [str(Path(sys.executable).parent / program), *arguments, "--results", str(tmp_path / "records")]
    code = "import os\nif 'RANK' in os.environ:\n    import short\n"
    code += "    short.shorten()\n    short.shrink('imagenet-resnet18', 'KD', 'AT')"  # which processes can share
    (tmp_path / "sitecustomize.py").write_text(code)
    folders = os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "tests")))
    environment = os.environ | {"PYTHONPATH": folders, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("have a record in") == 1, "every process says so"


@pytest.mark.parametrize("line", commands("make"))
def test_a_make_target_exists_and_its_commands_are_known(line, home, own_signals):
    """What make would call. It is called by CI (book, test) and by other tests (dist, faults)."""
    words = [*shlex.split(line), "--dry-run", "--assume-old=.venv/installed", "LATEST="]
    done = subprocess.run([*words, "-C", str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    called = re.findall(r"^\.venv/bin/at-repro (.*)", done.stdout, flags=re.MULTILINE)
    assert len(called) == (words[1] in ("book", "pdf", "rehearsal"))
    for command in called:
        assert cli.main(shlex.split(command)) == 0


def test_the_code_is_in_the_style_that_ruff_checks():
    """As CONTRIBUTING says it, both commands on one line."""
    (line,) = commands(".venv/bin/ruff")
    for command in line.split(" && "):
        arguments = command.split()[1:]
        arguments += ["--check"] if arguments == ["format"] else []  # which would write otherwise
        done = subprocess.run([sys.executable, "-m", "ruff", *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_types_are_what_mypy_checks():
    """Here, and not before the tests, where it would leave all cores but one idle."""
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# What no test of this file calls, and why.
ELSEWHERE = {
    ".venv/bin/python": "is what runs these tests",
    ".ci/run": "runs these tests",
}


def test_every_command_of_the_readme_belongs_to_a_test():
    pages = "\n".join((ROOT / page).read_text() for page in ("README.md", "CONTRIBUTING.md"))
    text = re.sub(r"(?s)```.*?```", "", pages)  # examples in Python
    blocks = re.findall(r"(?:^    [^\s@}].*\n)+", text, flags=re.MULTILINE)
    programs = {line.split()[0] for block in blocks for line in block.splitlines()}
    assert programs == {"at-repro", "papermill", "make", ".venv/bin/ruff", *ELSEWHERE}


def test_a_newcomer_can_read_the_readme_to_its_end():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120 and len(text.encode()) <= 8192


def test_commands_are_found():
    """Else the tests above would pass with nothing to test."""
    assert len(commands("at-repro")) > 12 and len(commands("make")) >= 4
    assert len(commands("papermill")) == 2 and len(commands("torchrun")) == 1
