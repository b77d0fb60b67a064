"""The quick form of `make faults`: each proof is tried a few times, in a process whose children can be killed."""

import importlib
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from at_repro.errors import ParameterError
from at_repro.records import Store
from at_repro.report import trust
from at_repro.runs import Run

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


def test_the_report_names_what_was_tried(tmp_path):
    """A kill and a full disk are typed in the sentence that counts the proofs, which are `make faults`'s to choose."""
    results = trust.load()
    sentence = trust.answer(results, Store(tmp_path))
    happened = "; ".join(row[0] for row in results["rows"])
    assert "SIGKILL" in happened and "a disk that fills" in happened and "such as a kill or a full disk" in sentence
    tried = sum(row[1] for row in results["rows"])
    assert sentence.startswith("**0 records") and "WRN-16-1" not in sentence, "its row at full length is not here"
    assert f"disturbed {tried} runs, records and commands in {len(results['rows'])} ways" in sentence


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


def test_without_a_table_the_page_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(trust, "COMMITTED", tmp_path / "none.json")
    assert trust.proofs(trust.load()).empty
    with pytest.raises(ParameterError, match="make faults"):
        trust.load(tmp_path / "none.json")


def test_the_provenance_of_a_record(small, taught):
    """A record that was trained here, read back as a reader would."""
    record = taught.load(small["teacher"])
    answers = trust.origins(record).set_index("question")["answer"]
    assert answers["which run?"] == record.run.run_id
    assert answers["what was trained?"] == (record.run.canonical_json())
    assert answers["by which code?"] == record.values["environment"]["commit"]
    assert answers["by how many processes?"] == "1"
    assert answers["with what result?"] == f"test error {record.final['test_error']:.2f} %"
    wrong = (record.predictions()["label"] != record.predictions()["prediction"]).sum()
    assert answers["is that what was predicted?"] == f"{wrong} of 20 predictions differ from their labels"


def test_the_provenance_of_a_record_of_older_code(hand_made, small):
    """What it does not say is not made up."""
    answers = trust.origins(hand_made(small["kd"], seconds=61.0)).set_index("question")["answer"]
    assert answers["by how many processes?"] == answers["how was it called?"] == "not recorded"
    assert answers["in what time?"] == "1 min 01 s"
    diverged = hand_made(small["at"], diverged=2, seconds=1.0)
    assert trust.origins(diverged).set_index("question")["answer"]["with what result?"] == "diverged in epoch 2"


def test_the_example_is_a_record_of_the_store(hand_made, small, store, tmp_path):
    (tmp_path / "none").mkdir()
    assert trust.example("smoke", str(tmp_path / "none")) is None
    assert trust.origins(None)["answer"].tolist() == ["no run has a record here yet"]
    records = [hand_made(small[name]) for name in ("teacher", "kd")]
    assert trust.example("smoke", str(store.folder), records[0].run.run_id) == records[0]
    assert trust.example("smoke", str(store.folder)) in records
    with pytest.raises(ParameterError, match=r"^run: '\.\./x' is not allowed"):
        trust.example("smoke", str(store.folder), "../x")
    with pytest.raises(ParameterError, match=r"^preset: 'huge' is not allowed"):
        trust.example("huge", str(store.folder))


def test_the_page_on_trust_counts_what_was_tried(store, hand_made):
    hand_made(Run("wrn-10-1", epochs=1), seconds=7200.0)
    found = {"rows": [("a kill", 3, "a loss", 0), ("a flip", 4, "a wrong number", 0)]}
    told = trust.answer(found, store)
    assert told.startswith("**1 records are behind this report, 2 hours of training on CPU.**")
    assert (
        "disturbed 7 runs, records and commands in 2 ways, such as a kill or a full disk, and found no faults." in told
    )
    assert re.search(r"^made with Python 3\.\d+", trust.versions())
