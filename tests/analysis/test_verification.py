"""A record that was changed after it was measured is found, even where its checksums were rewritten to match."""

import json
import math
import re
from dataclasses import replace

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sealed import seal

from at_repro import data, experiments, networks
from at_repro.analysis import attention_table, verification
from at_repro.claims import recount
from at_repro.data import augment
from at_repro.errors import DataError, ParameterError
from at_repro.records import Store
from at_repro.report.terminal_output import verify
from at_repro.runs import Run
from at_repro.training import loop, train
from at_repro.training.evaluation import evaluate
from at_repro.training.weights import stored_weights


@pytest.fixture(autouse=True)
def one_experiment(monkeypatch):
    """What a page shows of the others is counted again in a quarter of a second each time: see test_recount."""
    name = "wrn-16-2-to-16-1"
    monkeypatch.setattr(experiments, "EXPERIMENTS", {name: experiments.EXPERIMENTS[name]})


@pytest.fixture
def trained(taught, small):
    """The record of a teacher in `store`, trained once for all tests of this file."""
    return taught.load(small["teacher"])


@pytest.fixture
def forged(trained, store):
    """Its folder, and a way to change it that leaves its checksums right."""

    def seal_unseen(**changes) -> None:
        seal(trained.folder, **changes)
        store.load(trained.run)  # the store itself sees nothing wrong

    return trained.folder, seal_unseen


def lines(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def failed(capsys, store, *parts: str) -> None:
    assert verify(store, device="cpu") == 1
    first, *_, last = lines(capsys)
    assert first.startswith("FAILED  "), first
    assert all(part in first for part in parts), first
    assert last.startswith("0 of 1 records verified")


def test_a_fresh_record_agrees(trained, store, capsys):
    assert verify(store, device="cpu") == 0
    first, left_out, never, last = lines(capsys)
    error = f"{trained.final['test_error']:.2f} %"
    assert first.startswith(f"ok      {trained.run.run_id}  recorded {error}, recomputed {error}, 0 of 20 predictions")
    assert left_out == "not compared of 1 record: attention: attention.csv has nothing of it"
    assert never.startswith("not compared of any: ")
    assert last == f"1 of 1 records verified in {store.folder}"
    assert verify(store, [trained.run.run_id], device="cpu") == 0


def change_predictions(folder, wrong: int) -> float:
    """Makes so many wrong predictions right; returns the error that goes with it."""
    table = pd.read_csv(folder / "predictions.csv")
    rows = table.index[table["label"] != table["prediction"]][:wrong]
    table.loc[rows, "prediction"] = table.loc[rows, "label"]
    table.to_csv(folder / "predictions.csv", index=False)
    return 100 * float((table["label"] != table["prediction"]).mean())


def test_a_better_error_than_that_of_the_predictions(trained, store, forged, capsys):
    _, seal = forged
    seal(final=trained.final | {"test_error": trained.final["test_error"] - 1})
    failed(capsys, store, "predictions with", "% wrong")


def test_better_predictions_than_those_of_the_weights(trained, store, forged, capsys):
    folder, seal = forged
    seal(final=trained.final | {"test_error": change_predictions(folder, 3)})
    failed(capsys, store, "3 of 20 predictions differ")


def test_labels_that_were_made_to_fit_the_predictions(trained, store, forged, capsys):
    """The predictions are still those of the weights; the error is not."""
    folder, seal = forged
    table = pd.read_csv(folder / "predictions.csv")
    wrong = table.index[table["label"] != table["prediction"]][:3]
    table.loc[wrong, "label"] = table.loc[wrong, "prediction"]
    table.to_csv(folder / "predictions.csv", index=False)
    seal(final=trained.final | {"test_error": 100 * float((table["label"] != table["prediction"]).mean())})
    failed(capsys, store, "labels are not those of the test images")


def test_a_loss_that_the_weights_do_not_give(trained, store, forged, capsys):
    _, seal = forged
    seal(final=trained.final | {"test_loss": 0.98 * trained.final["test_loss"]})
    failed(capsys, store, "recorded a test loss of", "recomputed")


def test_parameters_that_the_weights_do_not_have(trained, store, forged, capsys):
    _, seal = forged
    seal(parameters=5)
    failed(capsys, store, f"recorded 5 parameters, its weights have {trained.values['parameters']}")


def test_a_class_that_the_images_do_not_have(store, forged, capsys):
    """The error is as before: the image was recognised wrongly anyway."""
    folder, seal = forged
    table = pd.read_csv(folder / "predictions.csv")
    table.loc[table.index[table["label"] != table["prediction"]][0], "prediction"] = 2**50
    table.to_csv(folder / "predictions.csv", index=False)
    seal()
    failed(capsys, store, "it predicts a class that shapes does not have")


@pytest.mark.parametrize("labels", [False, True])
def test_without_weights_labels_and_length_are_still_compared(labels, trained, store, forged, capsys):
    folder, seal = forged
    (folder / "weights.safetensors").unlink()
    table = pd.read_csv(folder / "predictions.csv")
    table = table.assign(label=table["prediction"]) if labels else table[:1]
    table.to_csv(folder / "predictions.csv", index=False)
    error = 100 * float((table["label"] != table["prediction"]).mean())
    seal(final=trained.final | {"test_error": error})
    failed(
        capsys,
        store,
        "records a test_error of 0.0 %, epochs.csv" if labels else "labels are not those of the test images",
    )


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("final", {"train_error": 1.0}, "records a train_error of 1.0, epochs.csv"),
        ("final", {"train_loss": 0.5}, "records a train_loss of 0.5"),
        ("final", {"test_loss": 0.5}, "records a test_loss of 0.5"),
        ("best", {"test_error": 1.0}, "records 1.0 % as best"),
        ("best", {"epoch": 2}, "as best in epoch 2"),
        ("final", {"top5_error": 1.0}, "records a top-5 error of 1.00 %, which nobody counts"),
        ("seconds", 0.5, "records 0.5 seconds, epochs.csv"),
        ("seconds_per_epoch", 0.001, "records 0.001 seconds per epoch"),
        ("environment", {"precision": "bf16"}, "was trained in the precision 'bf16', and its spec has 'fp32'"),
        (
            "sessions",
            [{"epoch": 0, "step": 0, "seconds": 1.0}, {"epoch": 99, "step": 1, "seconds": 1.0}],
            "continued after an epoch that it does not have",
        ),
    ],
)
def test_numbers_that_do_not_follow_from_the_curve(name, change, words, trained, store, forged, capsys):
    """Their checksums are right: somebody has written them anew."""
    _, seal = forged
    seal(**{name: trained.values[name] | change if isinstance(change, dict) else change})
    failed(capsys, store, words)


def test_hours_of_a_curve_that_does_not_tell_them(store, forged, capsys):
    folder, seal = forged
    pd.read_csv(folder / "epochs.csv").drop(columns="seconds").to_csv(folder / "epochs.csv", index=False)
    seal()
    failed(capsys, store, "seconds per epoch, epochs.csv nan")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("test_loss", float("nan"), "a loss that is not finite"),
        ("learning_rate", 0.5, "a learning rate of 0.5 in epoch 1"),
        ("epoch", 2, "has the epochs 2 to 2"),
    ],
)
def test_a_curve_that_is_not_that_of_the_run(column, value, words, store, forged, capsys):
    folder, seal = forged
    pd.read_csv(folder / "epochs.csv").assign(**{column: value}).to_csv(folder / "epochs.csv", index=False)
    seal()
    failed(capsys, store, words)


def test_a_healthy_record_that_is_said_to_have_diverged(trained, store, forged, capsys):
    """Nothing else of it would be compared, and the ledger would count the divergence."""
    _, seal = forged
    seal(diverged=1, final=dict.fromkeys(trained.final))
    failed(capsys, store, "diverged in epoch 1, and its loss there is finite")


@pytest.mark.parametrize("overflow", [1, 3, 4])
def test_a_test_loss_that_is_not_finite_is_no_damage(overflow, small, store, quiet, monkeypatch, capsys):
    """Of one epoch, also the last of three, it says nothing of the run; of the stored weights that it diverged."""
    calls = []

    def measured(*given):
        calls.append(given)
        results = evaluate(*given)
        if len(calls) == overflow:
            results = [replace(result, loss=math.nan, error=10.0) for result in results]
        return results

    monkeypatch.setattr(loop, "evaluate", measured)
    train([small["student"]], store, device="cpu", progress=quiet)
    record = store.load(small["student"])
    assert record.diverged == (3 if overflow == 4 else None) and record.contradiction() == ""
    if not record.diverged:
        assert verify(store, device="cpu") == 0


def test_a_damaged_picture_of_a_streamed_set_does_not_hide_the_others(trained, store, quiet, tmp_path, capsys):
    """Names and sizes are as they were, so that the set is that of the record until a network sees it."""
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / "own" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "own" / split / name / "\x1b.png")
    run = Run("wrn-10-1", epochs=1, dataset="own@16-streamed", augmentation="none", batch_size=2, precision="fp32")
    train([run], store, device="cpu", data_root=str(tmp_path), progress=quiet)
    assert verify(store, device="cpu", data_root=str(tmp_path)) == 0
    picture = tmp_path / "own" / "test" / "bee" / "\x1b.png"
    picture.write_bytes(b" " * picture.stat().st_size)
    capsys.readouterr()
    assert verify(store, device="cpu", data_root=str(tmp_path)) == 0
    printed = lines(capsys)
    assert sorted(line[:7] for line in printed[:2]) == ["ok     ", "skipped"] and printed[-1].startswith("1 of 2 ")
    assert any(line.startswith(f"skipped {run.run_id}  {picture.parent}/\\x1b.png: ") for line in printed), printed
    with pytest.raises(DataError, match=f"^{re.escape(str(picture))}: "):
        verify(store, [run.run_id], "cpu", str(tmp_path))


def change_weights(folder, change) -> None:
    weights = load_file(folder / "weights.safetensors")
    change(weights)
    save_file(weights, folder / "weights.safetensors")


def test_the_first_predictions_are_enough_to_find_others(trained, store, forged, capsys):
    """What the build of the book compares: the first images in whole, and of the rest that they fit the error."""
    folder, seal = forged
    assert verify(store, device="cpu", count=10) == 0
    assert "0 of the first 10 predictions differ" in lines(capsys)[0]
    seal(final=trained.final | {"test_error": change_predictions(folder, 3)})
    assert verify(store, device="cpu", count=10) == 1
    assert " of the first 10 predictions differ" in lines(capsys)[0]


def test_other_weights(store, forged, capsys):
    folder, seal = forged
    change_weights(folder, lambda weights: weights["fc.weight"].neg_())
    seal()
    failed(capsys, store, "predictions differ")


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("fc.bias"),
        lambda weights: weights.update({"fc.bias": torch.zeros(3)}),
        lambda weights: weights.update({"more": torch.zeros(3)}),
    ],
)
def test_weights_of_another_network(store, forged, capsys, change):
    folder, seal = forged
    change_weights(folder, change)
    seal()
    failed(capsys, store, "are not those of a wrn-10-1 for 10 classes")


def test_weights_that_are_no_weights(store, forged, capsys):
    folder, seal = forged
    (folder / "weights.safetensors").write_bytes(b"no weights")
    seal()
    failed(capsys, store, "is damaged: weights.safetensors: ")


def test_other_data(trained, store, forged, capsys):
    _, seal = forged
    seal(data=trained.values["data"] | {"test": "f" * 64})
    failed(capsys, store, "was measured on other data: ffffffffffff, here ")


def test_without_weights_the_predictions_are_still_compared(store, forged, capsys):
    folder, _ = forged
    (folder / "weights.safetensors").unlink()
    assert verify(store, device="cpu") == 0
    assert "no weights are here" in lines(capsys)[0]


def test_a_diverged_record_has_nothing_to_compare(store, small, hand_made, capsys):
    images = data.load("shapes", "test")
    labels = images.labels.tolist()
    weights = networks.build(small["at"].network, 10).state_dict()
    weights["fc.bias"] = torch.full_like(weights["fc.bias"], float("nan"))
    given = {"predicted": labels, "labels": labels, "diverged": 2, "data": {"test": images.fingerprint}}
    hand_made(small["at"], weights=weights, **given)
    assert verify(store, device="cpu") == 0
    assert "diverged in epoch 2" in lines(capsys)[0]


def test_a_healthy_network_that_is_said_to_have_diverged(store, forged, capsys):
    """Its last loss was made not finite, and its weights are as they were."""
    folder, seal = forged
    curve = pd.read_csv(folder / "epochs.csv")
    curve.assign(train_loss=float("nan")).to_csv(folder / "epochs.csv", index=False)
    seal(diverged=1, final=dict.fromkeys(json.loads((folder / "record.json").read_text())["final"]))
    failed(capsys, store, "diverged in epoch 1, and its weights give finite numbers")


def test_a_damaged_record_of_an_experiment_does_not_hide_what_was_verified(store, hand_made, capsys):
    """The numbers of the pages are counted again without it."""
    run = experiments.get("wrn-16-2-to-16-1").runs("smoke")[0]["AT"]
    (hand_made(run).folder / "record.json").write_text("{}")
    assert verify(store, device="cpu") == 1
    assert lines(capsys)[-1].startswith("0 of 1 records verified")


def test_a_damaged_teacher_does_not_hide_the_others(trained, store, small, hand_made, capsys):
    """The distance of a student's maps from the teacher's cannot be measured again; all else is compared."""
    teacher, own = hand_made(small["kd"]), trained.run.run_id
    rows = [(own, teacher.run.run_id, "top", "distance", 0.1, "")]
    attention_table.write(store, pd.DataFrame(rows, columns=attention_table.COLUMNS))
    (teacher.folder / "predictions.csv").write_text("label,prediction\n0,0\n")
    assert verify(store, device="cpu") == 1
    printed = lines(capsys)
    assert sorted(line[:6] for line in printed[:2]) == ["FAILED", "ok    "] and printed[-1].startswith("1 of 2 ")
    assert any("a teacher's record is damaged" in line for line in printed)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("epochs.csv", b""),
        ("epochs.csv", b"\xff\xfe\n"),
        ("predictions.csv", b"label,prediction\n0,cat\n"),
    ],
)
def test_a_table_with_a_right_checksum_that_is_none_does_not_hide_the_others(
    name, text, trained, store, forged, small, hand_made, capsys
):
    folder, seal = forged
    (folder / name).write_bytes(text)
    seal()
    hand_made(small["kd"], final={"test_error": 99.0})
    assert verify(store, device="cpu") == 1
    printed = lines(capsys)
    assert [line[:6] for line in printed[:2]] == ["FAILED"] * 2 and printed[-1].startswith("0 of 2 ")
    assert any(f"{trained.run.run_id} is damaged: {name}: " in line for line in printed)


def test_a_record_without_its_data_set_is_skipped(trained, store, hand_made, capsys):
    """Few have the pictures of faces: the rest of the report is still compared."""
    faces = hand_made(Run("wrn-10-1", epochs=1, dataset="nobody@64", subset=96), curve=(25.0,)).run
    assert verify(store, device="cpu", data_root=str(store.folder)) == 0
    nobody, shapes, *left_out, last = lines(capsys)
    assert "not compared of 1 record: everything, nobody@64 is not here or damaged" in left_out
    assert nobody.startswith(f"skipped {faces.run_id}") and "holds no test images" in nobody
    assert shapes.startswith("ok") and last.startswith("1 of 2 records verified")
    with pytest.raises(DataError, match="holds no test images"):
        verify(store, [faces.run_id], "cpu", str(store.folder))


@pytest.fixture
def unseen(store, hand_made):
    """Writes a record of images that are not here, and without weights; its labels are its predictions, or 0 to 3."""

    def write(seed: int, honest: bool) -> str:
        run = Run("wrn-10-1", epochs=1, dataset="nobody@64", subset=96, seed=seed)
        labels = None if honest else (0, 1, 2, 9)
        record = hand_made(run, curve=(25.0,), labels=labels, final={"test_error": 25.0 if honest else 0.0})
        (record.folder / "weights.safetensors").unlink()
        return run.run_id

    return write


def test_without_images_labels_are_held_against_those_of_other_records(store, unseen, capsys):
    """Labels that were made to fit the predictions give an error of zero, and nothing in that record tells."""
    forged, *honest = (unseen(seed, honest=seed > 0) for seed in range(3))
    assert verify(store, device="cpu", data_root=str(store.folder)) == 1
    told = {line.split()[1]: line for line in lines(capsys)}
    said = "its labels are those of {} of the 3 records measured on the same test images"
    assert told[forged] == f"FAILED  {forged}  {said.format(1)}"
    assert all(told[run_id].startswith("ok ") and said.format(2) in told[run_id] for run_id in honest)


def test_an_empty_picture_of_a_streamed_set_does_not_hide_a_forged_record(store, hand_made, tmp_path, capsys):
    folders = [tmp_path / "own" / split / name for split in ("train", "test") for name in ("ant", "bee")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "1.png").touch()
    for seed in range(3):
        run = Run("wrn-10-1", epochs=1, dataset="own@16-streamed", augmentation="none", seed=seed)
        forged = {} if seed else {"labels": (0, 1, 2, 9), "final": {"test_error": 0.0}}
        hand_made(run, curve=(25.0,), **forged)
    assert verify(store, device="cpu", data_root=str(tmp_path)) == 1
    printed = lines(capsys)
    assert sorted(line[:7] for line in printed[:3]) == ["FAILED ", "skipped", "skipped"]
    assert f"not compared of 2 records: everything, {run.dataset} is not here or damaged" in printed


def test_where_two_records_have_other_labels_neither_is_believed(store, unseen, capsys):
    forged, honest = (unseen(seed, honest=seed > 0) for seed in range(2))
    assert verify(store, [honest], "cpu", str(store.folder)) == verify(store, [forged], "cpu", str(store.folder)) == 1
    assert sum("are those of 1 of the 2 records" in line for line in lines(capsys)) == 2


def test_labels_that_nothing_can_be_held_against_are_said_not_to_be_compared(store, unseen, capsys):
    forged = unseen(0, honest=False)
    assert verify(store, device="cpu", data_root=str(store.folder)) == 0
    first, left_out, *_ = lines(capsys)
    assert first.startswith(f"ok      {forged}  test error 0.00 % if its labels are right, ")
    assert first.endswith("(neither weights nor test images are here: its labels are not compared)")
    assert left_out.startswith("not compared of 1 record: what its network gives, and labels: ")


@pytest.mark.parametrize(
    ("classes", "top5", "words"),
    [
        (100, 1.0, "records a top-5 error of 1.00 %, which nobody counts of so few classes"),
        (101, 26.0, "records a top-5 error of 26.00 %, above its error of 25.00 %"),
    ],
)
def test_a_top5_error_that_cannot_be_needs_neither_weights_nor_images(classes, top5, words, store, hand_made, capsys):
    run = Run("wrn-10-1", epochs=1, dataset="nobody@64", subset=96)
    labels = (0, 1, 2, classes - 1)
    hand_made(run, (25.0,), (0, 1, 2, 9), labels, {"w": torch.zeros(1)}, final={"top5_error": top5})
    assert verify(store, device="cpu", data_root=str(store.folder)) == 1
    assert lines(capsys)[0] == f"FAILED  {run.run_id}  {words}"


def test_a_top5_error_that_can_be_is_said_not_to_be_compared(store, hand_made, capsys):
    run = Run("wrn-10-1", epochs=1, dataset="nobody@64", subset=96)
    record = hand_made(run, (25.0,), (0, 1, 2, 9), (0, 1, 2, 100), {"w": torch.zeros(1)}, final={"top5_error": 1.0})
    (record.folder / "weights.safetensors").unlink()
    assert verify(store, device="cpu", data_root=str(store.folder)) == 0
    assert any("what its network gives, its top-5 error as well, and labels: " in line for line in lines(capsys))


def test_a_top5_error_that_the_network_does_not_give(store, hand_made, few_test_images, monkeypatch, capsys):
    """Of a network for 101 classes, of which the last image has the last."""
    run, network = Run("wrn-10-1", epochs=1, dataset="shapes", subset=96), networks.build("wrn-10-1", 101).eval()
    shapes = data.load("shapes", "test")
    labels = torch.cat([shapes.labels[:-1], torch.tensor([100])])
    images = replace(shapes, labels=labels, classes=tuple(map(str, range(101))))
    monkeypatch.setattr(data, "load", lambda *_, **__: images)
    with torch.no_grad():
        logits = network(augment.normalize(images.images, *data.normalization("shapes"))).logits.numpy()
    order = logits.argsort(axis=1)[:, ::-1]
    places = (order == labels.numpy()[:, None]).argmax(axis=1)
    error, top5 = 100 * float((places > 0).mean()), 100 * float((places > 4).mean())
    assert 0 < top5 <= error
    changes = {"final": {"test_error": error, "top5_error": top5 - 5}, "data": {"test": images.fingerprint}}
    weights = stored_weights(network)
    hand_made(run, (error,), order[:, 0].tolist(), labels.tolist(), weights, best={"test_error": error}, **changes)
    failed(capsys, store, f"recorded a top-5 error of {top5 - 5:.2f} %, recomputed {top5:.2f} %")


@pytest.mark.parametrize("name", ["test_loss", "train_loss"])
def test_a_number_that_the_curve_has_and_the_record_lacks(name, trained, store, forged, capsys):
    _, seal = forged
    seal(final={other: value for other, value in trained.final.items() if other != name})
    failed(capsys, store, f"records a {name} of nan, epochs.csv ")


def test_what_was_compared_before_an_interrupt_is_printed(trained, store, hand_made, capsys, monkeypatch):
    """And how many records were not."""
    images = data.load("shapes", "test")
    labels = images.labels.tolist()
    predicted = [(label + (number < 5)) % 10 for number, label in enumerate(labels)]  # five of twenty are wrong
    hand_made(replace(trained.run, seed=1), (25.0,), predicted, labels, data={"test": images.fingerprint})
    evaluate, calls = verification.evaluate, iter([None, KeyboardInterrupt()])

    def interrupted(*given):
        if stop := next(calls):
            raise stop
        return evaluate(*given)

    monkeypatch.setattr(verification, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify(store, device="cpu")
    first, last = lines(capsys)
    assert first.startswith("ok ") and last == "interrupted: 1 of 2 records are not compared"


def test_a_data_set_that_cannot_be_had_is_asked_for_once(trained, store, hand_made, monkeypatch):
    """Every attempt at a download behind a firewall may wait for minutes."""
    small = Run("wrn-10-1", epochs=1, dataset="cifar10", subset=96)
    for seed in range(2):
        hand_made(replace(small, seed=seed), curve=(25.0,))
    load, asked = data.load, []

    def without_cifar10(name, *given, download):
        asked.append((name, download))
        if name == "cifar10":
            raise DataError("cifar10 is not here")
        return load(name, *given)

    monkeypatch.setattr(data, "load", without_cifar10)
    assert verify(store, device="cpu") == 0
    assert sorted(asked) == [("cifar10", True), ("shapes", True)]
    asked.clear()
    verify(store, device="cpu", count=1)
    assert sorted(asked) == [("cifar10", False), ("shapes", False)], "a build, which compares a part, downloads"


def test_a_table_of_statistics_that_cannot_be_read_is_no_reason_to_skip(store, trained):
    (store.folder / "attention.csv").write_text("run_id,level\n1,2\n")
    with pytest.raises(DataError, match=r"attention.csv: cannot be read"):
        verify(store, device="cpu")


def test_a_run_that_is_named_twice_is_one(trained, store, capsys):
    assert verify(store, [trained.run.run_id] * 2, device="cpu", count=1) == 0
    assert lines(capsys)[-1].startswith("1 of 1 records verified")


def test_unknown_runs_and_empty_stores_are_refused(trained, store, tmp_path):
    allowed = r"a record of \S+, or of another --results"
    with pytest.raises(ParameterError, match=rf"^run: 'nothing' is not allowed; allowed: {allowed}$"):
        verify(store, ["nothing"], device="cpu")
    with pytest.raises(ParameterError, match=r"^results: .*a folder that holds records$"):
        verify(Store(tmp_path / "empty"), device="cpu")


def test_exit_codes_of_the_command(trained, store, forged, own_signals, capsys):
    from at_repro.cli import main

    arguments = ["verify", "--device", "cpu", "--results", str(store.folder)]
    assert main(arguments) == 0
    assert main([*arguments, "nothing"]) == 2
    printed = capsys.readouterr()
    assert "run: 'nothing' is not allowed" in printed.err and printed.err.count("\n") == 1
    _, seal = forged
    seal(final=trained.final | {"test_error": 0.0})
    assert main([*arguments, trained.run.run_id]) == 1


def test_a_page_that_shows_another_number_is_a_failure(trained, store, capsys, monkeypatch):
    """Though every record is what its network gives."""
    row = ["smoke", "wrn-16-2-to-16-1", "AT", 0, 26.0, 25.0, 25.0, 0.625, "25 / 25 / 0.5"]
    monkeypatch.setattr(recount, "recount", lambda store: pd.DataFrame([row], columns=recount.COLUMNS))
    assert verify(store, device="cpu") == 1
    assert "1 of these 1 rows differs from what the pages show" in lines(capsys)
