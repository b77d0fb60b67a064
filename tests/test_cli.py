"""The command line: what it says, what it refuses before any training, and how it is stopped."""

import os
import re
import shlex
import signal
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from at_repro import experiments
from at_repro.analysis import attention_measurement, attention_table
from at_repro.bench import benchmark
from at_repro.claims import paper_claims
from at_repro.cli import main, parser
from at_repro.data import shapes
from at_repro.records import Store
from at_repro.report import notebooks, terminal_output
from at_repro.training import loop, missing_runs, provenance

NAME = "wrn-16-2-to-16-1"
COMMANDS = (
    "maps", "experiments", "run", "status", "notebook", "sweep", "refresh", "book", "verify", "claims", "bench", "data",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("own_signals")


@pytest.fixture(autouse=True)
def surroundings(no_download, tmp_path, monkeypatch):
    """No data root of the developer's, no internet, no GPU, and a working folder of the test's own."""
    monkeypatch.delenv("AT_REPRO_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("training or a notebook was started")

    monkeypatch.setattr(missing_runs, "train_cohort", refuse)
    monkeypatch.setattr(notebooks, "execute", refuse)


@pytest.fixture
def roots(tmp_path):
    """Data roots: an empty one and one whose only shard is cut."""
    (tmp_path / "no-data").mkdir()
    shard = tmp_path / "cut" / "cifar10" / "plain_text" / "train-00000-of-00001.parquet"
    shard.parent.mkdir(parents=True)
    pq.write_table(pa.table({"label": list(range(1000))}), shard)
    shard.write_bytes(shard.read_bytes()[:-100])
    return tmp_path


def failure(capsys, *arguments: str) -> str:
    """The line on standard error of a command that must end with exit code 2."""
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse's own way
        code = stopped.code
    printed = capsys.readouterr()
    assert code == 2, printed
    assert printed.out == "", "it went ahead before it refused"
    assert printed.err.count("\n") == 1 and printed.err.endswith("\n"), printed.err
    assert printed.err.startswith("at-repro"), printed.err
    return printed.err


BAD = [
    (["run", "table-9"], ["experiment", "'table-9'", NAME]),
    (["status", "table-9"], ["experiment", "'table-9'", NAME]),
    (["run", NAME, "--preset", "huge"], ["preset", "'huge'", "smoke, reduced, paper"]),
    (["status", "--preset", "huge"], ["preset", "'huge'", "smoke, reduced, paper"]),
    (["book", "--preset", "huge"], ["preset", "'huge'", "smoke, reduced, paper"]),
    (["run", NAME, "--seeds", "-1"], ["seeds", "'-1'", "integers from 0"]),
    (["run", NAME, "--seeds", "0", "1.5"], ["seeds", "'1.5'", "integers from 0"]),
    (["run", NAME, "--seeds", "0", "one"], ["seeds", "'one'", "integers from 0"]),
    (["run", NAME, "--seeds", ""], ["seeds", "''", "integers from 0"]),
    (["status", NAME, "--seeds", "1e3"], ["seeds", "'1e3'", "integers from 0"]),
    (["run", NAME, "--seeds"], ["--seeds"]),
    (
        ["run", NAME, "--columns", "AT", "at"],
        ["columns", "'at'", "'student', 'AT', 'F-ActT', 'KD', 'AT+KD', 'teacher'"],
    ),
    (["claims", "--results", "cut/cifar10/plain_text/train-00000-of-00001.parquet"], ["results", "a folder"]),
    (["run", NAME, "--device", "cuda"], ["device", "'cuda'", "auto, cpu", "no CUDA device"]),
    (["run", NAME, "--device", "tpu"], ["device", "'tpu'", "auto, cpu, cuda"]),
    (["verify", "--device", "tpu"], ["device", "'tpu'", "auto, cpu, cuda"]),
    (["book", "--device", "cuda"], ["device", "'cuda'", "auto, cpu"]),
    (["run", NAME, "--compile", "maybe"], ["compile", "'maybe'", "auto, on, off"]),
    (
        ["run", NAME, "--preset", "reduced", "--data-root", "nowhere"],
        ["data root", "'nowhere'", "a folder that exists"],
    ),
    (["run", NAME, "--data-root", "nowhere"], ["data root", "'nowhere'", "a folder that exists"]),
    (["verify", "--data-root", "nowhere"], ["data root", "'nowhere'", "a folder that exists"]),
    (["data", "--data-root", "nowhere"], ["data root", "'nowhere'", "a folder that exists"]),
    (["book", "--data-root", "nowhere"], ["data root", "'nowhere'", "a folder that exists"]),
    (["run", NAME, "--preset", "reduced", "--data-root", "cut"], ["train-00000-of-00001.parquet", "cannot be read"]),
    (["run", NAME, "--preset", "reduced", "--data-root", "no-data"], ["CIFAR-10 is not in no-data", "smoke needs no"]),
    (["run", NAME, "--results", "cut/cifar10/plain_text/train-00000-of-00001.parquet"], ["results", "a folder"]),
    (["run", NAME, "--results", "/proc/at-repro"], ["results", "'/proc/at-repro'", "a folder that can be written"]),
    (["book", "--results", "/proc/at-repro"], ["results", "'/proc/at-repro'", "a folder that is there"]),
    (["verify", "--results", "nowhere"], ["results", "nowhere", "a folder that holds records"]),
    (["notebook", "99_missing"], ["notebook", "'99_missing'", "attention_maps"]),
    (["notebook", "attention_maps", "-p", "colour", "red"], ["notebook parameter", "'colour'", "preset"]),
    (["notebook", "table_1", "-p", "preset", "smoke", "-p", "preset", "paper"], ["-p", "each parameter once, with"]),
    (["sweep", "table_1", "-p", "beta", "1", "-p", "beta", "2"], ["-p", "each parameter once, with all its values"]),
    (["run"], ["EXPERIMENT"]),
    (["run", NAME, "--results", ""], ["results: ''", "a variable that is not set"]),
    (["claims", "-o", ""], ["output: ''"]),
    (["notebook", "table_1", "-o", ""], ["output: ''"]),
    (["notebook", "table_1", "-o", "~no-such-user/x.ipynb"], ["output", "~no-such-user"]),
    (["data", "--data-root", ""], ["data root: ''"]),
    (["maps", ""], ["model: ''"]),
    (["maps", "resnet18", "--csv", "table.csv", ""], ["pictures: ''"]),
    (["maps", "phto.jpg"], ["pictures: 'phto.jpg'", "a file, or a folder with pictures"]),
    (["book", "--preset", ""], ["preset: ''"]),
    (["train", NAME], ["'train'", "run"]),
    ([], ["COMMAND"]),
    (["run", NAME, "--sedes", "1"], ["--sedes"]),
    (["run", NAME, "--seed", "1"], ["--seed"]),
]


@pytest.mark.parametrize(("arguments", "parts"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_line_before_any_training(arguments, parts, roots, no_training, capsys, monkeypatch):
    if arguments[:1] == ["notebook"]:
        monkeypatch.setattr(notebooks, "execute", real_execute)
    if arguments[:1] in (["run"], ["verify"], ["status"]) and "--results" not in arguments:
        arguments = [*arguments, "--results", "store"]
    line = failure(capsys, *arguments)
    for part in parts:
        assert part in line, line


real_execute = notebooks.execute


@pytest.mark.parametrize("command", [["status"], ["notebook", "table_1"], ["sweep", "table_1", "-p", "beta", "1", "2"]])
def test_a_current_folder_that_is_gone_is_one_line(command, tmp_path, no_training, capsys, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert "the current folder is not there any more" in failure(capsys, *command)


@pytest.mark.parametrize("command", [["run", NAME, "--preset", "reduced", "--results", "r"], ["data"], ["book"]])
def test_the_environment_variable_is_checked_like_the_option(command, no_training, capsys, monkeypatch):
    monkeypatch.setenv("AT_REPRO_DATA", "/nowhere/data")
    line = failure(capsys, *command)
    assert "AT_REPRO_DATA: '/nowhere/data' is not allowed; allowed: a folder that exists" in line


def test_the_option_comes_before_the_environment_variable(roots, no_training, capsys, monkeypatch):
    monkeypatch.setenv("AT_REPRO_DATA", "no-data")
    line = failure(capsys, "run", NAME, "--preset", "reduced", "--data-root", "cut", "--results", "r")
    assert "train-00000-of-00001.parquet" in line


def test_refresh_executes_no_page_with_code_that_no_commit_holds(no_training, capsys, monkeypatch):
    """A page names the commit that executed it, for readers who want to see that code."""
    monkeypatch.setattr(provenance, "commit", lambda: "4be1f+changes")
    assert "commit it first" in failure(capsys, "refresh")


def test_refresh_without_cifar10_executes_no_page(no_training, capsys, monkeypatch):
    """Figures of images would be overwritten by empty ones."""
    monkeypatch.setattr(provenance, "commit", lambda: "4be1f")
    assert "CIFAR-10 is not in" in failure(capsys, "refresh")


def test_refresh_renews_the_notebooks_and_then_what_is_made_of_them(capsys, monkeypatch):
    monkeypatch.setattr(provenance, "commit", lambda: "4be1f")
    monkeypatch.setattr("at_repro.data.load", lambda *_, **__: None)
    monkeypatch.setattr("at_repro.report.book.refresh", lambda: ["notebook"])
    monkeypatch.setattr("at_repro.report.front_page.update", lambda: ["front page"])
    assert main(["refresh"]) == 0
    assert capsys.readouterr().out == "refreshed notebook\nrefreshed front page\n"


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_teaches_by_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"] if command else ["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and "usage: at-repro" in text
    for name in [command] if command else COMMANDS:
        assert f"\n  at-repro {name}" in text, "no example"


def test_every_example_is_a_command_that_exists():
    """An example that is refused would teach the wrong thing."""
    from at_repro.cli import EXAMPLES

    for line, _ in EXAMPLES:
        options = parser().parse_args(shlex.split(line))
        for name in getattr(options, "experiments", []) if "run" in line else []:
            experiments.get(name)
        if getattr(options, "preset", None):
            experiments.get_preset(options.preset)
        if hasattr(options, "name"):
            assert options.name in notebooks.names()


@pytest.mark.slow
def test_python_m_at_repro_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "at_repro", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: at-repro ")


LISTS = """
import sys
from at_repro import cli
for arguments in (["--help"], ["experiments"], ["status", "--preset", "reduced"], ["claims"]):
    try:
        cli.main(arguments)
    except SystemExit:
        pass
    if imported := {"torch", "torchvision"} & set(sys.modules):
        sys.exit(f"{arguments} imports {imported}")
"""


def test_what_only_lists_does_not_wait_for_torch():
    """Importing torch and torchvision takes seconds of a processor; a list answers within one."""
    done = subprocess.run([sys.executable, "-c", LISTS], capture_output=True, text=True)
    assert done.stderr.strip() == "", done.stderr


@pytest.mark.parametrize("wrong", [["--device", "gpu"], ["--compile", "maybe"]])
def test_a_wrong_choice_makes_no_folder(wrong, tmp_path, capsys):
    assert main(["run", NAME, *wrong, "--results", str(tmp_path / "mine")]) == 2
    assert not (tmp_path / "mine").exists() and capsys.readouterr().err.count("\n") == 1


def test_experiments_lists_runs_and_cost(capsys):
    assert main(["experiments"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert set(experiments.EXPERIMENTS) <= set(lines)
    own = lines[lines.index(NAME) + 2 :][: len(experiments.PRESETS)]
    rows = {line.split()[0]: line for line in own}
    assert " 6 runs, 1 seed, " in rows["smoke"] and "generated images" in rows["smoke"]
    assert " 6 runs, 1 seed, " in rows["reduced"] and "26 runs, 5 seeds, " in rows["paper"]


def test_data_shows_what_there_is_and_why_not(roots, capsys, monkeypatch):
    monkeypatch.setitem(shapes.SIZES, "train", 400)
    monkeypatch.setitem(shapes.SIZES, "test", 200)
    assert main(["data", "--data-root", "no-data"]) == 0
    text = capsys.readouterr().out
    assert "train: 400 images of 32x32, sha256 " in text and "40 disc, " in text, "the embedded set"
    assert "shapes: generated\n" in text and "test: 200 images" in text
    assert "cifar10: CIFAR-10 is not in no-data (not downloaded yet)" in text


def run(*more: str) -> int:
    return main(["run", NAME, "--device", "cpu", "--results", "store", *more])


def status(capsys) -> dict[str, str]:
    """By method, "teacher" for the run that others learn from: state and detail."""
    capsys.readouterr()
    assert main(["status", NAME, "--results", "store"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = dict.fromkeys(lines[:-1])
    return dict(zip(("student", "teacher", "AT", "F-ActT", "KD", "AT+KD"), names, strict=True)) | {"summary": lines[-1]}


def test_experiments_and_seeds_that_are_named_are_those_that_count(capsys):
    names, seeds = [NAME, "precisions"], [3, 4]
    assert main(["status", *names, "--results", "store", "--seeds", *map(str, seeds)]) == 0
    *lines, _ = capsys.readouterr().out.splitlines()
    asked = {run.run_id for name in names for of in experiments.get(name).runs("smoke", seeds) for run in of.values()}
    assert {line.split()[0] for line in lines} == asked and any("-s4-" in run_id for run_id in asked)


@pytest.mark.slow
def test_run_trains_once(tiny_experiment, capsys, monkeypatch):
    assert status(capsys)["summary"].startswith("6 missing in ")
    assert run() == 0
    printed = capsys.readouterr()
    assert f"all runs of {NAME} at preset smoke have a record in" in printed.out
    assert run("--seeds", "0") == 0 and f"these runs of {NAME}" in capsys.readouterr().out, "others may be missing"
    runs = tiny_experiment.runs("smoke")[0]
    for of_column in runs.values():
        assert f"recorded {of_column.run_id}: test error " in printed.err
    assert "train/test error %: " in printed.err and " images/s, " in printed.err and " left" in printed.err
    seen = status(capsys)
    assert seen["summary"].startswith("6 recorded in ") and " recorded " in seen["AT"] and "test error" in seen["AT"]

    def refuse(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(missing_runs, "train_cohort", refuse)
    assert run() == 0
    assert capsys.readouterr().err == ""
    # A record that was damaged since must not be reported as being there.
    (Store("store").folder / runs["AT"].run_id / "predictions.csv").write_text("label,prediction\n0,0\n")
    assert runs["AT"].run_id in failure(capsys, "run", NAME, "--results", "store")
    assert main(["status", NAME, "--results", "store"]) == 1
    printed = capsys.readouterr()
    assert "5 recorded, 1 damaged in " in printed.out and "predictions.csv: it does not match" in printed.err


def test_chosen_columns_bring_their_teacher(tiny_experiment, capsys):
    assert run("--columns", "AT") == 0
    assert "these runs" in capsys.readouterr().out
    seen = status(capsys)
    assert {name for name, line in seen.items() if " recorded " in line and name != "summary"} == {"AT", "teacher"}
    assert main(["status", NAME, "--results", "store", "--columns", "KD"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 recorded, 1 missing in ")


def test_claims_are_shown_and_written(capsys, tmp_path, monkeypatch):
    ledger = tmp_path / "new" / "ledger.csv"
    assert main(["claims", "-o", str(ledger)]) == 0
    lines = capsys.readouterr().out.splitlines()
    written = pd.read_csv(ledger, index_col="name")
    assert len(written) == len(paper_claims.CLAIMS)
    for row in written.itertuples():
        assert any(line.startswith(row.verdict) and line.endswith(row.claim) for line in lines), row.claim
    assert lines[-1].startswith(f"Of {len(paper_claims.CLAIMS) - 1} claims: ")
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "measure", None)  # what would be measured for minutes is not begun
    for command in (["claims", "--results", "store"], ["bench"]):
        assert "a file that can be written" in failure(capsys, *command, "-o", str(tmp_path))


def test_a_signal_stops_a_run_in_progress_and_the_same_command_continues(tiny_experiment, capsys, monkeypatch):
    """After the students' first epoch of two, while the last of them is saved."""
    from at_repro.training import Student

    save, command = Student.save, ("--columns", "student", "AT")

    def save_and_stop(self, path):
        save(self, path)
        if self.run.terms:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Student, "save", save_and_stop)
        assert run(*command) == 130
    said = capsys.readouterr().err
    assert said.endswith("at-repro: stopped; a training continues with the same command\n")
    assert "Traceback" not in said and said.count("recorded ") == 1, "the teacher"
    seen = status(capsys)
    assert seen["summary"].startswith("3 missing, 2 in progress, 1 recorded in ")
    assert " in progress " in seen["AT"] and seen["AT"].endswith("1 of 2 epochs")
    assert " missing " in seen["KD"] and seen["KD"].endswith("2 epochs")
    assert run(*command) == 0
    said = capsys.readouterr().err
    assert said.count(", continues after epoch 1\n") == 2
    assert re.findall("^epoch [0-9]/[0-9]", said, flags=re.MULTILINE) == ["epoch 2/2"], "it was trained again"
    assert said.count("recorded ") == 2 and len(Store("store").all()) == 3


@pytest.mark.parametrize(
    ("owner", "name"),
    [(loop, "evaluate"), (loop, "stored_weights"), (Store, "write"), (attention_measurement, "update_experiment")],
)
def test_a_signal_at_any_stage_loses_nothing(owner, name, tiny_experiment, capsys, monkeypatch):
    """While a network is evaluated after an epoch, its weights are taken, its record written, or its maps measured."""
    stage, command = getattr(owner, name), ("--columns", "student")

    def begin(*given, **named):
        signal.raise_signal(signal.SIGTERM)
        return stage(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, begin)
        assert run(*command) == 130
    said = capsys.readouterr().err
    assert said.endswith("at-repro: stopped; a training continues with the same command\n")
    assert "Traceback" not in said
    assert run(*command) == 0 and run(*command, "--results", "whole") == 0
    student = tiny_experiment.runs("smoke")[0]["student"]
    stopped, whole = (Store(folder).load(student).weights() for folder in ("store", "whole"))
    assert all(torch.equal(stopped[weight], value) for weight, value in whole.items())
    table = attention_table.load(Store("store"))
    assert table.equals(attention_table.load(Store("whole"))) and set(table["run_id"]) == {student.run_id}


def test_a_closed_pipe_is_no_fault():
    line = f"{sys.executable} -m at_repro experiments | true; exit ${{PIPESTATUS[0]}}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (141, ""), "as every program that writes to a closed pipe"


@pytest.mark.parametrize(
    ("command", "redirection", "code"),
    [("experiments", ">&-", 0), ("experiments", ">/dev/full", 2), ("experiments", ">&- 2>&-", 0),
     ("experiments", ">/dev/full 2>&1", 2), ("--help", ">/dev/full", 2)],
)  # fmt: skip
def test_an_output_that_is_closed_or_full(command, redirection, code):
    done = subprocess.run(["bash", "-c", f"{sys.executable} -m at_repro {command} {redirection}"], capture_output=True)
    assert done.returncode == code and b"Traceback" not in done.stderr, done.stderr
    if redirection == ">/dev/full":
        assert done.stderr == b"at-repro: the output cannot be written (No space left on device)\n"


def test_another_error_of_the_system_is_not_called_one_of_the_output(monkeypatch):
    def fail():
        raise TimeoutError("the scheduler is gone")

    monkeypatch.setattr(terminal_output, "experiments", fail)
    with pytest.raises(TimeoutError):
        main(["experiments"])


def test_training_goes_on_though_nobody_reads_what_it_says(tiny_experiment, monkeypatch):
    """As behind `2>&1 | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as unread, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", unread)
        patch.setattr(sys, "stderr", unread)
        assert run("--columns", "student") == 141
    assert len(Store("store").all()) == 1, "it ended without a record"
