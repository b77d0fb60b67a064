"""Networks of several studies under names, on records typed by hand."""

from dataclasses import replace

import pandas as pd
import pytest

from at_repro import experiments
from at_repro.analysis import across_studies, attention_table
from at_repro.analysis.study import open_study

NAMES = ("wrn-16-2-to-16-1", "wrn-40-2-to-16-2")


@pytest.fixture
def studies(store, hand_made):
    """Opens both rows of Table 1 at preset reduced, without their images: errors by experiment and column."""

    def write(errors):
        for experiment, of_columns in errors.items():
            columns = experiments.get(experiment).runs("reduced")[0]
            for column, error in of_columns.items():
                hand_made(columns[column], final={"test_error": error}, diverged=None if error is not None else 1)
        given = {"device": "cpu", "results": str(store.folder), "train_missing": False}
        return [open_study(name, "reduced", **given) for name in NAMES]

    return write


ERRORS = {
    "wrn-16-2-to-16-1": {"student": 10.0, "AT": 9.0, "teacher": 7.0},
    "wrn-40-2-to-16-2": {"student": 7.5, "KD": 7.2, "teacher": 5.0, "AT": None},
}


def test_every_network_has_a_name_of_its_own(studies):
    """WRN-16-2 is a teacher of 60 epochs and a student of 20; AT of the second row diverged."""
    found = across_studies.members(studies(ERRORS))
    assert list(found) == [
        "WRN-16-2, 60 epochs", "WRN-16-1 from WRN-16-2, AT", "WRN-16-1",
        "WRN-40-2", "WRN-16-2, 20 epochs", "WRN-16-2 from WRN-40-2, KD",
    ]  # fmt: skip
    study, column = found["WRN-16-2, 20 epochs"]
    assert (study.experiment.name, column) == ("wrn-40-2-to-16-2", "student")


def test_terms_without_a_teacher_are_named(hand_made):
    """Else the student that keeps its gradients small would pass for a plain one."""
    study = open_study("gradient-methods", "reduced", device="cpu", train_missing=False)
    records = {column: {0: hand_made(study.columns[column])} for column in ("student", "min-l2", "symmetry norm")}
    found = across_studies.members([replace(study, records=records)])
    assert {name: column for name, (_, column) in found.items()} == {
        "NIN-THIN-NOBN": "student", "NIN-THIN-NOBN, min-l2": "min-l2", "NIN-THIN-NOBN, symmetry norm": "symmetry norm",
    }  # fmt: skip


def test_a_run_of_two_studies_is_there_once(studies):
    both = studies(ERRORS)
    assert across_studies.members([*both, both[0]]).keys() == across_studies.members(both).keys()


def test_of_each_network_the_longest_training_counts_and_the_weakest_comes_first(studies):
    found = across_studies.plain_networks(studies(ERRORS))
    assert list(found) == ["WRN-16-1", "WRN-16-2", "WRN-40-2"]
    study, column = found["WRN-16-2"]
    assert study.first(column).run.epochs == 60, "7.0 percent after 60 epochs, 7.5 after 20"


def test_statistics_stand_beside_the_errors(studies, store):
    both = studies(ERRORS)
    run = both[0].first("teacher").run
    rows = [(run.run_id, "", level, name, value, "") for level, name, value in (
        ("low", "edges", 0.6), ("top", "edges", 0.3), ("low", "entropy", 97.0),
    )]  # fmt: skip
    attention_table.write(store, pd.DataFrame(rows, columns=attention_table.COLUMNS))
    found = across_studies.table(across_studies.plain_networks(both), "edges")
    assert found.loc["WRN-16-2", ["epochs", "test_error", "low", "top"]].tolist() == [60, 7.0, 0.6, 0.3]
    assert found["low"].isna().tolist() == [True, False, True] and pd.isna(found.loc["WRN-16-2", "middle"])


def test_without_images_there_are_no_networks(studies):
    both = [replace(study, images=None) for study in studies(ERRORS)]
    assert across_studies.networks(across_studies.plain_networks(both)) == {}
    assert across_studies.networks({}) == {} and across_studies.plain_networks([]) == across_studies.members([]) == {}


def test_students_of_several_lengths_are_told_apart(studies, hand_made, store):
    """Else one of them would silently take the other's place in the explorer."""
    both = studies(ERRORS)
    given = {"device": "cpu", "results": str(store.folder), "train_missing": False, "epochs": 12}
    (columns,) = experiments.vary(experiments.get(NAMES[1]), epochs=12).runs("reduced")
    hand_made(columns["KD"], final={"test_error": 8.0})
    found = across_studies.members([*both, open_study(NAMES[1], "reduced", **given)])
    assert {"WRN-16-2 from WRN-40-2, KD, 20 epochs", "WRN-16-2 from WRN-40-2, KD, 12 epochs"} <= set(found)


def test_students_of_teachers_of_several_lengths_are_told_apart(studies, hand_made):
    both = studies(ERRORS)
    (columns,) = experiments.get(NAMES[0]).runs("reduced")
    other = replace(columns["AT"], teacher=replace(columns["teacher"], epochs=30))
    third = replace(both[0], columns={"AT": other}, records={"AT": {0: hand_made(other)}})
    found = across_studies.members([*both, third])
    of_both = {run.run_id[-10:] for run in (columns["AT"], other)}
    name = f"WRN-16-1 from WRN-16-2, AT, {other.epochs} epochs"
    assert {f"{name}, {end}" for end in of_both} <= set(found) and len(of_both) == 2


def measure(store, *rows):
    """Writes a table of attention: run id, teacher, level, statistic and value."""
    frame = pd.DataFrame([(*row, "") for row in rows], columns=attention_table.COLUMNS)
    attention_table.write(store, frame)


def test_distance_and_error_of_every_student_of_one_teacher(studies, hand_made, store):
    """Those of another length, of another teacher or without a measurement are left out."""
    study, _ = studies(ERRORS)
    columns = study.columns
    group = hand_made(experiments.get("one-or-three").runs("reduced")[0]["group 3"], final={"test_error": 9.5}).run
    longer = hand_made(experiments.get("training-length").runs("reduced")[0]["AT, 20 epochs"]).run
    elsewhere = hand_made(experiments.get("wrn-40-1-to-16-1").runs("reduced")[0]["AT"])
    near = {columns["student"]: 0.3, columns["AT"]: 0.2, group: 0.1, longer: 0.0}
    rows = [
        (run.run_id, columns["teacher"].run_id, level, "distance", value + 0.1 * (level == "low"))
        for run, value in near.items()
        for level in ("low", "top")
    ]
    measure(store, *rows, (elsewhere.run.run_id, elsewhere.run.teacher.run_id, "top", "distance", 0.0))
    ((title, students),) = across_studies.distance_and_error(study).items()
    assert title == "WRN-16-1 from WRN-16-2, 40 epochs" and students.index.tolist() == [1, 2, 3]
    assert students.round(3).to_dict("records") == [
        {"method": "group 3", "seeds": 1, "test_error": 9.5, "low": 0.2, "top": 0.1},
        {"method": "AT", "seeds": 1, "test_error": 9.0, "low": 0.3, "top": 0.2},
        {"method": "student", "seeds": 1, "test_error": 10.0, "low": 0.4, "top": 0.3},
    ]
    assert across_studies.rank_correlations({title: students})["rho"].tolist() == pytest.approx([0.5, 0.5])


def test_of_studies_with_one_title_the_first_counts(studies, store):
    """A reader who asks for seed 0 would else see the medians of all seeds under that name."""
    study, _ = studies(ERRORS)
    run, teacher = study.columns["student"], study.columns["teacher"]
    measure(store, (run.run_id, teacher.run_id, "top", "distance", 0.3))
    longer_taught = replace(
        study.experiment,
        columns=lambda size, seed: {
            name: replace(
                of, teacher=of.teacher and replace(of.teacher, epochs=90), epochs=90 if name == "teacher" else of.epochs
            )
            for name, of in study.experiment.columns(size, seed).items()
        },
    )
    other = replace(study, columns=longer_taught.runs("reduced", [0])[0])
    (first,), (swapped,) = (
        across_studies.distance_and_error(*both).values() for both in ((study, other), (other, study))
    )
    assert first["method"].tolist() == ["student"] and swapped.empty


def test_students_of_a_reader_s_own_parameters_are_there(hand_made, store):
    """No experiment has them; the page that trained them would say that nothing is run."""
    varied = experiments.vary(experiments.get(NAMES[0]), epochs=12)
    (columns,) = varied.runs("reduced")
    for name in ("student", "KD", "teacher"):
        hand_made(columns[name], final={"test_error": 8.0})
    given = {"device": "cpu", "results": str(store.folder), "train_missing": False, "epochs": 12}
    measure(store, *((columns[name].run_id, columns["teacher"].run_id, "top", "distance", 0.1) for name in columns))
    ((title, students),) = across_studies.distance_and_error(open_study(NAMES[0], "reduced", **given)).items()
    assert title == "WRN-16-1 from WRN-16-2, 12 epochs" and set(students["method"]) == {"student", "KD"}


def test_a_method_of_another_beta_is_no_further_seed(studies, hand_made, store):
    """Both are called AT; the median of the two would be that of no method."""
    study, _ = studies(ERRORS)
    (columns,) = experiments.vary(experiments.get(NAMES[0]), beta=100.0).runs("reduced")
    hand_made(columns["AT"], final={"test_error": 8.0})
    runs = (columns["AT"], study.columns["AT"], study.columns["student"])
    measure(store, *((run.run_id, columns["teacher"].run_id, "top", "distance", 0.1) for run in runs))
    given = {"device": "cpu", "results": str(store.folder), "train_missing": False, "beta": 100.0}
    (students,) = across_studies.distance_and_error(open_study(NAMES[0], "reduced", **given)).values()
    found = students.set_index("method")
    assert found.loc["AT", ["seeds", "test_error"]].tolist() == [1, 8.0]
    assert found["test_error"].drop("AT").to_dict() == {"student": 10.0, "sum-2": 9.0}, "as other experiments call it"


def test_students_without_a_measurement_are_not_there(studies):
    (students,) = across_studies.distance_and_error(studies(ERRORS)[0]).values()
    assert students.empty and across_studies.rank_correlations({"none": students}).empty


def test_rank_correlations_are_of_error_and_distance():
    """Of a to d the ranks are those of 9, 1, 2, 3; without a the others' are reversed, without any of them a counts for
    more. What was not measured counts for nothing, and two networks say nothing."""
    columns = {"method": list("abcde"), "test_error": [9.0, 1, 2, 3, 4], "low": [1.0, 4, 3, 2, None]}
    networks = pd.DataFrame(columns | {"top": [9.0, 3, 2, 1, None]})
    table = across_studies.rank_correlations({"all": networks, "two": networks[:2]})
    assert table.index.tolist() == [("all", "low"), ("all", "top")] and table["count"].tolist() == [4, 4]
    assert table["rho"].tolist() == pytest.approx([-1, 0.2])
    assert table.loc[("all", "top"), ["lowest", "highest"]].tolist() == pytest.approx([-1, 0.5])
    assert table.loc[("all", "low"), "p"] == pytest.approx(2 / 24), "of 24 orders two are as far from none"


def test_networks_with_imagenet_weights_are_read_from_the_table(studies, store):
    study, _ = studies(ERRORS)
    names = ("imagenet-efficientnet-lite0", "imagenet-efficientnet-lite1")
    measure(store, *((name, "", "level 4", "top share", 30.0 + len(name)) for name in names),
            (names[0], "", "level 4", "edges", 0.5))  # fmt: skip
    table = across_studies.of_pretrained(study, "top share")
    assert table["level 4"].to_dict() == {"efficientnet-lite0": 57.0, "efficientnet-lite1": 57.0}
