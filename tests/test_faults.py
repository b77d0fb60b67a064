"""The quick form of `make faults`: each proof is tried a few times, in a process whose children can be killed."""

import importlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from at_repro.records import Store
from at_repro.report import trust

SCRIPT = Path(__file__).parent / "faults"
# The start of what each proof calls its rows; how often each is tried depends on the proof.
WHAT = [
    "SIGKILL (", "4 processes on one store", "a limit for the size of files", "a store that becomes read-only",
    "clock set back", "Ctrl-C, SIGTERM or SIGHUP", "SIGKILL of claims -o", "a training whose output is closed",
    "a command whose output is closed", "a file of a record cut", "a file of a record with a flipped bit",
    "a file of a record deleted", "a record with a forged number", "junk in a record", "a checkpoint cut",
    "a table of attention cut", "a pickle that holds code", "a signal while a file of weights is read",
    "an image of another size", "an image grey", "an image corrupt", "an image missing",
    "an image with a label out of range", "a grey picture of 16 bits", "a link that leads back",
    "a data set with bad boxes", "a command in a folder that is gone", "a bad spec", "a bad command line",
    "a command with a number too large",
]  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The rows that the script has written, by what happened; and what it printed."""
    output = tmp_path_factory.mktemp("faults") / "faults.json"
    done = subprocess.run([sys.executable, SCRIPT, "--output", output], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return trust.load(output), done


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.slow
def test_nothing_is_lost(found, what):
    rows = [row for row in found[0]["rows"] if row[0].startswith(what)]
    assert len(rows) == 1
    _, tried, fault, faults = rows[0]
    assert tried > 0 and faults == 0, f"{faults} of {tried}: {fault}\n{found[1].stderr}"


@pytest.mark.slow
def test_no_proof_is_left_out(found):
    assert len(found[0]["rows"]) == len(WHAT) and found[1].returncode == 0
    assert all(what in found[1].stdout for what in WHAT)


@pytest.fixture
def faults(monkeypatch):
    """A module of the script."""
    monkeypatch.syspath_prepend(SCRIPT)
    return importlib.import_module


@pytest.mark.parametrize("change", ["weights.safetensors", "predictions.csv", "epochs.csv"])
def test_a_difference_between_two_runs_is_seen(faults, taught, small, tmp_path, monkeypatch, change):
    """Else a proof would count nothing, whatever happened."""
    run, same = small["teacher"], faults("disturbed").same
    other = Store(shutil.copytree(taught.folder, tmp_path / "other"))
    assert same(taught, other, [run])
    path = other.record_path(run) / change
    content = path.read_bytes()
    place = content.rindex(b",") - 1 if change == "epochs.csv" else len(content) - 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    # A change that checksums cannot tell, as a faulty training would make it.
    monkeypatch.setattr(other, "load", lambda run: replace(taught.load(run), folder=path.parent))
    assert not same(taught, other, [run])


def test_the_committed_table_is_of_these_proofs_and_has_no_fault():
    rows = trust.load()["rows"]
    assert all(faults == 0 and tried > 0 for _, tried, _, faults in rows)
    names = {what for what, *_ in rows if not what.startswith("a disk that fills")}  # the quick form does without
    assert all(sum(name.startswith(what) for name in names) == 1 for what in WHAT) and len(names) == len(WHAT)
