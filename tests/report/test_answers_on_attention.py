"""The sentences follow their numbers: who reads them reads what was measured."""

import pandas as pd

from at_repro.report import answers_on_attention as answers

STUDENTS = pd.DataFrame(
    {"method": ["AT", "student", "KD", "max-1", "sum-4"], "seed": 0, "test_error": [9.0, 10.0, 8.0, 9.5, 11.0],
     "low": 0.1, "top": [0.1, 0.2, 0.3, 0.15, 0.25]}
)  # fmt: skip


def table(names: str, errors: list[float], top: list[float]) -> pd.DataFrame:
    columns = {"epochs": 40, "test_error": errors, "low": 20.0, "middle": 25.0, "top": top}
    return pd.DataFrame(columns, index=names.split())


WRNS = "WRN-a WRN-b WRN-c WRN-d WRN-e"
ERRORS = [12.0, 11.0, 10.0, 9.0, 8.0]


def test_a_distillation_that_looks_elsewhere_and_errs_less_is_told_with_its_numbers():
    text = answers.is_it_the_attention({"pair": STUDENTS})
    assert text.startswith("**Nothing says so") and "Over 5 students (pair)" in text
    assert "in 1 of 1 pairs: 0.300 against 0.200, and 8.00 against 10.00 % (pair)" in text
    worse = STUDENTS.assign(test_error=[9.0, 10.0, 12.0, 9.5, 11.0])
    assert "in 0 of 1 pairs" in answers.is_it_the_attention({"pair": worse})


def test_a_correlation_beyond_chance_is_told_with_its_direction():
    ordered = STUDENTS.assign(method="AT", test_error=STUDENTS["top"] * 10)
    assert "nearer to their teacher's err less" in answers.is_it_the_attention({"pair": ordered})
    assert "nearer to their teacher's err more" in answers.is_it_the_attention(
        {"pair": ordered.assign(test_error=-ordered["test_error"])}
    )


def test_too_few_students_say_nothing():
    assert "Nothing can be said" in answers.is_it_the_attention({"pair": STUDENTS[:2]})


def peaks(top: list[float], names: str = WRNS) -> str:
    nothing = table("", [], [])
    return answers.peaks_objects_faces(table(names, ERRORS, top), pd.DataFrame(), nothing, nothing, nothing)


def test_stronger_networks_have_what_all_networks_and_the_wrns_agree_on():
    rising = [20.0, 21, 22, 23, 24]
    assert "**Stronger networks have more of their attention in peaks**" in peaks(rising)
    assert "**Stronger networks have less of their attention in peaks**" in peaks(rising[::-1])
    assert "is open**" in peaks(rising, names="NIN-a NIN-b WRN-c WRN-d WRN-e"), "three WRNs alone decide nothing"
    assert "**Stronger networks do not show more of their attention in peaks**" in peaks([22.0, 20, 23, 21, 20])
    assert "holds 20 to 24 % of its mass" in peaks(rising) and "-1.00 over 5 WRNs (p = 0.017)" in peaks(rising)


def test_objects_and_faces_are_told_with_their_numbers():
    nothing, shares = table("", [], []), table(WRNS, ERRORS, [50.0, 51, 19, 53, 54])
    parts = table("WRN-16-2", [1.0], [28.0])
    text = answers.peaks_objects_faces(
        nothing, pd.DataFrame({"level 4": [35.0, 42]}, ["a", "b"]), shares, shares, parts
    )
    assert "in 4 of 5 networks: 19 to 54 % against 20 to 20 %" in text
    assert "35 % (a), 42 % (b)" in text and "the stronger ones have higher peaks" in text
    assert "the top maps lie most on eyes, nose and mouth**, with 20 % (low), 25 % (middle), 28 % (top)" in text
    empty = table("", [], [])
    assert "Nothing can be said" in answers.peaks_objects_faces(empty, pd.DataFrame(), empty, empty, empty)
