"""The numbers of pages and claims counted again, on records typed by hand."""

import math

import pytest

from at_repro import experiments
from at_repro.claims import recount
from at_repro.claims.facts import Facts


@pytest.fixture
def rows(hand_made, store):
    """At preset smoke a plain student that errs on four of eight images, and AT, on a fifth and none of these."""
    columns = experiments.get("wrn-16-2-to-16-1").runs("smoke")[0]
    hand_made(columns["student"], (60.0, 50.0), [9, 9, 9, 9, 4, 5, 6, 7], final={"test_error": 50.0})
    hand_made(columns["AT"], (60.0, 26.0), [9, 1, 2, 3, 9, 5, 6, 7], final={"test_error": 25.0})

    def count():
        table = recount.recount(store)
        return table[table["experiment"] == "wrn-16-2-to-16-1"].set_index("method")

    return count


def test_errors_gains_and_their_standard_errors_are_counted_from_predictions(rows):
    """Three of eight images are right with AT alone, one without: a variance of 4/8 - (2/8)^2, over eight."""
    table = rows()
    assert table["preset"].tolist() == ["smoke"] * 2 and table["pages"].tolist() == ["", ""]
    numbers = table.loc["AT", ["last_epoch", "error", "gain", "standard_error"]].tolist()
    assert numbers == pytest.approx([26.0, 25.0, 25.0, 100 * (7 / 128) ** 0.5], rel=1e-12)
    assert table.loc["student", "error"] == 50.0 and math.isnan(table.loc["student", "gain"])


def test_a_page_that_computes_something_else_is_named(rows, monkeypatch):
    monkeypatch.setattr(Facts, "image_error", lambda *sides: 0.5)
    table = rows()
    assert table["pages"].to_dict() == {"student": "", "AT": "25 / 25 / 0.5"}


def test_nothing_is_gained_over_a_plain_student_of_other_test_images(hand_made, store):
    """Of another number of them, and of as many."""
    columns = experiments.get("wrn-16-2-to-16-1").runs("smoke")[0]
    hand_made(columns["student"], (50.0,), [9, 1], final={"test_error": 50.0}, data={"test": "1" * 64})
    hand_made(columns["AT"], (25.0,), [9, 1, 2, 3], final={"test_error": 25.0}, data={"test": "2" * 64})
    hand_made(columns["KD"], (0.0,), [0, 1], final={"test_error": 0.0}, data={"test": "3" * 64})
    table = recount.recount(store).query("experiment == 'wrn-16-2-to-16-1'").set_index("method")
    assert table["error"].to_dict() == {"student": 50, "AT": 25, "KD": 0} and set(table["pages"]) == {""}
    assert table[["gain", "standard_error"]].isna().all(axis=None)


def test_a_method_is_held_against_the_plain_student_of_its_own_length(hand_made, store):
    columns = experiments.get("training-length").runs("reduced")[0]
    for column, predicted in (("student, 10 epochs", [9, 9, 2, 3]), ("student, 20 epochs", [9, 1, 2, 3]),
                              ("AT, 10 epochs", [0, 1, 2, 9])):  # fmt: skip
        wrong = 25.0 * sum(own != label for label, own in enumerate(predicted))
        hand_made(columns[column], (wrong,), predicted, final={"test_error": wrong})
    table = recount.recount(store).query("experiment == 'training-length'").set_index("method")
    assert table.loc["AT, 10 epochs", "gain"] == 25.0 and set(table["pages"]) == {""}
