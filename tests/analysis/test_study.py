"""What a notebook starts from."""

import os
import shutil
from dataclasses import replace

import pytest
import torch

from at_repro import data, experiments
from at_repro.analysis import attention_table
from at_repro.analysis.study import open_study
from at_repro.data import shapes
from at_repro.errors import ParameterError
from at_repro.experiments import Preset
from at_repro.records import DamagedRecord
from at_repro.training import locks, missing_runs

NAME = "wrn-16-2-to-16-1"


@pytest.fixture
def never(monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("trained")

    monkeypatch.setenv("AT_REPRO_TRAIN", "never")
    monkeypatch.setattr(missing_runs, "train_cohort", refuse)


@pytest.fixture
def runs(tiny_experiment):
    return tiny_experiment.runs("smoke")[0]


def study(store, seeds=(), **keywords):
    return open_study(NAME, "smoke", seeds, device="cpu", results=str(store.folder), **keywords)


def test_a_store_that_cannot_be_written_is_shown_where_nothing_is_missing(store, runs, hand_made, monkeypatch):
    """A clone on a disk that is read-only."""

    def read_only(*arguments, **keywords):
        raise OSError(30, "Read-only file system")

    monkeypatch.delenv("AT_REPRO_TRAIN", raising=False)
    for run in runs.values():
        hand_made(run, data={"test": data.load("shapes", "test").fingerprint})
    study(store)
    (store.in_progress / "attention.lock").touch()
    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    monkeypatch.setattr(locks.os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(locks, "FileLock", read_only)
    assert not study(store).missing
    table = store.folder / attention_table.FILE
    table.unlink()
    assert not study(store).missing and not table.exists(), "measured what nothing can keep"
    shutil.rmtree(store.record_path(runs["AT"]))
    with pytest.raises(ParameterError, match="Read-only file system"):
        study(store)


def test_a_store_is_made_where_something_is_trained(tmp_path, runs, monkeypatch):
    monkeypatch.delenv("AT_REPRO_TRAIN", raising=False)
    monkeypatch.setattr("at_repro.analysis.study.train", lambda *_, **__: None)
    assert open_study(NAME, "smoke", device="cpu", results=str(tmp_path / "new")).store.folder == tmp_path / "new"
    with pytest.raises(ParameterError, match="a folder that is there"):
        open_study(NAME, "smoke", device="cpu", results=str(tmp_path / "other"), train_missing=False)


@pytest.mark.slow
def test_what_is_missing_is_trained_once(store, runs, monkeypatch, capsys):
    monkeypatch.delenv("AT_REPRO_TRAIN", raising=False)
    first = study(store)
    assert {column: list(by_seed) for column, by_seed in first.records.items()} == {column: [0] for column in runs}
    assert {column: by_seed[0].run for column, by_seed in first.records.items()} == runs
    assert first.missing == [] and first.note == ""
    assert capsys.readouterr().err.count("recorded ") == 6, "no progress was shown"

    # Opened again: the same, and nothing is trained.
    monkeypatch.setattr(missing_runs, "train_cohort", None)
    again = study(store)
    assert again.records == first.records

    trained = again.networks()
    assert list(trained) == list(runs)
    assert not any(network.training for network in trained.values())
    assert not any(weight.requires_grad for network in trained.values() for weight in network.parameters())
    weights = first.records["AT"][0].weights()
    assert torch.equal(trained["AT"].state_dict()["fc.weight"], weights["fc.weight"])
    assert list(again.networks("teacher", "AT")) == ["teacher", "AT"]

    errors = again.test_errors().set_index("column")
    assert errors.loc["KD", "test_error"] == first.records["KD"][0].final["test_error"]
    curves = again.curves()
    assert list(curves.columns[:3]) == ["column", "seed", "epoch"]
    assert curves.groupby("column").size().to_dict() == {
        "student": 2,
        "AT": 2,
        "F-ActT": 2,
        "KD": 2,
        "AT+KD": 2,
        "teacher": 1,
    }
    text = again.describe()
    assert all(run.run_id in text for run in runs.values()) and "preset smoke, seed 0" in text


def test_with_never_what_is_missing_is_listed(store, runs, never, hand_made):
    hand_made(runs["AT"])
    opened = study(store)
    assert list(opened.records) == ["AT"]
    assert opened.missing == [run for column, run in runs.items() if column != "AT"]
    assert all(f"not run  {run.run_id}" in opened.describe() for run in opened.missing)
    assert len({line.index("shapes-") for line in opened.describe().splitlines()[1:]}) == 1, "ids in one column"
    assert opened.note == "the runs that are missing (at-repro run wrn-16-2-to-16-1 --preset smoke)"
    assert opened.test_errors()["column"].tolist() == ["AT"]
    assert list(opened.networks()) == ["AT"]


def test_networks_are_stamped_with_the_seed_that_they_are_of(store, never, hand_made):
    """A figure of the first seed's networks that says "seeds 0 to 2" contradicts its caption."""
    for seed in (0, 1, 2):
        (columns,) = experiments.get("wrn-16-2-to-16-1").runs("smoke", [seed])
        hand_made(columns["AT"])
    opened = study(store, [0, 1, 2])
    assert opened.stamp.startswith("preset smoke, seeds 0 to 2, ")
    assert opened.of_first_seed.stamp.startswith("preset smoke, seed 0, ")
    assert opened.of_first_seed.records == {"AT": {0: opened.first("AT")}}


def test_the_command_trains_the_seeds_that_were_asked_for(store, never):
    """Else it costs whoever gives it the seeds of the preset, five times as much at `paper`."""
    opened = study(store, [3, 1])
    assert opened.note == "the runs that are missing (at-repro run wrn-16-2-to-16-1 --preset smoke --seeds 3 1)"


def test_a_changed_experiment_says_what_is_changed(store, never):
    """Below each figure: a reader must not take a rerun with another beta for the paper's setting."""
    opened = study(store, beta=10.0, mapping="sum-2", epochs=0)
    assert opened.changes == {"beta": 10.0}
    assert opened.columns["AT"].terms[0].beta == 10.0
    assert opened.origin == "preset smoke, beta 10.0, seed 0"
    assert opened.note == "the runs that are missing", "the command would train others"
    with pytest.raises(ParameterError, match=r"^beta: "):
        study(store, beta=0.0)


def test_networks_that_are_right_only_together_are_two_changes(store, never):
    """Of each alone the groups would not pair: ResNet-18 has four and WRN-16-2 three."""
    opened = open_study(NAME, "smoke", results=str(store.folder), student="resnet18", teacher="resnet34", beta=1000.0)
    assert opened.changes == {"student": "resnet18", "teacher": "resnet34"}


def test_with_never_an_empty_store_can_be_shown_and_is_not_made(tmp_path, runs, never, monkeypatch):
    monkeypatch.setattr("at_repro.records.store.default_folder", lambda preset: tmp_path / "none")
    opened = open_study(NAME, "smoke")
    assert opened.records == {} and len(opened.missing) == 6 and opened.networks() == {}
    assert opened.test_errors().empty and opened.curves().empty
    assert {"column", "seed", "epoch", "train_error", "test_error"} <= set(opened.curves().columns)
    assert not (tmp_path / "none").exists()


def test_a_network_without_weights_or_that_diverged_is_left_out(store, runs, never, hand_made):
    hand_made(runs["KD"])
    (hand_made(runs["AT"]).folder / "weights.safetensors").unlink()
    hand_made(runs["student"], diverged=1)
    opened = study(store)
    assert list(opened.networks()) == ["KD"]
    assert opened.test_errors().set_index("column")["test_error"].isna().to_dict() == {
        "student": True, "AT": False, "KD": False,
    }  # fmt: skip


def test_the_teacher_is_there_whatever_the_seeds(store, runs, never, hand_made, tiny_experiment):
    """Its seed is 0 for the students of every seed."""
    hand_made(runs["teacher"])
    hand_made(tiny_experiment.runs("smoke", [7])[0]["AT"])
    opened = study(store, [7])
    assert list(opened.networks("AT", "teacher")) == ["AT", "teacher"]
    assert list(opened.records["AT"]) == [7]


def test_other_seeds_than_the_presets_lack_nothing_of_it(store, runs, never, hand_made, tiny_experiment):
    """The teacher, which is of seed 0, made a rerun of others ask for all of seed 0."""
    for run in tiny_experiment.runs("smoke", [7])[0].values():
        hand_made(run)
    opened = study(store)
    assert opened.seeds == [7] and opened.missing == [] and opened.note == ""


def test_records_of_other_images_are_shown_with_a_warning(store, runs, never, hand_made):
    """Below every figure and in the list of what was used; a record of the images at hand is not suspected."""
    fingerprint = data.load("shapes", "test").fingerprint
    hand_made(runs["KD"], data={"train": "0" * 64, "test": fingerprint})
    opened = study(store)
    assert opened.of_other_images == [] and "WARNING" not in opened.describe() + opened.stamp
    hand_made(runs["AT"])
    opened = study(store)
    assert f"WARNING  {runs['AT'].run_id} was measured on other test images" in opened.describe()
    assert opened.describe().count("WARNING") == 1
    assert opened.stamp.endswith("WARNING: 1 record(s) of other test images than those at hand")


@pytest.mark.parametrize("seeds", [[], (), ""])
def test_no_seeds_means_those_of_the_preset_where_nothing_is_recorded(store, runs, never, seeds):
    opened = study(store, seeds)
    assert len(opened.missing) == 6 and opened.seeds == [0]


def test_no_seeds_means_all_that_are_recorded(store, runs, never, hand_made, tiny_experiment):
    """Whatever seeds come, pages show them; that KD has one alone is no gap, and AT+KD, which has none, is."""
    later = tiny_experiment.runs("smoke", [1, 2])
    for run in [*runs.values(), *(columns[name] for columns in later for name in ("student", "AT"))]:
        if run != runs["AT+KD"]:
            hand_made(run)
    opened = study(store)
    assert {column: list(by_seed) for column, by_seed in opened.records.items()} == {
        "student": [0, 1, 2], "AT": [0, 1, 2], "F-ActT": [0], "KD": [0], "teacher": [0],
    }  # fmt: skip
    assert opened.missing == [runs["AT+KD"]]
    assert opened.seeds == [0, 1, 2] and opened.seed_names == "seeds 0 to 2 (seed 0 of F-ActT and KD)"


def test_what_is_recorded_beyond_the_preset_trains_nothing_more(store, runs, hand_made, tiny_experiment, monkeypatch):
    """The other methods of a seed of which only the plain student is recorded would take a night each."""
    hand_made(tiny_experiment.runs("smoke", [1])[0]["student"])
    asked = []
    monkeypatch.delenv("AT_REPRO_TRAIN", raising=False)
    monkeypatch.setattr("at_repro.analysis.study.train", lambda runs, *_, **__: asked.extend(runs))
    study(store)
    assert {run.seed for run in asked} == {0}


def test_a_gap_in_the_seeds_of_the_preset_is_said(store, runs, never, hand_made, tiny_experiment, monkeypatch):
    """And the command trains that seed alone."""
    two = replace(experiments.PRESETS["smoke"], seeds=(0, 1))
    monkeypatch.setitem(experiments.PRESETS, "smoke", two)
    for run in (*runs.values(), tiny_experiment.runs("smoke", [1])[0]["student"]):
        hand_made(run)
    opened = study(store)
    assert {run.seed for run in opened.missing} == {1} and len(opened.missing) == 4, "all but student and teacher"
    assert opened.note == "the runs that are missing (at-repro run wrn-16-2-to-16-1 --preset smoke --seeds 1)"


def test_seed_zero_is_not_no_seeds(store, runs, never):
    """A notebook given `seeds = 0` instead of a list must not quietly take the preset's."""
    with pytest.raises(
        ParameterError, match=r"^seeds: 0 is not allowed; allowed: a list of one or more integers from 0$"
    ):
        study(store, 0)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"experiment": "table-9"}, "experiment: 'table-9'"),
        ({"preset": "huge"}, "preset: 'huge'"),
        ({"seeds": [-1]}, "seeds: -1"),
        ({"seeds": "0,1"}, "seeds: '0,1'"),
        ({"device": "tpu"}, "device: 'tpu'"),
        ({"data_root": "/nowhere"}, "data root: '/nowhere'"),
        ({"results": "/proc/at-repro"}, "results: '/proc/at-repro'"),
    ],
)
def test_a_bad_value_is_one_line_before_training(runs, tmp_path, monkeypatch, change, start):
    monkeypatch.setenv("AT_REPRO_TRAIN", "missing")
    monkeypatch.setattr(missing_runs, "train_cohort", None)
    good = {"experiment": NAME, "preset": "smoke", "device": "cpu", "results": str(tmp_path / "store")}
    with pytest.raises(ParameterError) as raised:
        open_study(**good | change)
    assert str(raised.value).startswith(start) and "\n" not in str(raised.value)


def test_an_unknown_policy_is_refused(store, runs, monkeypatch):
    monkeypatch.setenv("AT_REPRO_TRAIN", "always")
    with pytest.raises(ParameterError, match=r"^AT_REPRO_TRAIN: 'always' is not allowed; allowed: missing, never$"):
        study(store)


@pytest.mark.parametrize("policy", ["missing", "never"])
def test_a_damaged_record_is_never_shown(store, runs, never, hand_made, monkeypatch, policy):
    monkeypatch.setenv("AT_REPRO_TRAIN", policy)
    (hand_made(runs["AT"]).folder / "epochs.csv").write_text("epoch\n")
    with pytest.raises(DamagedRecord, match=r"epochs\.csv"):
        study(store)


def test_without_its_data_a_report_is_shown_without_images(
    store, runs, never, no_download, hand_made, tmp_path, monkeypatch
):
    """The committed report must be buildable where CIFAR-10 is not."""
    monkeypatch.delenv("AT_REPRO_DATA", raising=False)
    fields = {"epochs": 1, "precision": "fp32"}
    monkeypatch.setitem(experiments.PRESETS, "smoke", Preset("smoke", "tests", fields | {"epochs": 2}, fields, (0,)))
    runs = experiments.get(NAME).runs("smoke")[0]
    for run in runs.values():
        hand_made(run)
    opened = study(store, data_root=str(tmp_path))
    assert opened.images is None and opened.examples() is None and opened.networks() == {}
    assert len(opened.records) == 6 and "cifar10 is not here" in opened.note
    assert "without images" in opened.stamp and "images" not in opened.describe()


def test_examples_are_the_first_of_every_class(store, runs, never):
    opened = study(store)
    assert opened.examples().labels.tolist() == list(range(10))
    test_set = data.load("shapes", "test")
    assert opened.images.fingerprint == test_set.fingerprint and len(test_set) == shapes.SIZES["test"]
