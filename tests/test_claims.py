"""The ledger says what its rules say, on records with errors typed by hand."""

import pandas as pd
import pytest

from at_repro import attention_statistics, bench, claims, experiments, paper
from at_repro.claims import DIRECTION, FAILS, HOLDS, NOT_RUN, find, ledger
from at_repro.errors import ParameterError
from at_repro.results import DamagedRecord
from at_repro.rules import Comparison, Cost, Either, Look


@pytest.fixture
def recorded(hand_made):
    """Writes records of one experiment at preset smoke: errors by column, one per seed; None: diverged."""

    def write(experiment, **errors):
        names = {"at": "AT", "kd": "KD", "at_kd": "AT+KD", "f_actt": "F-ActT"}
        for column, by_seed in errors.items():
            column = names.get(column, column.replace("_", " "))
            for columns, error in zip(experiments.get(experiment).runs("smoke", range(9)), by_seed, strict=False):
                hand_made(
                    columns[column],
                    final={"test_error": error, "train_error": None},
                    diverged=None if error is not None else 2,
                )

    return write


def verdict(store, seeds=range(9), name="at"):
    return ledger("smoke", store, seeds).loc[name]


def test_every_claim_of_the_paper_has_a_row(store, no_benchmark):
    """A claim that is left out would be one that nobody notices to be untested."""
    found = ledger("reduced", store)
    assert list(found.index) == [claim.name for claim in paper.CLAIMS]
    assert set(found["verdict"]) == {NOT_RUN} and (found["runs"] == "").all()
    assert list(found.columns) == claims.COLUMNS


@pytest.mark.parametrize("preset", list(experiments.PRESETS))
def test_every_rule_names_runs_that_exist(preset, store):
    assert set(claims.RULES) == {claim.name for claim in paper.CLAIMS}
    for rule in [rule for of_claim in claims.RULES.values() for rule in of_claim]:
        if isinstance(rule, Cost):
            continue
        for part in rule.comparisons if isinstance(rule, Either) else [rule]:
            named = (*part.better, *part.worse) if isinstance(part, Comparison) else (part.lower[0], part.higher[0])
            assert set(named) <= set(experiments.get(part.experiment).runs(preset)[0]), part
        assert find(rule, preset, store).verdict == NOT_RUN


@pytest.mark.parametrize(
    ("student", "at", "expected"),
    [
        ([9.0, 9.2, 9.1], [8.0, 8.1, 8.3], HOLDS),
        ([9.0, 9.2, 9.1, 9.3], [8.0, 8.1, 9.6, 8.0], DIRECTION),  # one seed of four the other way: -0.73, up to +0.1
        ([9.0, 9.2, 9.1], [9.1, 9.3, 9.3], FAILS),
        ([9.0, 9.2, 9.1], [9.0, 9.2, 9.1], FAILS),  # equal is not better
        ([9.0], [5.0], DIRECTION),  # however large: one seed is one seed
        ([9.0, 9.0], [5.0, 5.0], DIRECTION),
        ([9.0], [9.5], FAILS),
        ([9.0, 9.2, 9.1], [None, None, None], FAILS),  # diverged: as good as guessing
        ([None, None, None], [8.0, 8.1, 8.3], HOLDS),
    ],
)
def test_a_comparison_is_judged_by_the_stated_rule(student, at, expected, recorded, store):
    recorded("wrn-16-2-to-16-1", student=student, at=at)
    row = verdict(store)
    assert row["verdict"] == expected
    assert row["comparisons"] == "1 of 4" and row["seeds"] == len(student)


def test_the_numbers_and_runs_behind_a_verdict_are_named(recorded, store):
    recorded("wrn-16-2-to-16-1", student=[9.0, 9.0, 9.0], at=[8.0, 8.5, 7.5])
    row = verdict(store)
    assert row["numbers"].startswith("AT below student (wrn-16-2-to-16-1): -1.00 points, 95 % from -1.50 to -0.50")
    runs = experiments.get("wrn-16-2-to-16-1").runs("smoke", range(3))
    assert set(row["runs"].split()) == {columns[name].run_id for columns in runs for name in ("AT", "student")}


def test_with_one_or_two_seeds_a_difference_has_the_chance_of_its_test_images(hand_made, store):
    """Without it 0.09 points against a claim look like a finding. By hand: 5 images against none, twice 1 in 2^5."""
    for seed, columns in enumerate(experiments.get("wrn-16-2-to-16-1").runs("smoke", [0, 1])):
        hand_made(columns["student"], predicted=[0, 1, 2, 3, 4, 9, 9, 9, 9, 8], final={"test_error": 50.0})
        hand_made(columns["AT"], predicted=range(10), final={"test_error": 0.0})
        chances = "p = 0.062" + seed * ", p = 0.062"
        assert f"AT below student (wrn-16-2-to-16-1): -50.00 points ({chances})" in verdict(store)["numbers"]


@pytest.mark.parametrize(("teacher", "expected"), [(31.0, (NOT_RUN, "0 of 2")), (25.9, (FAILS, "2 of 2"))])
def test_a_teacher_that_is_no_better_than_its_student_tests_nothing(teacher, expected, recorded, store):
    """What it hands on cannot be expected to help, whatever the method: no word about the claims on transfer."""
    recorded("imagenet-resnet18", teacher=[teacher], student=[26.0], at=[41.0], kd=[21.0])
    row = verdict(store, name="imagenet")
    assert (row["verdict"], row["comparisons"]) == expected


def test_seeds_are_paired(recorded, store):
    """AT is better for each seed, although worse than the other seed's student: unpaired, nothing would be found."""
    recorded("wrn-16-2-to-16-1", student=[9.0, 12.0, 15.0], at=[8.9, 11.9, 14.8])
    assert verdict(store)["verdict"] == HOLDS


def test_a_seed_that_one_side_lacks_is_left_out(recorded, store):
    recorded("wrn-16-2-to-16-1", student=[9.0, 9.2, 9.1], at=[8.0])
    row = verdict(store)
    assert (row["verdict"], row["seeds"]) == (DIRECTION, 1)


def test_every_seed_that_has_a_record_counts(recorded, store):
    """Seeds beyond those of the preset were trained to decide: without them no claim could hold."""
    assert store.seeds() == [0], "of an empty store"
    recorded("wrn-16-2-to-16-1", student=[9.0, 9.2, 9.1], at=[8.0, 8.1, 8.3])
    assert store.seeds() == [0, 1, 2]
    row = ledger("smoke", store).loc["at"]
    assert (row["verdict"], row["seeds"]) == (HOLDS, 3)


def test_a_claim_is_as_strong_as_its_weakest_comparison(recorded, store):
    better, plain = [8.0] * 3, [9.0] * 3
    recorded("one-or-three", all_groups=better, group_1=plain, group_2=plain)
    assert verdict(store, name="three-losses")["verdict"] == HOLDS
    recorded("one-or-three", group_3=[7.5] * 3)
    row = verdict(store, name="three-losses")
    assert (row["verdict"], row["comparisons"]) == (FAILS, "3 of 3")


@pytest.mark.parametrize(
    ("l1", "expected"),
    [
        ([8.2, 8.1, 8.2], HOLDS),  # worse by 0.1 to 0.2
        ([8.1, 8.1, 8.5], DIRECTION),  # by 0.1, 0.1 and 0.5
        ([8.3, 8.3, 8.3], FAILS),  # by the margin itself
        ([7.0, 7.0, 7.0], HOLDS),  # better is no worse
    ],
)
def test_what_shall_be_as_good_may_be_worse_by_its_margin(l1, expected, recorded, store):
    recorded("mapping-functions", **{"sum-2": [8.0] * 3, "l1 normalised, beta 42000": l1, "student": [9.0] * 3})
    row = verdict(store, name="l1")
    assert (row["verdict"], row["comparisons"]) == (expected, "2 of 2")
    assert "l1 normalised, beta 42000 less than 0.3 above sum-2 (mapping-functions)" in row["rule"]


def test_several_columns_are_compared_by_their_mean(recorded, store):
    recorded("one-or-three", group_1=[8.0], group_2=[10.0], group_3=[9.5])
    found = find(Comparison("one-or-three", ("group 1", "group 2"), ("group 3",)), "smoke", store)
    assert found.differences == {0: -0.5}


def test_one_of_two_is_enough_where_the_claim_is_of_one(hand_made, store):
    """The paper says that AT beats KD on one of its two tasks and contradicts itself about which."""
    tasks = "birds", "scenes"
    rule = Either(tuple(Comparison(f"fine-tuning-{task}", ("AT",), ("KD",)) for task in tasks))
    errors = {"birds": {"AT": (30.0, 30.0), "KD": (28.0, 31.0)}, "scenes": {"AT": (8.0, 9.0), "KD": (8.5, 9.1)}}
    for task in tasks:
        assert find(rule, "reduced", store).verdict == NOT_RUN, "one task alone decides nothing"
        for seed, columns in enumerate(experiments.get(f"fine-tuning-{task}").runs("reduced", [0, 1])):
            for name, by_seed in errors[task].items():
                hand_made(columns[name], final={"test_error": by_seed[seed]})
    found = find(rule, "reduced", store)
    assert found.differences == {0: -0.5, 1: pytest.approx(-0.1)} and len(found.measured.runs) == 4
    assert all("scene15" in run for run in found.measured.runs), (
        "on birds AT is 0.5 points worse, by one better seed of two"
    )
    assert str(rule) == "either AT below KD (fine-tuning-birds) or AT below KD (fine-tuning-scenes)"


@pytest.mark.parametrize(("gain", "expected"), [(0.3, DIRECTION), (0.6, FAILS), (-0.1, FAILS)])
def test_little_better_is_better_and_little(gain, expected, recorded, store):
    """A student that gains more than half a point speaks against "little", one that loses against "better"."""
    recorded("wrn-16-2-to-16-1", student=[9.0], f_actt=[9.0 - gain])
    row = verdict(store, name="f-actt")
    assert (row["verdict"], row["comparisons"]) == (expected, "2 of 8")


def test_the_ledger_names_what_was_tested(recorded, store, no_benchmark):
    """Else ten classes at 64 pixels would stand under the name of ImageNet."""
    recorded("wrn-16-2-to-16-1", student=[9.0], at=[8.0])
    found = ledger("smoke", store)
    assert found.loc["at", "on"] == "wrn-16-1 from wrn-16-2 on shapes, 8 epochs", "the other three rows are not run"
    assert ledger("reduced", store).loc["imagenet", "on"] == "resnet18 from resnet34 on imagenette64@64, 40 epochs"
    assert ledger("reduced", store).loc["parts", "on"] == "wrn-16-2 on orl_faces@64, 100 epochs"


def test_guessing_is_wrong_as_often_as_there_are_classes(hand_made, store):
    """Four test images of four classes here: a diverged run counts 75 percent, not the 90 of ten classes."""
    columns = experiments.get("wrn-16-2-to-16-1").runs("smoke")[0]
    hand_made(columns["student"], final={"test_error": None}, diverged=2)
    hand_made(columns["AT"], final={"test_error": 25.0})
    assert find(Comparison("wrn-16-2-to-16-1", ("AT",), ("student",)), "smoke", store).differences == {0: -50.0}


def test_early_errors_are_those_before_the_rate_drops(hand_made, store):
    """AT is ahead by 10 points on average before the drop, although behind in one epoch, and behind at the end."""
    columns = experiments.get("convergence").runs("smoke")[0]
    hand_made(columns["student"], curve=[60.0, 50.0, 40.0, 10.0], final={"test_error": 10.0})
    hand_made(columns["AT"], curve=[40.0, 55.0, 25.0, 12.0], final={"test_error": 12.0})
    early, late = (Comparison("convergence", ("AT",), ("student",), early=early) for early in (True, False))
    assert find(early, "smoke", store).differences == {0: -10.0}
    assert find(late, "smoke", store).differences == {0: 2.0}
    assert "early, AT below student (convergence): -10.00 points" in verdict(store, [0], "convergence")["numbers"]
    hand_made(columns["F-ActT"], curve=[30.0, 30.0, 30.0, 90.0], diverged=4, final={"test_error": None})
    diverged = Comparison("convergence", ("F-ActT",), ("student",), early=True)
    assert find(diverged, "smoke", store).verdict == FAILS, "a run that diverged is no early winner"


def test_a_damaged_record_decides_nothing(recorded, store):
    recorded("wrn-16-2-to-16-1", student=[9.0], at=[8.0])
    run = experiments.get("wrn-16-2-to-16-1").runs("smoke")[0]["AT"]
    path = store.folder / run.run_id / "record.json"
    path.write_text(path.read_text().replace("8.0", "1.0"))
    with pytest.raises(DamagedRecord):
        ledger("smoke", store)


def test_an_unknown_preset_is_refused(store):
    with pytest.raises(ParameterError, match=r"^preset: "):
        ledger("huge", store)


def test_the_ledger_for_readers(recorded, store, no_benchmark):
    recorded("wrn-16-2-to-16-1", student=[9.0], at=[8.0])
    found = ledger("smoke", store)
    shown = claims.readable(found)
    assert list(shown.columns) == ["verdict", "comparisons run", "seeds"]
    assert len(shown) == len(paper.CLAIMS)
    row = shown.loc[found.loc["at", "claim"]]
    assert (row["verdict"], row["comparisons run"], row["seeds"]) == (DIRECTION, "1 of 4", 1)
    assert shown.loc[found.loc["levels", "claim"], "seeds"] == ""
    numbers = claims.differences("smoke", store)
    comparison = found.loc["at", "claim"], "AT below student (wrn-16-2-to-16-1)"
    assert numbers["difference"].to_dict() == {comparison: "-1.00 points (p = 1)"}, "what is not run has none"
    assert claims.differences("smoke", store, names=["levels"]).empty
    assert claims.differences("smoke", store, names=["at", "levels"]).equals(numbers)
    assert claims.differences("reduced", store).empty
    assert claims.summary(found) == f"Of 25 claims: 1 {DIRECTION}, 24 not run."


@pytest.fixture
def measured(store):
    """Writes the table of attention statistics of one experiment at preset smoke: values by column, one per seed."""

    def write(level, statistic, **values):
        rows = []
        for column, by_seed in values.items():
            for columns, value in zip(
                experiments.get("wrn-16-2-to-16-1").runs("smoke", range(9)), by_seed, strict=False
            ):
                teacher = columns["teacher"].run_id if statistic == "distance" else ""
                rows.append((columns[column].run_id, teacher, level, statistic, value, ""))
        known = attention_statistics.load(store)
        table = pd.DataFrame(rows, columns=attention_statistics.COLUMNS)
        table = pd.concat([known, table]) if len(known) else table
        table.to_csv(store.folder / attention_statistics.FILE, index=False)

    return write


@pytest.mark.parametrize(
    ("at", "expected"),
    [([0.1, 0.12, 0.11], HOLDS), ([0.1], DIRECTION), ([0.3], FAILS), ([0.1, 0.2, 0.5], FAILS)],
)
def test_what_is_claimed_of_maps_is_judged_by_the_same_rule(at, expected, measured, store):
    """The student's top maps are 0.25 from its teacher's; on average the last case's are 0.267 from them."""
    measured("top", "distance", AT=at, student=[0.25] * 3)
    row = verdict(store, name="alike")
    assert (row["verdict"], row["seeds"], row["comparisons"]) == (expected, len(at), "1 of 3")
    difference = sum(at) / len(at) - 0.25
    assert row["numbers"].startswith(
        f"distance of AT, top, below distance of student, top (wrn-16-2-to-16-1): {difference:+.2f}"
    )


def test_maps_of_a_student_whose_teacher_is_no_better_test_nothing(measured, store, recorded):
    """As for errors: it had nothing to hand on."""
    measured("top", "distance", AT=[0.1], student=[0.25])
    recorded("wrn-16-2-to-16-1", student=[9.0], teacher=[9.5])
    assert verdict(store, name="alike")["verdict"] == NOT_RUN


def test_one_teacher_counts_once_however_many_seeds_there_are(measured, store):
    """Its maps are the same for the students of every seed: three times the same number is no evidence."""
    measured("low", "edges", teacher=[0.5])
    measured("middle", "edges", teacher=[0.1])
    found = find(
        Look("wrn-16-2-to-16-1", ("teacher", "middle", "edges"), ("teacher", "low", "edges")), "smoke", store, range(3)
    )
    assert found.differences == {0: pytest.approx(-0.4)} and found.verdict == DIRECTION
    assert len(set(found.measured.runs)) == 1


def test_the_cost_is_that_of_at_where_there_is_distillation(store, monkeypatch):
    """Both have the teacher's pass: 20 ms against 16 are a quarter more."""
    rows = [["growth", "step with AT+KD", 20.0, "ms"]]
    monkeypatch.setattr(bench, "load", lambda: {"rows": rows})
    assert find(Cost(margin=10), "smoke", store).verdict == NOT_RUN
    rows.append(["growth", "step with KD", 16.0, "ms"])
    found = find(Cost(margin=10), "smoke", store)
    assert (
        found.differences == {0: pytest.approx(25)} and found.verdict == FAILS and found.measured.runs == ["bench.json"]
    )
    assert find(Cost(margin=30), "smoke", store).verdict == DIRECTION
    assert found.numbers.endswith("+25.00 % of a step")
