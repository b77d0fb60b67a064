"""The record store: whole records or none, and damage is named."""

import json
import os
import re
import shutil
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from at_repro import files, networks
from at_repro.errors import ParameterError, UserError
from at_repro.records import DamagedRecord, Store, default_folder, load_record, open_store, record
from at_repro.records.record import sha256
from at_repro.training import engine
from at_repro.training.weights import stored_weights

FILES = ("spec.json", "record.json", "epochs.csv", "predictions.csv", "weights.safetensors")


@pytest.fixture
def run(small):
    return small["at+kd"]


def test_a_record_survives_a_round_trip(store, run, hand_made):
    written, loaded = hand_made(run), store.load(run)
    assert loaded == written
    assert loaded.run == run, "the spec, its teacher and its terms"
    assert loaded.final["test_loss"] == 1 / 3, "a metric lost digits"
    assert loaded.predictions().to_dict("list") == {"label": [0, 1, 2, 3], "prediction": [0, 1, 2, 9]}
    assert loaded.epochs()["test_error"].tolist() == [20.0, 25.0]
    network = networks.build(run.network, 10, engine.generator(run.seed, "weights"))
    weights = loaded.weights()
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[name], value.half().float()) for name, value in network.named_parameters())
    assert all(value.dtype in (torch.float32, torch.int64) for value in weights.values())


def test_a_weight_beyond_float16_keeps_its_value(run):
    network = networks.build(run.network)
    with torch.no_grad():
        network.fc.bias[0] = 1e6
    assert stored_weights(network)["fc.bias"][0] == 1e6, "stored as infinity"
    assert stored_weights(network)["fc.weight"].dtype == torch.float16


def test_a_tensor_without_values_is_stored():
    """Such as a parameter that only says on which device a network is: after days nothing could be recorded."""
    network = torch.nn.Linear(2, 2)
    network.device_of = torch.nn.Parameter(torch.empty(0))
    assert stored_weights(network)["device_of"].shape == (0,)


def test_what_a_run_took_of_a_shared_loop_is_its_part_of_each_session(run, hand_made):
    """Two hours beside two others, one alone, and three beside the one that the last session names."""
    sessions = [
        {"epoch": 1, "step": 0, "seconds": 7200.0, "company": ["one", "two"]},
        {"epoch": 1, "step": 1, "seconds": 3600.0, "company": []},
        {"epoch": 2, "step": 0, "seconds": 10800.0},
    ]
    record = hand_made(run, seconds=21600.0, sessions=sessions, environment={"company": ["one"]})
    assert record.training_seconds == 2400 + 3600 + 5400


def test_all_machines_and_commits_that_trained_a_run_are_named(run, hand_made, store):
    """Not that of its last session alone; a session that did nothing but write the record trained nothing."""
    sessions = [
        {"epoch": 0, "step": 0, "seconds": 9.0, "device": "CPU, 1 threads (old)", "commit": "first"},
        {"epoch": 1, "step": 0, "seconds": 9.0, "device": "CPU, 1 thread (old)"},
        {"epoch": 1, "step": 0, "seconds": 0.5, "device": "CPU, 11 threads (old)"},
        {"epoch": 1, "step": 1, "seconds": 9.0},
        {"epoch": 2, "step": 0, "seconds": 0.0, "device": "GPU", "commit": "none"},
    ]
    record = hand_made(run, seconds=27.5, sessions=sessions)
    assert record.devices == ["CPU, 1 thread (old)", "CPU, 11 threads (old)", "CPU"]
    assert record.commits == ["first", "abc"]
    assert store.frame().loc[0, ["device", "commit"]].tolist() == ["; ".join(record.devices), "first abc"]


def test_files_are_readable_by_people(run, hand_made):
    folder = hand_made(run).folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert folder.name == run.run_id
    assert json.loads((folder / "spec.json").read_text())["teacher"]["network"] == "wrn-10-1"
    assert (folder / "record.json").read_text().count("\n") > 20, "one long line is not readable"
    assert (folder / "predictions.csv").read_text() == "label,prediction\n0,0\n1,1\n2,2\n3,9\n"
    assert (
        (folder / "epochs.csv")
        .read_text()
        .startswith(
            "epoch,learning_rate,test_error,train_error,train_loss,test_loss,seconds\n1,0.1,20,50,1.5,0.333333,0.1\n"
        )
    )
    assert folder.stat().st_mode & 0o777 == 0o755, "other users of the machine could not read it"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """One bit of one digit or byte in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = list(product([cut, empty, flip, make_folder, Path.unlink], FILES))
DAMAGES.remove((Path.unlink, "weights.safetensors"))  # see the next test


@pytest.mark.parametrize(("damage", "name"), DAMAGES)
def test_damage_is_named_and_its_numbers_are_never_shown(store, run, hand_made, damage, name):
    record = hand_made(run)
    damage(record.folder / name)
    for read in (store.load, store.has, lambda run: store.all(), lambda run: store.frame()):
        with pytest.raises(DamagedRecord) as raised:
            read(run)
        assert run.run_id in str(raised.value) and name in str(raised.value), "which record, which file"
        assert "\n" not in str(raised.value)


def test_weights_may_be_absent(store, run, hand_made):
    """The repository keeps those of seed 0 only."""
    record = hand_made(run)
    (record.folder / "weights.safetensors").unlink()
    assert store.load(run).final["test_error"] == 25.0
    assert not store.load(run).has_weights
    with pytest.raises(UserError, match="no weights"):
        store.load(run).weights()


def test_a_network_can_be_had_with_its_weights_and_only_where_it_did_not_diverge(store, small, hand_made):
    """Maps of one that diverged are no numbers, and everything that shows networks asks here."""
    whole, diverged, bare = (replace(small["at"], seed=seed) for seed in (0, 1, 2))
    assert not store.has_network(whole), "no record"
    hand_made(whole)
    hand_made(diverged, diverged=2)
    (hand_made(bare).folder / "weights.safetensors").unlink()
    assert [store.has_network(run) for run in (whole, diverged, bare)] == [True, False, False]


def test_no_flipped_bit_of_record_json_changes_a_number_unseen(run, hand_made):
    folder = hand_made(run).folder
    path, whole = folder / "record.json", load_record(folder)
    content = path.read_bytes()
    for bit in (0, 2, 5):
        for position in range(bit, len(content), 2):
            path.write_bytes(content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :])
            try:
                seen = load_record(folder)
            except DamagedRecord:
                continue
            assert seen == whole, f"bit {bit} of byte {position}"


@pytest.fixture
def read_files(monkeypatch):
    """The names of the files whose checksums are computed."""
    names = []
    monkeypatch.setattr(record, "sha256", lambda path: names.append(path.name) or sha256(path))
    return names


def test_a_record_is_verified_once_whoever_reads_it(store, run, hand_made, read_files, monkeypatch):
    """Everything asks for records, and checksums of all of them take seconds."""
    folder = hand_made(run).folder
    monkeypatch.setattr("time.time_ns", lambda now=time.time_ns: now() + 10**10)  # its files are old
    first = store.load(run)
    read_files.clear()
    assert Store(store.folder).find(run) is first is load_record(folder) and store.all() == [first]
    assert not read_files, "read again"
    replace_with_damage(folder)
    with pytest.raises(DamagedRecord, match=r"predictions\.csv"):
        Store(store.folder).find(run)


def test_a_file_changed_in_the_tick_in_which_it_was_read_is_seen(store, run, hand_made, monkeypatch):
    """To the clock of the file system it is the file that was read."""
    folder = hand_made(run).folder
    state = record._state(folder)
    monkeypatch.setattr(record, "_state", lambda folder: state)
    assert store.load(run) and store.load(run)
    flip(folder / "predictions.csv")
    with pytest.raises(DamagedRecord, match=r"predictions\.csv"):
        store.load(run)


def replace_with_damage(folder: Path) -> None:
    """Another file of the same length takes the place of the predictions, maybe within a tick."""
    other = folder.parent / "other"
    shutil.copyfile(folder / "predictions.csv", other)
    flip(other)
    os.utime(other, ns=(0, (folder / "predictions.csv").stat().st_mtime_ns))
    other.replace(folder / "predictions.csv")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"', "{}", '{"checksum": 1}', "{", "\x00", "NaN"])
def test_a_record_json_that_holds_something_else_is_damaged(store, run, hand_made, text):
    (hand_made(run).folder / "record.json").write_text(text)
    with pytest.raises(DamagedRecord, match=r"record\.json"):
        store.load(run)


@pytest.mark.parametrize("name", ["renamed", "shapes-wrn-10-1-plain-s0-0123456789"])
def test_a_folder_that_is_not_named_after_its_run_is_refused(store, run, hand_made, name):
    """A record under another's name would give one method the numbers of another."""
    shutil.copytree(hand_made(run).folder, store.folder / name)
    with pytest.raises(DamagedRecord, match=re.escape(f"record {name} is damaged: its spec is that of {run.run_id};")):
        store.all()


class Fault(Exception):
    """What a test injects."""


def faults() -> list[tuple[str, int]]:
    """Every call that touches the disk while a record is written: object and name, and which call of it fails."""
    return [
        *(("pathlib.Path.write_text", number) for number in (1, 2)),
        ("pathlib.Path.write_bytes", 1),
        *(("pandas.DataFrame.to_csv", number) for number in (1, 2)),
        ("at_repro.records.store.sha256", 3),
        *(("os.fsync", number) for number in range(1, 7)),
        ("os.rename", 1),
    ]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(("call", "number"), faults())
def test_a_fault_while_writing_leaves_nothing(store, run, hand_made, monkeypatch, call, number, error):
    calls = []
    target, name = call.rsplit(".", 1)
    module, *classes = target.split(".")
    module = __import__(module)
    for part in classes:
        module = getattr(module, part)
    original = getattr(module, name)

    def fail(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == number:
            raise error
        return original(*arguments, **keywords)

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt) as raised:
        hand_made(run)
    monkeypatch.undo()
    if isinstance(error, OSError):
        text = str(raised.value)
        assert run.run_id in text and "No space left on device" in text and "\n" not in text
    assert len(calls) == number, "the fault was not injected where it should be"
    assert list(store.folder.rglob("*")) == [store.in_progress], "half a record or its folder is left"
    assert not store.has(run) and store.all() == []
    assert hand_made(run) == store.load(run), "a second try must succeed"


def test_what_a_killed_process_left_is_no_record(store, run, hand_made, monkeypatch):
    """A process that is killed cannot clean up after itself."""

    def die(*arguments):
        raise Fault

    monkeypatch.setattr("shutil.rmtree", lambda *arguments, **keywords: None)
    monkeypatch.setattr(os, "rename", die)
    with pytest.raises(Fault):
        hand_made(run)
    monkeypatch.undo()
    assert list(store.folder.rglob("record.json")), "nothing is left: the test tests nothing"
    assert store.all() == [] and not store.has(run)


def test_a_record_is_never_overwritten(run, store, hand_made):
    hand_made(run)
    with pytest.raises(UserError, match="cannot be written"):
        hand_made(run, final={"test_error": 1.0})
    assert store.load(run).final["test_error"] == 25.0
    assert list(store.in_progress.iterdir()) == []


def test_loading_what_is_not_there(store, run):
    assert not store.has(run) and store.all() == []
    with pytest.raises(UserError, match=re.escape(run.run_id)):
        store.load(run)


@pytest.mark.parametrize(
    "change", [{"network": "../../wrn"}, {"dataset": "/data"}, {"seed": "../0"}, {"network": "a b\n"}]
)
def test_a_run_id_is_a_name_and_no_path(store, run, change):
    """A spec comes from a file that anybody may have written; nobody has to have validated it."""
    for use in (store.has, store.load, store.checkpoint_path, store.lock_path, store.record_path):
        with pytest.raises(ParameterError, match=r"^run: '.*' is not allowed; allowed: a name of letters"):
            use(replace(run, **change))


def refused(folder, **keywords) -> str:
    with pytest.raises(ParameterError) as raised:
        Store(folder, **keywords)
    text = str(raised.value)
    assert text.startswith(f"results: {str(folder)!r} is not allowed; allowed: a folder") and "\n" not in text
    return text


def test_a_file_where_the_store_should_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file")
    refused(tmp_path / "file", writable=True)
    refused(tmp_path / "file" / "below", writable=True)
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "in-progress").write_text("a file")
    refused(tmp_path / "store", writable=True)


def test_a_folder_that_cannot_be_made():
    refused("/proc/at-repro-results", writable=True)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def read_only(*arguments, **keywords):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    assert "Read-only file system" in refused(tmp_path, writable=True)
    assert Store(tmp_path).all() == [], "reading needs no right to write"


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    """The system does not refuse root, who may run the tests: here it does."""
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(ParameterError, match="allowed: a folder that can be read"):
        Store(tmp_path)


def test_a_folder_that_holds_no_file_of_a_record_is_not_to_be_deleted(tmp_path):
    (tmp_path / "holidays").mkdir()
    with pytest.raises(DamagedRecord, match=r"record holidays is none: .*; move .*holidays to another place") as error:
        Store(tmp_path).all()
    assert "delete" not in str(error.value)


def test_reading_makes_no_folder(tmp_path):
    assert Store(tmp_path / "none").all() == []
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_named_must_be_there_to_be_read(tmp_path, monkeypatch):
    """A wrong path would look like records that nobody has made; the default may be empty still."""
    monkeypatch.setattr("at_repro.records.store.default_folder", lambda preset: tmp_path / preset)
    assert open_store("smoke").folder == open_store("smoke", None).folder == tmp_path / "smoke"
    with pytest.raises(ParameterError, match=r"^results: .*resluts"):
        open_store("smoke", tmp_path / "resluts")
    assert open_store("smoke", tmp_path / "new", writable=True).folder.is_dir()


def test_default_folder(tmp_path, monkeypatch):
    checkout = files.CHECKOUT
    assert default_folder("reduced") == default_folder("paper") == checkout / "book" / "results"
    assert default_folder("smoke") == checkout / "build" / "smoke", "records of smoke would be committed"
    monkeypatch.setattr(files, "CHECKOUT", tmp_path)
    assert default_folder("reduced") == default_folder("paper") == Path("at_repro_results") / "reduced"
    assert default_folder("smoke") == Path("at_repro_results") / "smoke"


def test_frame(store, small, hand_made):
    for name in ("teacher", "at+kd"):
        hand_made(small[name])
    hand_made(replace(small["at"], seed=1), diverged=2)
    frame = store.frame()
    assert list(frame.columns) == [
        "run_id", "dataset", "network", "method", "teacher", "epochs", "seed", "test_error", "train_error",
        "best_test_error", "best_epoch", "precision", "device", "commit",
    ]  # fmt: skip
    assert frame["run_id"].tolist() == sorted(frame["run_id"]) and len(frame) == 3
    row = frame.set_index("method").loc["at+kd"]
    assert (row["teacher"], row["epochs"], row["test_error"], row["best_test_error"]) == ("wrn-10-1", 3, 25.0, 20.0)
    by_method = frame.set_index("method")
    assert by_method["test_error"].isna().to_dict() == {"plain": False, "at+kd": False, "at": True}
    assert list(Store(store.folder / "empty").frame().columns) == list(frame.columns)
