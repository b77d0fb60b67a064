"""Files whose checksums are right and whose content is none of a record's: an error about that record alone."""

import json
import os
from dataclasses import replace

import pytest
from sealed import seal

from at_repro.cli import main
from at_repro.records import DamagedRecord, load_record
from at_repro.report import terminal_output


@pytest.fixture
def folder(small, hand_made):
    return hand_made(small["student"]).folder


FINAL = {"test_error": 25.0, "train_error": 50.0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"final": "missing"}, "final is missing"),
        ({"files": "missing"}, "files is missing"),
        ({"final": FINAL | {"test_error": None}}, "final.test_error is None and diverged is None"),
        ({"final": FINAL | {"test_error": "25"}}, "final.test_error is '25'"),
        ({"final": FINAL | {"test_loss": "0"}}, "final.test_loss is '0'"),
        ({"final": FINAL | {"test_error": float("nan")}}, "final.test_error is nan"),
        ({"final": FINAL | {"test_loss": float("inf")}}, "final.test_loss is inf"),
        ({"final": FINAL | {"train_error": 196.0}}, "train_error is 196.0, and no percentage"),
        ({"final": FINAL | {"zero_error": 0.0}}, "final.zero_error is none of test_error"),
        ({"parameters": "many"}, "parameters is 'many'"),
        ({"best": {"test_error": 20.0, "epoch": 1.5}}, "best.epoch is 1.5"),
        ({"diverged": "yes"}, "diverged is 'yes'"),
        ({"diverged": True}, "diverged is True"),
        ({"diverged": 0}, "diverged is 0"),
        ({"diverged": 1}, "final.test_error is 25.0 and diverged is 1"),
        ({"data": []}, "data is []"),
        ({"sessions": [{"epoch": 0, "step": 0, "seconds": float("nan")}]}, "sessions.0.seconds is nan"),
        ({"sessions": [{"epoch": 0}]}, "sessions.0.step is missing"),
        ({"seconds": "long"}, "seconds is 'long'"),
        ({"seconds_per_epoch": -1}, "seconds_per_epoch is -1"),
        ({"final": FINAL | {"train_loss": 10**400}}, f"final.train_loss is {10**400}"),
        ({"environment": {"device": "CPU", "precision": "fp32"}}, "environment.commit is missing"),
    ],
)
def test_values_that_are_none_of_a_records(folder, changes, words):
    seal(folder, **changes)
    with pytest.raises(DamagedRecord) as raised:
        load_record(folder)
    assert f"record {folder.name} is damaged: record.json: {words}" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("spec.json", "no JSON", "Expecting value"),
        ("spec.json", "[" * 100_000, "nested too deeply"),
        ("spec.json", "[]", "it holds no object"),
        ("predictions.csv", "label,prediction\n", "it has no rows"),
        ("predictions.csv", "", "Empty CSV"),
        ("predictions.csv", "label,class\n1,2\n", "it has no column 'prediction'"),
        ("predictions.csv", "label,prediction\n1,bird\n", "conversion error to int64: invalid value 'bird'"),
        ("epochs.csv", "epoch,learning_rate,train_error\n1,1,1\n", "it has no column 'test_error'"),
        (
            "epochs.csv",
            "epoch,learning_rate,train_error,test_error\n1,0.1,,50\n",
            "numbers that are not finite",
        ),
        ("epochs.csv", "epoch,learning_rate,train_error,test_error\n1,1,1,196\n", "test_error has numbers"),
        (
            "epochs.csv",
            "epoch,learning_rate,train_error,test_error,test_loss\n1,1,1,1,low\n",
            "conversion error to double: invalid value 'low'",
        ),
        (
            "epochs.csv",
            "epoch,learning_rate,train_error,test_error,train_loss\n1,1,1,1,-5\n",
            "train_loss has negative",
        ),
        ("predictions.csv", "label,label,prediction\n1,2,3\n", "it has two columns of one name"),
        ("predictions.csv", "label,prediction\n1,1e20\n", "invalid value '1e20'"),
        ("predictions.csv", "label,prediction\n1,2\n1\n", "Expected 2 columns"),
        ("predictions.csv", "label,prediction\n1,-1\n", "prediction has numbers"),
        ("predictions.csv", "label,prediction\n1,0.5\n", "conversion error to int64: invalid value '0.5'"),
    ],
)
def test_files_that_hold_something_else(folder, name, text, words):
    (folder / name).write_text(text)
    seal(folder)
    with pytest.raises(DamagedRecord) as raised:
        record = load_record(folder)
        record.epochs(), record.predictions()
    assert f"record {folder.name} is damaged: {name}: " in str(raised.value) and words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_field_of_a_newer_version_is_not_damage(folder):
    """Nobody is told to delete what another version can read."""
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"warm_up": 5}))
    seal(folder)
    with pytest.raises(
        DamagedRecord, match=f"^record {folder.name} was written by a newer version .*'warm_up'"
    ) as raised:
        load_record(folder)
    assert "delete" not in str(raised.value)


def test_a_file_that_may_not_be_read_is_not_damage(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("at_repro.records.record.sha256", refuse)
    with pytest.raises(DamagedRecord, match=r"cannot be read: spec.json: Permission denied$"):
        load_record(folder)


@pytest.mark.parametrize("name", ["record.json", "epochs.csv"])
def test_a_pipe_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(DamagedRecord, match=f"{name}: it is no file"):
        load_record(folder)


@pytest.mark.usefixtures("own_signals")
def test_one_damaged_record_does_not_hide_the_others(folder, small, store, hand_made, capsys):
    whole = replace(small["student"], epochs=2, milestones=(0.5,))
    hand_made(whole)
    seal(folder, final="missing")
    text, damages = terminal_output.status([whole, small["student"]], store)
    assert text.splitlines()[-1].startswith("1 recorded, 1 damaged in ")
    (damage,) = damages
    assert folder.name in str(damage) and "final is missing" in str(damage)
    assert main(["claims", "--results", str(store.folder)]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].startswith("Of ") and printed.err == f"at-repro: {damage}\n"
