"""The report's tables and sentences, on records whose numbers are counted by hand."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from at_repro import experiments
from at_repro.analysis import attention_table, error_tables
from at_repro.errors import UserError

IMAGES = 200  # half a percentage point each
PAIR = "wrn-16-1 from wrn-16-2"


def wilson(wrong: int, images: int) -> tuple[float, float]:
    """In percent, by the formula."""
    z, share = 1.959963984540054, wrong / images
    centre = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * math.sqrt(share * (1 - share) / images + z * z / (4 * images**2))
    return 100 * (centre - half), 100 * (centre + half)


def test_what_the_methods_of_several_pairs_gain(studies):
    first = studies("reduced", student={0: range(20)}, at={0: range(17)}, teacher={0: range(13)})
    second = studies("reduced", "wrn-40-2-to-16-2", student={0: range(14)}, kd={0: range(15)})
    gains = error_tables.gains({PAIR: first, "wrn-16-2 from wrn-40-2": second}).set_index(["pair", "method"])
    assert gains.loc[(PAIR, "AT"), "ours"] == -1.5
    assert gains.loc[(PAIR, "AT"), "paper"] == pytest.approx(7.93 - 8.77)
    assert gains.loc[("wrn-16-2 from wrn-40-2", "KD"), "ours"] == 0.5 and gains["ours"].notna().sum() == 2
    assert not {"student", "teacher"} & set(gains.index.get_level_values("method"))


def test_a_gain_is_that_over_the_plain_student_of_the_same_seed(studies):
    """Others of its seeds are no pair: the median of 5 and 10 percent would make a loss of it."""
    study = studies("reduced", student={0: range(20), 1: range(10), 2: range(9), 3: None}, kd={1: None, 3: range(5)},
                    at={0: range(18), 2: range(13), 4: range(5)})  # fmt: skip
    gains = error_tables.gains({PAIR: study}).set_index("method")["ours"]
    assert gains["AT"] == 0.5, "one point fewer and two more"
    assert math.isnan(gains["KD"]), "of each pair one diverged"


def test_no_table_compares_what_was_measured_on_different_test_images(studies, hand_made):
    study = studies("reduced", student={0: range(20)})
    other = hand_made(study.columns["AT"], data={"test": "2" * 64})
    study.records["AT"] = {0: other}
    with pytest.raises(UserError, match=f"and {other.run.run_id} were measured on different test images"):
        error_tables.gains({PAIR: study})


def test_pairs_for_readers_say_what_diverged_and_what_is_not_run(studies):
    """A run that diverged is not one that is missing."""
    study = studies("reduced", student={0: range(20), 1: range(16)}, at={0: None})
    found = error_tables.pairs({PAIR: study})
    ours = found.loc[(PAIR, "ours")]
    assert ours[["student", "AT", "KD"]].tolist() == ["9.00", "diverged", "not run"]
    assert found.loc[(PAIR, "seeds"), "student"] == 2 and found.loc[(PAIR, "paper"), "KD"] == "7.41"
    assert found.loc[(PAIR, "diverged"), ["student", "AT"]].tolist() == [0, 1]
    assert found.loc[(PAIR, "95 % interval"), "AT"] == found.loc[(PAIR, "deviation"), "KD"] == ""


def test_a_second_teacher_is_no_method(studies):
    """Table 3 has one for the terms on gradients and one for activation-based transfer."""
    wrong = {"student": {0: range(20)}, "KD": {0: range(10)}, "teacher": {0: ()}, "teacher of AT": {0: ()}}
    study = studies("smoke", "gradient-methods", **wrong)
    assert study.students == ["student", "KD"]


def test_top5_errors_stand_beside_the_papers(studies):
    study = studies("paper", "imagenet-resnet18", student={0: range(60), 1: range(64)}, kd={0: range(62)})
    found = error_tables.top5(study)
    assert found.loc["student"].to_dict() == {"top-5": "7.75", "paper, top-5": "10.8", "deviation, top-5": "-3.05"}
    assert found.loc["KD"].to_dict() == {"top-5": "7.75", "paper, top-5": "", "deviation, top-5": ""}, "has none"


def test_imagenets_top5_errors_stand_beside_no_other_set(studies):
    """Birds are of 200 classes, of which the paper has no top-5 errors."""
    found = error_tables.top5(studies("paper", "fine-tuning-birds", student={0: range(60)}))
    assert found.loc["student"].to_dict() == {"top-5": "7.50"}


def test_errors_on_another_set_of_the_paper_are_not_held_against_its_numbers(studies):
    scenes = studies("paper", "fine-tuning-scenes", student={0: range(60)})
    assert error_tables.by_method(scenes).loc["student", "paper"] == 28.2
    of_birds = experiments.vary(scenes.experiment, dataset="cub200@256").runs("paper", [0])[0]
    assert error_tables.by_method(replace(scenes, columns=of_birds))["paper"].isna().all()


def test_errors_of_other_networks_than_the_papers_are_not_held_against_its_numbers(studies):
    """The smaller preset fine-tunes EfficientNets, whatever images it is given."""
    birds = studies("reduced", "fine-tuning-birds", student={0: range(60)})
    on_the_papers_images = experiments.vary(birds.experiment, dataset="cub200@256").runs("reduced", [0])[0]
    assert error_tables.by_method(replace(birds, columns=on_the_papers_images))["paper"].isna().all()


def test_what_others_published_are_gains_over_their_student():
    found = error_tables.other_reports()
    rep = found.loc["RepDistiller"].droplevel("task").loc["wrn-16-2 from wrn-40-2"]
    assert rep[["student", "AT", "KD"]].tolist() == [73.26, "+0.82", "+1.66"], "74.08 and 74.92 against 73.26"
    assert found.loc["Knowledge-Distillation-Zoo", "KD"].tolist() == [""], "it published none"


def test_what_diverged_has_no_top5_error(studies):
    found = error_tables.top5(studies("paper", "imagenet-resnet18", student={0: range(60), 1: None}, kd={0: None}))
    assert found["top-5"].to_dict() == {"student": "7.50"}, "60 of 200 images are 30 %, a fourth of it is 7.5"


def test_there_is_no_top5_error_of_ten_classes(studies):
    found = error_tables.top5(studies("reduced", "imagenet-resnet18", student={0: range(60)}, at={0: range(62)}))
    assert found.empty and not len(found.columns), "nothing to join to the table of errors"


def test_distances_of_maps_come_from_the_table_that_stays_without_weights(studies):
    study = studies("reduced", student={0: [], 1: [], 2: []}, at={0: []}, teacher={0: []})
    runs = {column: [record.run.run_id for record in by.values()] for column, by in study.records.items()}
    (teacher,) = runs["teacher"]
    rows = [
        (run, teacher, "top", "distance", value, "")
        for run, value in zip(runs["student"], (0.1, 0.4, 0.2), strict=True)
    ]
    rows += [(runs["AT"][0], teacher, level, "distance", value, "") for level, value in (("low", 0.3), ("top", 0.05))]
    rows += [(runs["AT"][0], "another", "top", "distance", 1, ""), (runs["AT"][0], "", "top", "entropy", 9, "")]
    attention_table.write(study.store, pd.DataFrame(rows, columns=attention_table.COLUMNS))
    found = error_tables.map_distances(study)
    assert found["top"].to_dict() == {"student": 0.2, "AT": 0.05}, "the median over seeds, to this teacher"
    assert found.loc["AT", "low"] == 0.3 and math.isnan(found.loc["student", "low"])
    assert found["seeds"].to_dict() == {"student": 3, "AT": 1}


def test_distances_of_a_method_are_compared_with_those_of_the_same_seed(studies):
    study = studies(
        "reduced", student={seed: [] for seed in range(4)}, kd={seed: [] for seed in (0, 1, 2, 5)}, teacher={0: []}
    )
    (teacher,) = (record.run.run_id for record in study.records["teacher"].values())
    values = {"student": {0: 0.1, 1: 0.4, 2: 0.2, 3: 0.9}, "KD": {0: 0.2, 1: 0.6, 2: 0.1, 5: 0.9}}
    rows = [
        (study.records[column][seed].run.run_id, teacher, "top", "distance", value, "")
        for column, by_seed in values.items()
        for seed, value in by_seed.items()
    ]
    attention_table.write(study.store, pd.DataFrame(rows, columns=attention_table.COLUMNS))
    top = error_tables.paired_map_distances(study, "KD").loc["top"]
    assert (top["seeds"], top["farther"]) == (3, 2), "0.1 and 0.2 farther, and 0.1 nearer"
    half = 4.302653 * 0.152753 / 3**0.5  # Student's t of two degrees of freedom, and the deviation of these three
    assert (top["difference"], top["low"], top["high"]) == pytest.approx(
        (0.2 / 3, 0.2 / 3 - half, 0.2 / 3 + half), rel=1e-4
    )
    assert error_tables.paired_map_distances(study, "AT").empty, "no seed has both"


def test_errors_of_one_seed_beside_the_paper(studies):
    study = studies(
        "reduced", student={0: range(20)}, at={0: range(17)}, f_actt={0: range(19)}, kd={0: range(15)},
        at_kd={0: range(16)}, teacher={0: range(13)},
    )  # fmt: skip
    table = error_tables.by_method(study)
    assert list(table.index) == ["student", "AT", "F-ActT", "KD", "AT+KD", "teacher"] and table.index.name == "method"
    assert table["ours"].tolist() == [10, 8.5, 9.5, 7.5, 8, 6.5]
    assert table["paper"].tolist() == [8.77, 7.93, 8.51, 7.41, 7.51, 6.31], "Table 1, second row"
    assert table["deviation"].tolist() == pytest.approx([1.23, 0.57, 0.99, 0.09, 0.49, 0.19]), "ours minus the paper's"
    assert table["seeds"].tolist() == [1] * 6 and table["diverged"].tolist() == [0] * 6
    assert table["run_id"].tolist() == [run.run_id for run in study.columns.values()]
    assert (table.loc["AT", "low"], table.loc["AT", "high"]) == pytest.approx(wilson(17, IMAGES), rel=1e-9)


def test_errors_of_two_seeds_have_the_interval_of_the_test_set(studies):
    """Two seeds are too few for an interval over seeds; their median is the mean of the two."""
    table = error_tables.by_method(studies("reduced", at={0: range(16), 1: range(20)}))
    assert table.loc["AT", ["ours", "seeds"]].tolist() == [9, 2]
    assert (table.loc["AT", "low"], table.loc["AT", "high"]) == pytest.approx(wilson(18, IMAGES), rel=1e-9)


def test_errors_of_three_seeds_are_medians(studies):
    study = studies("reduced", at={0: range(30), 1: range(16), 2: range(18)}, teacher={0: range(13)})
    at, teacher = (error_tables.by_method(study).loc[method] for method in ("AT", "teacher"))
    assert at[["ours", "seeds"]].tolist() == [9, 3], "the median, not the mean of 10.67"
    assert at["deviation"] == pytest.approx(9 - 7.93)
    half = 4.30265 * 3.785939 / 3**0.5  # Student's t of two degrees of freedom; the standard deviation of 8, 9 and 15
    assert at[["low", "high"]].tolist() == pytest.approx([32 / 3 - half, 32 / 3 + half], abs=1e-4)
    assert teacher["seeds"] == 1, "one teacher serves the students of every seed"
    assert at["run_id"] == study.columns["AT"].run_id


def test_errors_of_what_is_not_run(studies):
    table = error_tables.by_method(studies("reduced", at={0: range(17)}))
    for method in ("student", "F-ActT", "KD", "AT+KD", "teacher"):
        row = table.loc[method]
        assert row[["ours", "low", "high", "deviation"]].isna().all(), "a number without a record"
        assert row["run_id"] == "not run" and row["seeds"] == row["diverged"] == 0
    assert table["paper"].tolist() == [8.77, 7.93, 8.51, 7.41, 7.51, 6.31], "published whether or not ours is run"


def test_what_diverged_has_no_error_and_is_counted(studies):
    """The median is that of the seeds that finished, also where the first one did not."""
    study = studies("reduced", student={0: None}, at={0: None, 1: range(18)}, kd={0: range(16), 1: None, 2: range(14)})
    table = error_tables.by_method(study)
    assert table[["seeds", "diverged"]].values.tolist() == [[0, 1], [1, 1], [0, 0], [2, 1], [0, 0], [0, 0]]
    assert table.loc["student", ["ours", "low", "high", "deviation"]].isna().all()
    assert table.loc["AT", "ours"] == 9
    assert (table.loc["AT", "low"], table.loc["AT", "high"]) == pytest.approx(wilson(18, IMAGES), rel=1e-9)
    assert table.loc["KD", "ours"] == 7.5
    assert table.loc["student", "run_id"] == study.columns["student"].run_id, "it is run, and diverged"


def test_other_data_are_not_compared_with_the_paper(studies):
    """The paper's errors on CIFAR-10 say nothing about generated shapes."""
    table = error_tables.by_method(studies("smoke", student={0: range(20)}, at={0: range(17)}))
    assert table["paper"].isna().all() and table["deviation"].isna().all()
    assert table.loc["AT", "ours"] == 8.5


@pytest.mark.parametrize(("name", "changes"), [("forms-and-betas", {}), ("wrn-16-2-to-16-1", {"teacher": "wrn-40-2"})])
def test_what_the_paper_does_not_print_has_no_deviation(name, changes, studies):
    """Other networks than the paper's are held against nothing."""
    study = studies("reduced", name, student={0: range(17)})
    columns = experiments.vary(study.experiment, **changes).runs("reduced", [0])[0]
    table = error_tables.by_method(replace(study, columns=columns, changes=changes))
    assert table["paper"].isna().all() and table["deviation"].isna().all()


def test_tables_of_the_paper_as_they_are_printed():
    """Table 4 for birds: 28.5, 27 (?), 27 (?) and 26.5; Table 5 has no KD."""
    found = error_tables.paper_table("Table 4", "Table 5")
    birds = {"student": "28.5", "KD": "27 (?)", "AT": "27 (?)", "teacher": "26.5"}
    assert found.loc["resnet18 from resnet34, CUB-200-2011"].to_dict() == birds
    assert found.loc["resnet18 from resnet34, ImageNet top-5", "KD"] == "" and len(found) == 4


def test_readable_beside_the_paper(studies):
    study = studies("reduced", student={0: range(20)}, at={0: range(15)}, kd={0: None})
    shown = error_tables.readable(error_tables.by_method(study))
    columns = ["ours", "95 % interval", "seeds", "diverged", "paper", "deviation"]
    assert list(shown.columns) == columns
    assert shown["ours"].tolist() == ["10.00", "7.50", "not run", "diverged", "not run", "not run"]
    low, high = wilson(15, IMAGES)
    assert shown.loc["AT", "95 % interval"] == f"{low:.2f} to {high:.2f} (images)" == "4.60 to 12.00 (images)"
    assert shown["seeds"].tolist() == [1, 1, 0, 0, 0, 0] and shown["diverged"].tolist() == [0, 0, 0, 1, 0, 0]
    assert shown["paper"].tolist() == ["8.77", "7.93", "8.51", "7.41", "7.51", "6.31"]
    assert shown["deviation"].tolist() == ["+1.23", "-0.43", "", "", "", ""], "a deviation has a sign"
    assert "nan" not in shown.to_string().lower()


def test_readable_has_no_empty_columns(studies):
    shown = error_tables.readable(error_tables.by_method(studies("smoke", at={0: range(15)})))
    assert list(shown.columns) == ["ours", "95 % interval", "seeds"]
    assert "nan" not in shown.to_string().lower()


def test_readable_without_records_says_so(studies):
    shown = error_tables.readable(error_tables.by_method(studies("smoke")))
    assert shown["ours"].tolist() == ["not run"] * 6 and "nan" not in shown.to_string().lower()
