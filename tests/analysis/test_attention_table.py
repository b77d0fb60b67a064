"""Attention in numbers, on maps and images typed by hand, and the table that keeps them."""

import hashlib
import io
import math
import os
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from at_repro import data, experiments
from at_repro.analysis import attention_measurement, attention_table, map_statistics
from at_repro.analysis.attention_table import COLUMNS, FILE, load
from at_repro.data import augment
from at_repro.errors import DataError
from at_repro.report import terminal_output
from at_repro.training import engine, evaluation, load_network, train

NAME = "wrn-16-2-to-16-1"


@pytest.fixture
def images(few_test_images):
    return data.load("shapes", "test")


@pytest.fixture
def trained(small, store, kept, quiet):
    """Columns of a table: a plain student, one with AT, and the teacher."""
    columns = {"student": small["student"], "AT": small["at"], "teacher": small["teacher"]}
    train(columns.values(), kept, device="cpu", progress=quiet)
    shutil.copytree(kept.folder, store.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FILE))
    return columns


@pytest.fixture
def measured(trained, store, kept, images):
    """The same, in the table already."""
    attention_measurement.update(kept, trained, images)
    shutil.copy(kept.folder / FILE, store.folder)
    return trained


def test_correlations_in_the_table_are_those_of_the_activations(trained, store, images):
    """A second time with numpy: from a trained network's activations and the pixels to the row of the table."""
    attention_measurement.update(store, {"teacher": trained["teacher"]}, images)
    table = load(store).set_index(["level", "statistic"])["value"]
    grey = images.images.double().numpy().transpose(0, 2, 3, 1) @ [0.299, 0.587, 0.114] / 255
    p = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = p[:, 2:, :-2] + 2 * p[:, 2:, 1:-1] + p[:, 2:, 2:] - p[:, :-2, :-2] - 2 * p[:, :-2, 1:-1] - p[:, :-2, 2:]
    right = p[:, :-2, 2:] + 2 * p[:, 1:-1, 2:] + p[:, 2:, 2:] - p[:, :-2, :-2] - 2 * p[:, 1:-1, :-2] - p[:, 2:, :-2]
    slope = np.hypot(down, right) / 8
    network = load_network(store, trained["teacher"], images, images.device).eval()
    with torch.no_grad():
        groups = network(augment.normalize(images.images, *data.normalization("shapes"))).groups
    for level, group in zip(("low", "middle", "top"), groups, strict=True):
        side = group.shape[-1]
        cells = slope.reshape(len(slope), side, 32 // side, side, 32 // side).mean((2, 4))
        for statistic, power in (("edges, sum-1", 1), ("edges", 2), ("edges, sum-4", 4)):
            sums = (np.abs(group.double().numpy()) ** power).sum(1)
            pairs = zip(sums.reshape(len(sums), -1), cells.reshape(len(cells), -1), strict=True)
            expected = np.mean([np.corrcoef(own, other)[0, 1] for own, other in pairs])
            assert table[level, statistic] == pytest.approx(expected, abs=2e-5), (level, statistic)


def test_maps_of_several_chunks_are_verified(trained, store, images, monkeypatch, capsys):
    """Of 20 images the first 12 are measured, and all are seen by sevens: one chunk whole, of the next a part."""
    for module in (attention_table, attention_measurement):
        monkeypatch.setattr(module, "SAMPLE", 12)
    monkeypatch.setattr(evaluation, "BATCH", 7)
    attention_measurement.update(store, trained, images)
    assert terminal_output.verify(store, device="cpu") == 0
    assert "attention" not in capsys.readouterr().out, "it was not compared"


def test_every_run_is_measured_once_against_its_teacher(trained, store, images, monkeypatch):
    asked = []
    monkeypatch.setattr(engine, "repeat_exactly", asked.append)
    assert attention_measurement.update(store, trained, images) == 3
    assert asked == [images.device], "a GPU rounds what a notebook measures as what was measured before"
    table = load(store)
    assert list(table) == COLUMNS and table["value"].dtype == float
    pairs = set(zip(table["run_id"], table["teacher"], strict=True))
    names = {column: run.run_id for column, run in trained.items()}
    own = {(name, "") for name in names.values()}
    assert pairs == own | {(names["student"], names["teacher"]), (names["AT"], names["teacher"])}
    assert set(table["level"]) == {"low", "middle", "top"} and table["value"].notna().all()
    before = (store.folder / FILE).read_bytes()
    assert attention_measurement.update(store, trained, images) == 0
    assert (store.folder / FILE).read_bytes() == before


def test_what_is_measured_later_joins_what_is_there(trained, store, images):
    attention_measurement.update(store, {"student": trained["student"]}, images)
    first = load(store)
    assert set(first["run_id"]) == {trained["student"].run_id} and set(first["teacher"]) == {""}
    attention_measurement.update(store, trained, images)
    both = load(store)
    assert both["run_id"].nunique() == 3 and not both.duplicated(["run_id", "teacher", "level", "statistic"]).any()
    again = both.merge(first)
    assert len(again) == len(first), "what was measured before was changed"


def test_a_statistic_that_is_defined_later_joins_what_is_there(measured, store, images):
    """The runs are measured again, and of what is found only what the table lacks is written."""
    whole = (store.folder / FILE).read_bytes()
    table = load(store)
    new = table["statistic"].isin(["edges, sum-1", "edges, sum-4", "on object, surplus"])
    place = table.index[table["statistic"] == "entropy"][0]
    table.loc[place, "value"] = 12.345
    attention_table.write(store, table[~new])
    assert attention_measurement.update(store, measured, images) == 3
    again = load(store)
    assert again.loc[place, "value"] == 12.345, "what was measured before was changed"
    expected = pd.read_csv(io.BytesIO(whole), keep_default_na=False, dtype={"weights": str}, comment="#")[COLUMNS]
    assert again.drop(index=place).equals(expected.drop(index=place))

    # Without weights there is nothing to measure, and nothing to change; nor without images.
    attention_table.write(store, table[~new])
    (store.record_path(measured["student"]) / "weights.safetensors").unlink()
    assert attention_measurement.update(store, measured, None) == 0
    assert attention_measurement.update(store, measured, images) == 2
    student = load(store).query(f"run_id == '{measured['student'].run_id}'")
    assert "edges" in set(student["statistic"]) and "edges, sum-1" not in set(student["statistic"])
    assert attention_measurement.update(store, measured, images) == 0


def test_the_names_of_all_statistics_are_known(trained, images):
    """Else a run would be measured over and over, or what is new would never join the old rows."""
    run, teacher = trained["AT"], trained["teacher"]
    two = images.subset(2)
    maps = {mapping: {"low": torch.rand(2, 4, 4)} for mapping in attention_measurement.MEASURED_MAPPINGS}
    for dataset, pictures in (
        ("shapes", two),
        ("cifar10", replace(two, masks=None)),
        (map_statistics.FACE_IMAGES, replace(two, name=map_statistics.FACE_IMAGES, masks=None)),
    ):
        rows = map_statistics.tabulate({"run": maps}, pictures, attention_measurement._ALONE)
        names = attention_measurement.means(rows)["statistic"].tolist()
        known = attention_measurement._statistics((replace(run, dataset=dataset), None))
        assert sorted(names) == sorted(known)
    assert attention_measurement._statistics((run, teacher)) == ("distance",)


def test_rows_of_a_network_without_a_record_stay_and_give_way_to_those_of_other_weights(trained, store, images):
    def rows(weights, value):
        return pd.DataFrame([["imagenet-a", "", "level 1", "edges", value, weights]], columns=COLUMNS)

    assert attention_table.add(store, rows("abc", 0.5)) == 1
    assert attention_table.add(store, rows("abc", 0.75)) == 0 == attention_table.add(store, rows("", 1)[:0])
    attention_measurement.update(store, trained, images)
    assert load(store).query("run_id == 'imagenet-a'")["value"].tolist() == [0.5]
    assert attention_table.add(store, rows("def", 0.25)) == 1
    assert load(store).query("run_id == 'imagenet-a'")[["value", "weights"]].values.tolist() == [[0.25, "def"]]
    assert load(store)["run_id"].nunique() == 4


def test_without_images_or_on_other_ones_nothing_is_measured(trained, store, images):
    assert attention_measurement.update(store, trained, None) == 0
    assert attention_measurement.update(store, trained, images.subset(10)) == 0
    assert load(store).empty and not (store.folder / FILE).exists()


def test_a_run_without_weights_keeps_the_numbers_it_had(measured, store, images):
    (store.record_path(measured["student"]) / "weights.safetensors").unlink()
    assert attention_measurement.update(store, measured, images) == 0
    assert measured["student"].run_id in set(load(store)["run_id"])
    maps_of = partial(attention_measurement.maps, store, images=images)
    fault, compared, others = attention_measurement.compare(store, measured["student"], images, maps_of)
    assert (fault, compared) == ("", 0) and others > 0, "there are no weights"


def test_a_row_too_many_and_one_too_few_are_seen(measured, store, images):
    maps_of = partial(attention_measurement.maps, store, images=images)

    def compare():
        return attention_measurement.compare(store, measured["AT"], images, maps_of)

    fault, compared, others = compare()
    table = load(store)
    assert (fault, compared, others) == ("", (table["run_id"] == measured["AT"].run_id).sum(), 0)
    (row,) = table.query(f"run_id == '{measured['AT'].run_id}' and statistic == 'entropy' and level == 'top'").index
    attention_table.write(store, table.drop(index=row))
    assert compare()[0] == f"top entropy none, recomputed {table['value'][row]:.6g}"
    invented = table.loc[[row]].assign(level="level 4", value=3.0)
    attention_table.write(store, pd.concat([table, invented]))
    assert compare()[0] == "level 4 entropy 3, recomputed none"


def test_distances_to_a_teacher_without_weights_are_said_not_to_be_compared(measured, store, images):
    table = load(store)
    teacher = measured["teacher"]
    (store.record_path(teacher) / "weights.safetensors").unlink()
    maps_of = partial(attention_measurement.maps, store, images=images)
    fault, compared, others = attention_measurement.compare(store, measured["AT"], images, maps_of)
    rows = table[table["run_id"] == measured["AT"].run_id]
    assert (fault, compared, others) == ("", (rows["teacher"] == "").sum(), (rows["teacher"] != "").sum())
    assert others > 0


def test_a_run_that_was_trained_anew_is_measured_anew(measured, store, images):
    """Its name is the same and its weights are others: the claims would go on to rest on the old ones."""
    before = load(store)
    again = store.load(measured["AT"])
    weights = {name: 2 * value if "conv" in name else value for name, value in again.weights().items()}
    epochs, predictions = again.epochs(), again.predictions()
    shutil.rmtree(store.record_path(measured["AT"]))
    values = {name: value for name, value in again.values.items() if name not in ("files", "run_id")}
    store.write(measured["AT"], values, epochs, predictions, weights)
    assert measured["AT"].run_id not in set(load(store)["run_id"]), "what nobody has measured is not claimed"
    assert attention_measurement.update(store, measured, images) == 1
    after = load(store)
    assert len(after) == len(before) and not after.duplicated(["run_id", "teacher", "level", "statistic"]).any()
    changed = before.merge(after, how="outer", indicator=True).query("_merge != 'both'")
    assert set(changed["run_id"]) == {measured["AT"].run_id}
    assert attention_measurement.update(store, measured, images) == 0


def test_numbers_of_a_definition_that_was_changed_are_not_read(measured, store, images, monkeypatch):
    """Else old numbers would stand under a new definition; they are measured anew, and nothing else is."""
    table = load(store)
    monkeypatch.setitem(attention_table.VERSIONS, "edges", 2)
    assert load(store).equals(table[table["statistic"] != "edges"])
    assert attention_measurement.update(store, measured, images) == 3
    assert load(store).reset_index(drop=True).equals(table)


def test_checksums_stay_text(store):
    """845e89839294 would be read as a number that is infinite."""
    row = ["a", "", "low", "entropy", 1.0, "845e89839294"]
    attention_table.write(store, pd.DataFrame([row], columns=COLUMNS))
    assert load(store)["weights"].tolist() == ["845e89839294"]


def test_rows_that_another_process_has_written_in_the_meantime_stay(trained, store, images, monkeypatch):
    measure = attention_measurement.rows_of_pairs

    def late(*given):
        rows = measure(*given)
        monkeypatch.undo()
        attention_measurement.update(store, {"teacher": trained["teacher"]}, images)
        return rows

    monkeypatch.setattr(attention_measurement, "rows_of_pairs", late)
    attention_measurement.update(store, trained, images)
    both = load(store)
    assert both["run_id"].nunique() == 3 and not both.duplicated(["run_id", "teacher", "level", "statistic"]).any()


@pytest.mark.slow
def test_a_changed_number_is_found_by_verify(measured, store, capsys):
    from at_repro.report.terminal_output import verify

    assert verify(store, device="cpu") == 0
    table = load(store)
    place = table.index[(table["run_id"] == measured["AT"].run_id) & (table["statistic"] == "distance")][1]
    table.loc[place, "value"] *= 1.01
    attention_table.write(store, table)
    assert verify(store, device="cpu") == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1 and measured["AT"].run_id in failed[0] and "attention.csv has middle distance" in failed[0]


def test_a_table_that_cannot_be_read_is_one_line(store):
    (store.folder / FILE).write_text("run_id,level\n1,2\n")
    with pytest.raises(DataError, match=r"cannot be read \(it does not match its checksum\); restore it from git"):
        load(store)
    (store.folder / FILE).unlink()
    os.mkfifo(store.folder / FILE)  # which would be waited for
    with pytest.raises(DataError, match=r"attention.csv: cannot be read \(it is no file\)"):
        load(store)


@pytest.mark.parametrize("statistic, value, last", [
    ("entropy", 196, 100), ("top share, sum-4", -0.1, 0), ("on parts", math.inf, 100), ("edges", 1.1, -1),
    ("distance", 1.5, 1.414), ("on object, surplus", math.nan, -120),
])  # fmt: skip
def test_a_value_that_a_statistic_cannot_have_is_refused_though_its_checksum_is_right(store, statistic, value, last):
    def write(value):
        attention_table.write(store, pd.DataFrame([["a", "", "low", statistic, value, ""]], columns=COLUMNS))

    write(last)
    assert load(store)["value"].tolist() == [last]
    write(value)
    with pytest.raises(DataError, match=r"attention.csv: cannot be read \((a low|could not convert)"):
        load(store)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [(",1\n", ",x\n", "invalid literal"), ("entropy", "beauty", "no statistic"), ("low", "9x", "no level")],
)
def test_a_word_that_the_table_does_not_know_is_refused_though_its_checksum_is_right(store, old, new, words):
    """Rows that are silently left out are claims that are silently lost."""
    attention_table.write(store, pd.DataFrame([["a", "", "low", "entropy", 1.5, ""]], columns=COLUMNS))
    text = (store.folder / FILE).read_text().partition("#")[0].replace(old, new)
    (store.folder / FILE).write_text(f"{text}# sha256 {hashlib.sha256(text.encode()).hexdigest()}\n")
    with pytest.raises(DataError, match=words):
        load(store)


def test_networks_of_many_groups_stand_in_their_order(store):
    """A vision transformer's twelve blocks: a table that could be written and not read would end every page."""
    rows = [["a", "", f"level {level}", "edges", level / 20, ""] for level in range(12, 0, -1)]
    attention_table.write(store, pd.DataFrame(rows, columns=COLUMNS))
    assert list(attention_table.by_level(store, "edges").columns) == [f"level {level}" for level in range(1, 13)]


def test_a_table_that_may_not_be_read_is_not_damage(store, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    (store.folder / FILE).touch()
    monkeypatch.setattr(attention_table, "_read", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)$"):
        load(store)


def test_a_table_that_was_changed_is_refused(measured, store):
    path = store.folder / FILE
    whole = path.read_text()
    first = whole.splitlines(keepends=True)[1]
    for text in (whole.replace(first, ""), whole.replace(first, first * 2), whole.rpartition("#")[0], whole + first):
        path.write_text(text)
        with pytest.raises(DataError, match="does not match its checksum"):
            load(store)
    table = pd.DataFrame([["a", "", "low", "entropy", value, ""] for value in (1, 2)], columns=COLUMNS)
    attention_table.write(store, table)
    with pytest.raises(DataError, match="two values of one statistic"):
        load(store)


def test_an_experiment_is_measured_where_its_images_are(tiny_experiment, store, images, hand_made, monkeypatch):
    columns = experiments.get(NAME).runs("smoke")[0]
    for run in columns.values():
        hand_made(run, data={"test": images.fingerprint})
    assert attention_measurement.update_experiment(NAME, "smoke", store, device="cpu") == len(columns)
    table = load(store)
    assert set(table["run_id"]) == {run.run_id for run in columns.values()}

    def missing(*_, **__):
        raise DataError("not here")

    monkeypatch.setattr(data, "load", None)  # nothing is new, and reading images takes seconds: see `at-repro refresh`
    assert attention_measurement.update_experiment(NAME, "smoke", store, [0, 7], device="cpu") == 0
    (store.folder / FILE).unlink()
    monkeypatch.setattr(data, "load", missing)
    assert attention_measurement.update_experiment(NAME, "smoke", store, device="cpu") == 0
