"""The published numbers, typed a second time from PAPER.md by another person: a slip of one of us shows here."""

import re
from pathlib import Path

import pytest

from at_repro import experiments
from at_repro.experiments.paper_numbers import ACCURACIES, NUMBERS, PLACES_IN_PAPER, Number, number, of_experiment

PAIRS = (
    "nin-thin from nin-wide",
    "wrn-16-1 from wrn-16-2",
    "wrn-16-1 from wrn-40-1",
    "wrn-16-2 from wrn-40-2",
)
# Column by column, where paper_numbers.py has it row by row.
TABLE_1 = {
    "student": (9.38, 8.77, 8.77, 6.31),
    "AT": (8.93, 7.93, 8.25, 5.85),
    "F-ActT": (9.05, 8.51, 8.62, 6.24),
    "KD": (8.55, 7.41, 8.39, 6.08),
    "AT+KD": (8.33, 7.51, 8.01, 5.71),
    "teacher": (7.28, 6.31, 6.58, 5.23),
}


def in_table(name: str) -> dict[tuple[str, str], float]:
    return {(n.row, n.column): n.value for n in NUMBERS if n.table == name}


def test_table_1():
    expected = {(pair, column): values[i] for column, values in TABLE_1.items() for i, pair in enumerate(PAIRS)}
    assert in_table("Table 1") == expected


def test_the_other_tables():
    pair = "wrn-16-1 from wrn-16-2"
    assert in_table("Section 4.1") == {
        (pair, "student"): 8.77,  # of Table 1: the text compares with it
        (pair, "all groups"): 7.93, (pair, "group 1"): 8.11, (pair, "group 2"): 7.96, (pair, "group 3"): 7.97,
    }  # fmt: skip
    assert in_table("Table 2") == {
        (pair, "student"): 8.77, (pair, "max-1"): 8.08, (pair, "sum-1"): 7.99, (pair, "sum-2"): 7.93,
        (pair, "sum-4"): 8.09,
    }  # fmt: skip
    assert {column: value for (_, column), value in in_table("Table 3").items()} == {
        "student": 13.5, "min-l2": 12.5, "gradient AT": 12.1, "KD": 12.1, "symmetry norm": 11.8, "AT": 11.2,
    }  # fmt: skip
    assert {(row.split(", ")[1], column): value for (row, column), value in in_table("Table 4").items()} == {
        ("CUB-200-2011", "student"): 28.5, ("CUB-200-2011", "KD"): 27, ("CUB-200-2011", "AT"): 27,
        ("CUB-200-2011", "teacher"): 26.5, ("MIT Indoor", "student"): 28.2, ("MIT Indoor", "KD"): 28.1,
        ("MIT Indoor", "AT"): 27.1, ("MIT Indoor", "teacher"): 26,
    }  # fmt: skip
    assert {(row[-5:], column): value for (row, column), value in in_table("Table 5").items()} == {
        ("top-1", "student"): 30.4, ("top-1", "AT"): 29.3, ("top-1", "teacher"): 26.1,
        ("top-5", "student"): 10.8, ("top-5", "AT"): 10.0, ("top-5", "teacher"): 8.3,
    }  # fmt: skip


def test_no_place_holds_two_numbers():
    """`number` would return the first and hide the second."""
    places = [(n.table, n.row, n.column) for n in NUMBERS]
    assert len(places) == len(set(places))


def test_numbers_that_were_recalled_less_firmly_say_so():
    doubtful = {(n.row.split(", ")[1], n.column) for n in NUMBERS if not n.certain}
    assert doubtful == {("CUB-200-2011", "KD"), ("CUB-200-2011", "AT"), ("MIT Indoor", "KD"), ("MIT Indoor", "AT")}
    assert str(number("Table 4", "resnet18 from resnet34, CUB-200-2011", "KD")) == "27 (?)"
    assert str(number("Table 1", "wrn-16-1 from wrn-16-2", "AT")) == "7.93"


def test_a_place_where_the_paper_prints_nothing_has_no_number():
    assert number("Table 1", "wrn-16-1 from wrn-16-2", "min-l2") is None
    assert isinstance(number("Table 5", "resnet18 from resnet34, ImageNet top-1", "AT"), Number)


def test_the_columns_of_an_experiment_are_named_as_the_papers():
    """Else the report would show "no published number" beside a result that has one."""
    for column in experiments.get("wrn-16-2-to-16-1").runs("smoke")[0]:
        assert number("Table 1", "wrn-16-1 from wrn-16-2", column) is not None, column


NOTES = Path(__file__).parents[3] / "shared" / "PAPER.md"


@pytest.mark.skipif(not NOTES.exists(), reason="the project's notes on the paper are not part of the repository")
def test_table_1_of_the_notes():
    rows = re.findall(r"^\| (\S+) \S+M \| (\S+) \S+M \|([\d.| ]+)\|$", NOTES.read_text(), re.MULTILINE)
    assert len(rows) == 4
    for student, teacher, cells in rows:
        values = [float(cell) for cell in cells.split("|")]
        order = ("student", "AT", "F-ActT", "KD", "AT+KD", "teacher")
        row = f"{student.lower()} from {teacher.lower()}"
        assert [number("Table 1", row, column).value for column in order] == values


def test_accuracies_of_others():
    """Typed from the list of independent numbers, one line each."""
    found = {(a.source, a.row, a.column): a.value for a in ACCURACIES}
    rep, hub, zoo = "RepDistiller", "torchdistill", "Knowledge-Distillation-Zoo"
    methods = ("teacher", "student", "KD", "AT")
    assert [found[rep, "wrn-16-2 from wrn-40-2", m] for m in methods] == [75.61, 73.26, 74.92, 74.08]
    assert [found[rep, "wrn-40-1 from wrn-40-2", m] for m in methods] == [75.61, 71.98, 73.54, 72.77]
    assert [found[hub, "resnet18 from resnet34", m] for m in ("student", "AT", "KD")] == [69.76, 70.90, 71.37]
    assert found[hub, "resnet18 from resnet34", "AT, committed log"] == 70.56
    assert [found[zoo, "resnet20 from resnet110", m] for m in ("student", "AT")] == [92.37, 93.21]


def test_accuracies_that_only_notes_have():
    """Each line of the notes has the numbers of one source, in the order of these columns."""
    lists = {
        ("trailmet-distillation", "CIFAR-10"): ("teacher student AT", [94.01, 91.15, 92.04]),
        ("hankyul2/KnowledgeDistillation", "CIFAR-10"): ("student KD AT", [92.0, 92.8, 91.9, 92.5, 93.9, 93.3]),
        ("hankyul2/KnowledgeDistillation", "CIFAR-100"): ("student KD AT", [67.6, 69.9, 68.4, 71.6, 74.1, 72.6]),
        ("PLD (arXiv 2506.12542)", "CIFAR-100"): ("student KD AT", [70.26, 72.44, 71.99, 64.42, 66.61, 52.28]),
        ("a lab note on Moonshine", "ImageNet"): ("teacher student AT", [100 - 26.73, 100 - 30.36, 100 - 29.18]),
        ("sseung0703 (TensorFlow)", "CIFAR-100"): ("student KD AT", [71.76, 71.79, 72.31]),
    }
    for (source, images), (columns, values) in lists.items():
        own = [a for a in ACCURACIES if a.source == source and a.task.split(",")[0] == images]
        assert [a.column for a in own] == columns.split() * (len(values) // 3), source
        assert [a.value for a in own] == pytest.approx(values), source
    assert len(ACCURACIES) == 14 + sum(len(values) for _, values in lists.values())
    assert len({(a.source, a.task, a.row, a.column) for a in ACCURACIES}) == len(ACCURACIES), "one number each"


@pytest.mark.parametrize("name", PLACES_IN_PAPER)
def test_an_experiment_whose_numbers_are_printed_has_those_of_its_plain_student(name):
    """A slip of the pen in a row's name would leave its numbers out of every table."""
    assert name in experiments.EXPERIMENTS and of_experiment(name, "student") is not None
