"""The ledger says what its rules say, on records with errors typed by hand."""

import math
from dataclasses import replace
from statistics import fmean, variance

import pandas as pd
import pytest
import torch

from at_repro import bench, claims, experiments
from at_repro.analysis import attention_table
from at_repro.claims import paper_claims, plan
from at_repro.claims.comparisons import Cost, ErrorComparison
from at_repro.claims.facts import Facts
from at_repro.claims.ledger import FINDINGS
from at_repro.claims.map_comparisons import MapComparison, PretrainedComparison, Trend
from at_repro.claims.paper_claims import BY_NAME
from at_repro.claims.verdicts import CONTRADICTED, NOT_TESTED, SUPPORTED, UNDECIDED, Margin
from at_repro.errors import UserError
from at_repro.experiments import TABLE_1, paper_numbers
from at_repro.records import DamagedRecord, open_store
from at_repro.report import claims_page, terminal_output

MAIN = "wrn-16-2-to-16-1"
AT = ErrorComparison(MAIN, ("AT",), ("student",))
NAMES = {"at": "AT", "kd": "KD", "at_kd": "AT+KD", "f_actt": "F-ActT"}


@pytest.fixture
def recorded(hand_made, store):
    """Writes records of an experiment at preset paper: errors by column, one per seed; None: diverged.

    Of 200 images the first so many are wrong. What another experiment shares, and has written, stays.
    """

    def write(experiment, preset="paper", seeds=range(9), **errors):
        for column, by_seed in errors.items():
            column = NAMES.get(column, column.replace("_", " "))
            for columns, error in zip(experiments.get(experiment).runs(preset, seeds), by_seed, strict=False):
                if store.has(columns[column]):
                    continue
                wrong = 0 if error is None else round(2 * error)
                hand_made(
                    columns[column],
                    labels=[0, 1] * 100,
                    predicted=[9] * wrong + [0, 1] * 100,
                    final={"test_error": error},
                    diverged=None if error is not None else 2,
                    weights={"w": torch.zeros(1)},  # of which the ledger reads nothing
                )

    return write


def row(store, name="at"):
    return claims.conclude(claims.compare(store)).loc[name]


def test_every_claim_of_the_paper_has_a_row(store, no_benchmark):
    """A claim that is left out would be one that nobody notices to be untested."""
    found = claims.conclude(claims.compare(store))
    assert list(found.index) == [claim.name for claim in paper_claims.CLAIMS]
    assert set(found["verdict"]) == {NOT_TESTED} and (found["runs"] == "").all()


def test_every_claim_has_a_name_of_its_own_and_a_source():
    """A ledger of claims is looked up by these names."""
    names = [claim.name for claim in paper_claims.CLAIMS]
    assert len(set(names)) == len(names)
    places = ("Table", "Section", "Figure", "Appendix")
    assert all(claim.text and claim.source.startswith(places) for claim in paper_claims.CLAIMS)
    printed = {number.table for number in paper_numbers.NUMBERS}
    sources = {claim.source.removesuffix(" (?)") for claim in paper_claims.CLAIMS}
    assert {source for source in sources if source.startswith("Table")} <= printed
    doubtful = {claim.name for claim in paper_claims.CLAIMS if claim.source.endswith(" (?)")}
    assert doubtful == {"edges", "objects", "objects-accuracy", "details", "fine-tuning", "alike"}


@pytest.fixture(scope="module")
def measured():
    """Levels with their statistics, and networks, of the committed table of attention."""
    table = attention_table.load(open_store("reduced"))
    return {"of maps": set(zip(table["level"], table["statistic"], strict=True)), "networks": set(table["run_id"])}


def test_a_bound_that_rounds_to_zero_keeps_its_side():
    """The verdict of AT at 200 epochs hangs on 0.003 points: "+0.00" would be read as zero."""
    assert claims.ledger.measured(-0.571, -1.146, 0.0032, " points") == "-0.57 points (-1.15 to +0.003)"
    assert claims.ledger.measured(0.0, -0.004, 0.006) == "+0.00 (-0.004 to +0.01)", "what is zero has no side"


@pytest.mark.parametrize("name", paper_claims.BY_NAME)
def test_every_rule_names_columns_levels_and_statistics_that_exist(name, store, measured):
    """A slip of the pen would be a comparison that nobody ever runs."""
    claim = paper_claims.BY_NAME[name]
    at_presets = [
        preset for preset in ("reduced", "paper") if preset == "reduced" or claim not in paper_claims.QUESTIONS
    ]
    for rule in claim.comparisons:
        for preset in at_presets:
            assert rule.runs(preset) or isinstance(rule, PretrainedComparison), (
                f"{name}: {rule}"
            )  # KeyError without a column
            if not isinstance(rule, Cost):
                assert rule.evidence(preset, Facts(store)) is None, f"{name}: {rule}"
        if isinstance(rule, MapComparison):
            assert {place[1:] for _, *pair in rule.pairs for place in pair} <= measured["of maps"], f"{name}: {rule}"
        if isinstance(rule, Trend | PretrainedComparison):
            assert (rule.level, rule.statistic) in measured["of maps"], f"{name}: {rule}"
        if isinstance(rule, PretrainedComparison):
            assert {f"imagenet-{network}" for network in rule.networks} <= measured["networks"], f"{name}: {rule}"


@pytest.mark.parametrize(
    ("student", "at", "expected"),
    # Half an interval of three is 4.303 times their standard deviation over the root of three.
    [
        ([9.0, 9.5, 9.0], [8.0, 8.5, 8.5], SUPPORTED),  # -1, -1, -0.5: -0.83 give or take 0.72
        ([9.0, 9.5, 9.0], [8.0, 8.0, 9.0], UNDECIDED),  # -1, -1.5, 0: one of three the other way
        ([8.0, 8.5, 8.5], [9.0, 9.5, 9.0], CONTRADICTED),
        ([9.0] * 5, [8.5, 8.5, 8.0, 8.5, 8.5], SUPPORTED),
        ([9.0, 9.0, 9.0], [None, None, None], CONTRADICTED),  # diverged: as good as guessing
    ],
)
def test_seeds_are_judged_by_students_t(student, at, expected, recorded, store):
    recorded(MAIN, student=student, at=at)
    evidence = AT.evidence("paper", Facts(store))
    assert evidence.verdict == expected and evidence.scope == f"{len(student)} seeds"
    assert row(store)["compared"] == "1 of 4"


def test_three_equal_signs_are_not_enough(recorded, store):
    """By the range of three differences they were: one chance in eight without any effect. -1, -0.5 and -3 in truth."""
    recorded(MAIN, student=[9.0, 9.0, 9.0], at=[8.0, 8.5, 6.0])
    assert AT.evidence("paper", Facts(store)).verdict == UNDECIDED


def test_one_run_has_the_interval_of_its_test_images(recorded, store):
    """By hand: 10 of 200 images only the student gets wrong: a variance of 0.05 - 0.05^2, an error of 1.54 points."""
    recorded(MAIN, student=[15.0], at=[10.0])
    evidence = AT.evidence("paper", Facts(store))
    error = 100 * math.sqrt((0.05 - 0.05**2) / 200)
    assert evidence.scope == "one run" and evidence.difference == -5
    assert evidence.estimate.interval == pytest.approx((-5 - 1.96 * error, -5 + 1.96 * error), abs=1e-3)
    assert evidence.verdict == SUPPORTED


def test_one_run_is_widened_by_the_spread_that_several_seeds_show(recorded, store):
    """By hand, on 200 images: KD gains 0, 4 and 8 points, a spread of 4 over seeds, where McNemar's says 1.4."""
    recorded(MAIN, student=[15.0] * 3, kd=[15.0, 11.0, 7.0])
    facts = Facts(store)
    images = [100 * math.sqrt((share - share**2) / 200) for share in (0.0, 0.04, 0.08)]
    ratio = 4 / math.sqrt(sum(error**2 for error in images) / 3)
    assert facts.spread.ratio == pytest.approx(ratio) and facts.spread.freedom == 2
    recorded(MAIN, at=[10.0])
    evidence = AT.evidence("paper", Facts(store))
    assert evidence.estimate.standard_error == pytest.approx(ratio * 100 * math.sqrt((0.05 - 0.05**2) / 200))
    assert evidence.estimate.freedom == 2 and evidence.verdict == UNDECIDED


def test_pairs_that_share_a_plain_student_have_the_freedom_of_one(recorded, store):
    """Also where one has more seeds: three plain students of four seeds would else be counted twice."""
    recorded(MAIN, student=[15.0] * 4, kd=[15.0, 11.0, 7.0])
    three = Facts(store).spread
    recorded(MAIN, student=[15.0] * 4, kd=[15.0, 11.0, 7.0], at=[12.0, 11.0, 13.0, 10.0])
    both = Facts(store).spread
    differences, images = [-3, -4, -2, -5], [share - share**2 for share in (0.03, 0.04, 0.02, 0.05)]
    of_at = variance(differences) / fmean(100**2 * image / 200 for image in images)
    assert three.freedom == 2 and both.freedom == 3
    assert both.ratio == pytest.approx(math.sqrt((three.ratio**2 + of_at) / 2))


def test_the_spread_is_of_runs_as_long_as_their_plain_student(recorded, store):
    """The study of lengths begins with a student of 10 epochs, which says nothing of students of 40."""
    lengths = {"student, 10 epochs": [20.0] * 3, "student, 40 epochs": [15.0] * 3, "AT, 40 epochs": [15.0, 11.0, 7.0]}
    recorded("training-length", preset="reduced", **lengths)
    images = [share - share**2 for share in (0.0, 0.04, 0.08)]
    ratio = variance([0, -4, -8]) / fmean(100**2 * image / 200 for image in images)
    assert Facts(store).spread.ratio == pytest.approx(math.sqrt(ratio)) and Facts(store).spread.freedom == 2


def test_no_spread_is_measured_of_a_pair_on_other_test_images(recorded, hand_made, store):
    """It would widen every other interval by a number that means nothing."""
    columns = experiments.get(MAIN).runs("paper", [0])[0]
    hand_made(columns["KD"], predicted=[9] * 30 + [0, 1] * 100, labels=[0, 1] * 100, data={"test": "2" * 64})
    recorded(MAIN, student=[15.0] * 3, kd=[15.0, 11.0, 7.0])
    both = f"{columns['KD'].run_id} and {columns['student'].run_id}"
    with pytest.raises(UserError, match=f"^{both} were measured on different test images"):
        Facts(store).spread  # noqa: B018  a property


def test_seeds_that_came_after_the_rule_speak_for_themselves(recorded, store, monkeypatch):
    """Seed 0 was known when it was stated: without it -0.9, -1.0 and -1.1 points, with a spread of 0.1."""
    recorded(MAIN, student=[9.0, 9.9, 9.0, 9.1], at=[3.0, 9.0, 8.0, 8.0])
    monkeypatch.setattr(plan, "unknown", lambda name, runs: {run for run in runs if "-s0-" not in run})
    half = 4.3027 * 0.1 / 3**0.5  # Student's t with two degrees of freedom
    (row,) = (row for row in claims.compare(store).itertuples() if row.claim == "at" and row.setting == "the paper's")
    told = f"seeds 1 to 3 alone, run after the rule was stated: -1.00 points ({-1 - half:+.2f} to {-1 + half:+.2f})"
    assert (row.new_seeds, row.new_verdict, row.verdict) == (told, SUPPORTED, UNDECIDED)
    assert math.isnan(row.within), "it wants a sign"
    monkeypatch.setattr(plan, "unknown", lambda name, runs: {*runs})
    assert set(claims.compare(store)["new_verdict"]) == {""}, "all of them came after it"


def test_both_estimators_are_shown(hand_made, store):
    columns = experiments.get(MAIN).runs("paper", [0])[0]
    hand_made(columns["student"], curve=[40.0, 10.0], final={"test_error": 9.0})
    hand_made(columns["AT"], curve=[30.0, 8.0], final={"test_error": 8.5})
    compared = claims.compare(store)
    (found,) = compared[(compared["claim"] == "at")].itertuples()
    assert (found.difference, found.late) == (-0.5, -2.0) and math.isnan(found.late_low)


def test_early_errors_are_those_before_the_rate_drops(hand_made, store):
    """AT is ahead by 10 points on average before the drop, although behind in one epoch, and behind at the end."""
    columns = experiments.get("convergence").runs("paper", [0])[0]
    hand_made(columns["student"], curve=[60.0, 50.0, 40.0, 10.0], final={"test_error": 10.0})
    hand_made(columns["AT"], curve=[40.0, 55.0, 25.0, 12.0], final={"test_error": 12.0})
    early, late = (ErrorComparison("convergence", ("AT",), ("student",), early=early) for early in (True, False))
    assert early.evidence("paper", Facts(store)).differences == {0: -10.0}
    assert late.evidence("paper", Facts(store)).differences == {0: 2.0}
    assert early.evidence("paper", Facts(store)).late is None


def test_guessing_is_wrong_as_often_as_there_are_classes(hand_made, store):
    """Four test images of four classes here: a diverged run counts 75 percent, not the 90 of ten classes."""
    columns = experiments.get(MAIN).runs("paper", [0])[0]
    hand_made(columns["student"], final={"test_error": None}, diverged=2)
    hand_made(columns["AT"], final={"test_error": 25.0})
    assert AT.evidence("paper", Facts(store)).differences == {0: -50.0}


def test_several_columns_are_compared_by_their_mean(recorded, store):
    recorded("one-or-three", group_1=[8.0], group_2=[10.0], group_3=[9.5])
    both = ErrorComparison("one-or-three", ("group 1", "group 2"), ("group 3",))
    assert both.evidence("paper", Facts(store)).differences == {0: -0.5}


def test_a_seed_that_one_side_lacks_is_left_out(recorded, store):
    recorded(MAIN, student=[9.0, 9.5, 9.0], at=[8.0])
    assert AT.evidence("paper", Facts(store)).differences == {0: -1.0}


def test_runs_on_other_test_images_are_refused_by_name(hand_made, store):
    columns = experiments.get(MAIN).runs("paper", [0])[0]
    hand_made(columns["student"])
    hand_made(columns["AT"], data={"train": "0" * 64, "test": "2" * 64})
    with pytest.raises(UserError) as error:
        claims.compare(store)
    assert all(columns[name].run_id in str(error.value) for name in ("AT", "student"))


def test_a_damaged_record_decides_nothing(recorded, store):
    recorded(MAIN, student=[9.0], at=[8.0])
    path = store.folder / experiments.get(MAIN).runs("paper", [0])[0]["AT"].run_id / "record.json"
    path.write_text(path.read_text().replace("8.0", "1.0"))
    with pytest.raises(DamagedRecord):
        claims.compare(store)


def test_both_lengths_stand_beside_each_other_and_the_papers_counts(recorded, store, no_benchmark):
    recorded("one-or-three", group_1=[8.0] * 3, group_2=[8.0] * 3, group_3=[8.0] * 3, student=[9.0] * 3)
    recorded("one-or-three", "reduced", group_1=[9.0] * 3, group_2=[8.0] * 3, group_3=[8.0] * 3, student=[8.5] * 3)
    found = row(store, "one-group")
    assert (found["200 epochs"], found["fewer epochs"]) == (SUPPORTED, CONTRADICTED)
    assert (found["verdict"], found["setting"], found["compared"]) == (SUPPORTED, "the paper's", "3 of 3")
    assert found["on"] == "wrn-16-1 from wrn-16-2 on cifar10, 200 epochs" and found["scope"] == "3 seeds"
    summary = claims.summary(claims.conclude(claims.compare(store)))
    assert (
        summary == f"Of {len(paper_claims.CLAIMS) - 1} claims: 1 supported, 0 contradicted, 0 undecided, 28 not tested."
    )


def test_an_undecided_claim_says_what_would_decide_it(recorded, store):
    """By hand: -1.5 give or take, of five seeds, 2.776 * 1.32 / 2.24 = 1.64, and of six 2.571 * 1.32 / 2.45 = 1.39."""
    recorded(MAIN, student=[9.0, 9.0, 9.0], at=[8.0, 8.5, 6.0])
    gaps, seeds = row(store)["to decide"].split("; ")
    assert seeds == "6 seeds, at most about 0 h"
    # Three pairs by hand: 1e7 images, 3 passes of the teacher alone, then 1 of it and 3 of both students, 250 GFLOP/s.
    hours = 1e7 * (4 * (444.97 + 166.56 + 655.20) + 6 * (118.68 + 53.31 + 202.21)) * 1e6 / 250e9 / 3600
    assert gaps == f"3 comparison(s) not run, at most about {hours:.0f} h for the first seed"
    recorded("wrn-40-1-to-16-1", student=[], at=[8.0])
    assert row(store, "at-over-f-actt")["to decide"] == "", "not tested"


def test_a_claim_that_holms_correction_alone_keeps_open_lacks_seeds(recorded, store):
    """Of 0.5, 0.7 and 0.9 points t is 6.1, one-sided p 0.013: below 0.025, and not below a fourth of that."""
    for row_of_table in TABLE_1[:3]:
        recorded(row_of_table, student=[9.0] * 3, at=[8.0, 8.1, 8.2])
    recorded(TABLE_1[3], student=[2.0] * 3, at=[2.5, 2.7, 2.9])
    assert row(store)["verdict"] == UNDECIDED and row(store)["to decide"].startswith("more seeds: ")


def test_what_is_little_may_be_little_on_either_side(recorded, store):
    for row_of_table in TABLE_1[:3]:
        recorded(row_of_table, student=[9.0] * 3, f_actt=[8.5, 9.0, 9.0])
    assert row(store, "f-actt")["verdict"] == UNDECIDED, "-0.17 give or take 0.72 is not within half a point"
    recorded(TABLE_1[3], student=[9.0] * 6, f_actt=[7.5, 8.0] * 3)
    assert row(store, "f-actt")["verdict"] == CONTRADICTED, "-1.25 give or take 0.29, one of four"


def test_the_mean_over_pairs_decides_when_all_pairs_are_run(recorded, store):
    for row_of_table in TABLE_1[:3]:
        recorded(row_of_table, kd=[9.0] * 3, at_kd=[8.0] * 3)
    # WRN-16-2 from WRN-40-2 by hand, as above: the teacher alone, then beside two students.
    hours = 1e7 * (3 * 655.20 + 655.20 + 6 * 202.21) * 1e6 / 250e9 / 3600
    assert (row(store, "at-kd-over-kd")["verdict"], row(store, "at-kd-over-kd")["to decide"]) == (
        UNDECIDED,
        f"1 pair(s) not run, at most about {hours:.0f} h for the first seed",
    )
    recorded(TABLE_1[3], kd=[9.0] * 3, at_kd=[9.0] * 3)
    assert row(store, "at-kd-over-kd")["verdict"] == SUPPORTED
    assert (
        "on average" in row(store, "at-kd-over-kd")["effects"]
        and "-0.75 points" in row(store, "at-kd-over-kd")["effects"]
    )


def test_a_rule_that_is_changed_after_its_runs_shows_wherever_its_verdict_does(recorded, store, tmp_path, monkeypatch):
    """Of a question as well, whose finding else stands there as if it had been asked beforehand."""
    recorded(MAIN, student=[9.0], f_actt=[8.5], kd=[8.0])
    monkeypatch.setattr(plan, "FILE", tmp_path / "plan.json")
    plan.state(store)
    assert set(claims.elsewhere(claims.compare(store))["rule"].str.partition(" ")[0]) == {"stated"}
    wider = [ErrorComparison(one, ("F-ActT",), ("student",), Margin(1.0, alike=True)) for one in TABLE_1]
    loss = [ErrorComparison(MAIN, ("KD",), ("student",), Margin(1.0))]
    for name, comparisons in {"f-actt": wider, "distillation": loss}.items():
        monkeypatch.setitem(BY_NAME, name, replace(BY_NAME[name], comparisons=comparisons))
    compared = claims.compare(store)
    ledger = claims.conclude(compared)
    assert claims.elsewhere(compared)["rule"].str.startswith("changed since it was stated on 20").all()
    told = claims.post_hoc(ledger)
    assert told.endswith(" Judged by another rule than was stated: 1.")
    tested = ledger["verdict"].isin([SUPPORTED, CONTRADICTED, UNDECIDED]).sum()
    assert f" after all for {tested - 1}." in told, "what is judged by another rule counts once"
    assert terminal_output.claims(ledger).count("rule changed since it was stated on 20") == 1
    assert claims_page.table(ledger, compared)._repr_html_().count("<small>rule changed since it was stated on 20") == 1


def test_settings_are_counted_by_the_sign_test(recorded, store):
    for number, experiment in enumerate(TABLE_1):
        recorded(experiment, "reduced", seeds=[0], student=[9.0], at=[8.5 + number % 2])
    assert row(store, "at-in-general")["scope"] == "2 of 4 settings"
    assert row(store, "at-in-general")["verdict"] == UNDECIDED
    recorded(TABLE_1[0], "reduced", seeds=[0], teacher=[9.0])
    assert row(store, "at-in-general")["scope"] == "1 of 3 settings", "who is no better has nothing to hand on"


@pytest.mark.parametrize(("teacher", "expected"), [(31.0, NOT_TESTED), (24.0, NOT_TESTED), (10.0, CONTRADICTED)])
def test_a_teacher_that_is_no_better_than_its_student_tests_nothing(teacher, expected, recorded, hand_made, store):
    """By its own interval: 2 points, 48 images against 52 others, are chance. What it hands on cannot help."""
    recorded(MAIN, seeds=[0], student=[26.0], at=[41.0])
    wrong = round(2 * teacher)
    predicted = ([0, 1] * 100)[: 200 - wrong] + [9] * wrong
    taught_by = experiments.get(MAIN).runs("paper", [0])[0]["teacher"]
    hand_made(taught_by, labels=[0, 1] * 100, predicted=predicted, final={"test_error": teacher})
    assert row(store)["verdict"] == expected


def test_what_ran_with_a_weak_teacher_lacks_a_better_one_and_not_its_runs(recorded, store):
    for experiment, teacher in ((TABLE_1[0], 9.0), (TABLE_1[1], 2.0)):
        recorded(experiment, "reduced", seeds=[0], teacher=[teacher], student=[9.0], at=[8.5])
    found = row(store, "at")
    assert found["compared"] == "1 of 4" and found["to decide"].startswith("2 comparison(s) not run, ")
    assert "; a teacher that is better than the student; " in found["to decide"]
    compared = claims.compare(store)
    table = claims_page.table(claims.conclude(compared), compared).table.set_index("the paper claims")
    assert "the weakest of" not in table.loc[BY_NAME["at"].text, "fewer epochs"], "of one that tests the claim"


def test_stand_ins_are_listed_elsewhere_and_decide_nothing(recorded, store):
    """Ten classes at 64 pixels are not ImageNet."""
    recorded("imagenet-resnet18", "reduced", seeds=[0], teacher=[10.0], student=[26.0], at=[20.0])
    assert row(store, "imagenet")["verdict"] == NOT_TESTED
    (found,) = claims.elsewhere(claims.compare(store)).itertuples()
    assert found.here == "ten classes of ImageNet at 64 pixels" and found.effect.startswith("-6.00 points")
    assert found.finding == FINDINGS[SUPPORTED] and set(FINDINGS) == {SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTED}


def test_one_of_two_is_enough_where_the_claim_is_of_one(recorded, store):
    """The paper says that AT beats KD on one of its two tasks and contradicts itself about which."""
    recorded("fine-tuning-birds", at=[30.0] * 3, kd=[31.0] * 3)
    recorded("fine-tuning-scenes", at=[9.0] * 3, kd=[8.5] * 3)
    either = paper_claims.BY_NAME["fine-tuning"].comparisons[2].evidence("paper", Facts(store))
    assert either.verdict == SUPPORTED and either.difference == -1.0


def test_of_two_the_interval_is_that_of_the_one_that_decides(recorded, store):
    """Birds have the lower mean, which three seeds that scatter leave open: their interval supports nothing."""
    recorded("fine-tuning-birds", at=[28.0, 32.5, 27.0], kd=[30.0] * 3)
    recorded("fine-tuning-scenes", at=[9.0, 9.0, 9.5], kd=[10.5, 10.5, 11.0])
    either = paper_claims.BY_NAME["fine-tuning"].comparisons[2].evidence("paper", Facts(store))
    assert either.verdict == SUPPORTED and either.estimate.interval[1] < 0 and either.difference == -1.5
    assert len(either.runs) == 12, "both were looked at"


def test_of_two_one_is_no_evidence_against_and_the_other_is_missing(recorded, store):
    recorded("fine-tuning-birds", at=[31.0] * 3, kd=[30.0] * 3)
    either = paper_claims.BY_NAME["fine-tuning"].comparisons[2].evidence("paper", Facts(store))
    assert either.verdict == UNDECIDED and either.seeds is None
    assert either.lacks.startswith("1 task(s) not run, at most about ")


def test_what_stands_in_is_told_of_all_that_is_compared():
    """A row of two sets of photographs is not of birds alone."""
    either = paper_claims.BY_NAME["fine-tuning"].comparisons[2]
    assert "birds" in (text := either.stand_in("reduced")) and "15-Scene" in text and not either.stand_in("paper")


def test_a_comparison_that_speaks_against_a_claim_is_told_beside_what_else_is_open(recorded, store):
    """Of four, one speaks against it, short of Holm's correction: the seeds of another one would not settle it."""
    against, *others, open_one = TABLE_1
    recorded(against, seeds=range(4), teacher=[5.0] * 4, student=[9.0] * 4, at=[9.5, 10.0, 10.0, 9.5])
    for experiment in others:  # of one plain student, which one of the teachers is in the last pair
        recorded(experiment, seeds=range(4), teacher=[6.0] * 4, student=[9.0] * 4, at=[7.0] * 4)
    recorded(open_one, seeds=range(4), teacher=[3.0] * 4, student=[6.0] * 4, at=[4.5, 6.0, 5.0, 7.0])
    found = row(store)
    assert found["verdict"] == UNDECIDED and found["compared"] == "4 of 4"
    assert found["to decide"].endswith("h; more seeds: a comparison speaks against it, but not after Holm's correction")


def test_at_preset_smoke_no_claim_is_tested(recorded, store):
    recorded(MAIN, student=[9.0] * 3, at=[8.0] * 3)
    assert claims.compare(store, "smoke").empty
    assert set(claims.conclude(claims.compare(store, "smoke"))["verdict"]) == {NOT_TESTED}


def measure(store, statistic, values):
    """Writes a table of attention: values by run id, teacher's run id and level."""
    rows = [(*key, statistic, value, "") for key, value in values.items()]
    table = pd.DataFrame(rows, columns=["run_id", "teacher", "level", "statistic", "value", "weights"])
    attention_table.write(store, table)


def test_of_maps_the_network_is_the_replicate(store):
    """An interval over a thousand images says nothing about another training: one network decides nothing."""
    values, expected = {}, [(1, UNDECIDED), (2, UNDECIDED), (3, SUPPORTED)]
    for (number, verdict), experiment in zip(expected, TABLE_1, strict=False):
        columns = experiments.get(experiment).runs("reduced", [0])[0]
        teacher = columns["teacher"].run_id
        values |= {(columns["AT"].run_id, teacher, "top"): 0.1, (columns["student"].run_id, teacher, "top"): 0.25}
        measure(store, "distance", values)
        found = row(store, "alike")
        assert (found["fewer epochs"], found["verdict"]) == (verdict, verdict), number
    assert found["scope"] == "3 networks" and "-0.15" in found["effects"]


def test_seeds_of_one_network_are_told_and_count_once(recorded, store):
    """A reader who sees three pairs of runs and "one network" would take it for a miscount."""
    values = {}
    for columns in experiments.get("wrn-16-2-to-16-1").runs("reduced", range(3)):
        teacher = columns["teacher"].run_id
        values |= {(columns["AT"].run_id, teacher, "top"): 0.1, (columns["student"].run_id, teacher, "top"): 0.25}
    recorded("wrn-16-2-to-16-1", "reduced", student=[9.0] * 3, at=[8.0] * 3)
    measure(store, "distance", values)
    found = row(store, "alike")
    assert found["scope"] == "one pair, the mean of 3 seeds" and found["verdict"] == UNDECIDED


def test_a_trend_over_networks_has_the_interval_of_its_slope(recorded, store):
    """By hand: exactly half a percent less on the object for each point of error more, and none with scatter."""
    names = ("student", "teacher", "wrn-40-1", "wrn-40-2", "nin-thin", "nin-wide")
    columns = experiments.get("objects").runs("reduced", [0])[0]
    errors = dict(zip(names, (10.0, 8.0, 9.0, 7.0, 12.0, 11.0), strict=True))
    for name in names:
        recorded("objects", "reduced", seeds=[0], **{name.replace(" ", "_"): [errors[name]]})
    (rule,) = paper_claims.BY_NAME["objects-accuracy"].comparisons
    measure(store, rule.statistic, {(columns[name].run_id, "", "top"): 50 - errors[name] / 2 for name in names})
    evidence = rule.evidence("reduced", Facts(store))
    assert evidence.difference == pytest.approx(-0.5) and evidence.verdict == SUPPORTED
    noise = dict(zip(names, (9.0, -9.0, 5.0, -5.0, 7.0, -7.0), strict=True))
    measure(store, rule.statistic, {(columns[name].run_id, "", "top"): 50 + noise[name] for name in names})
    assert rule.evidence("reduced", Facts(store)).verdict == UNDECIDED


def test_what_no_network_could_contradict_is_a_sanity_check(store):
    """More weight on the strongest positions with a larger power is arithmetic, not a finding."""
    run_id = experiments.get(MAIN).runs("reduced", [0])[0]["student"].run_id
    rows = [(run_id, "", "low", name, value, "") for name, value in (("top share, sum-1", 20.0), ("top share", 30.0))]
    table = pd.DataFrame(rows, columns=["run_id", "teacher", "level", "statistic", "value", "weights"])
    attention_table.write(store, table)
    found = claims.conclude(claims.compare(store))
    assert found.loc["power", "verdict"] == "sanity check"
    assert f"Of {len(paper_claims.CLAIMS) - 1} claims" in claims.summary(found)


def test_networks_that_nobody_here_trained_are_a_finding_of_stand_ins(store):
    rule = PretrainedComparison(("efficientnet-lite0", "efficientnet-lite1"), "level 4", "top share")
    measure(store, "top share", {(f"imagenet-efficientnet-lite{n}", "", "level 4"): 30.0 + 8 * n for n in range(3)})
    evidence = rule.evidence("paper", Facts(store))
    assert evidence.difference == -8.0 and evidence.verdict == UNDECIDED, "one step from weak to strong"
    found = claims.elsewhere(claims.compare(store))
    assert found["effect"].tolist() == ["-8.00"] and "photographs of birds" in found.loc[0, "here"]
    assert row(store, "stronger-networks")["verdict"] == NOT_TESTED


@pytest.mark.parametrize(("longer", "expected"), [(9.0, SUPPORTED), (11.0, CONTRADICTED)])
def test_the_cost_of_attention_transfer_is_below_its_bound_on_every_machine(longer, expected, store, monkeypatch):
    steps = [["case", "step with AT+KD", 100 + longer, "ms"], ["case", "step with KD", 100.0, "ms"]]
    monkeypatch.setattr(bench, "load", lambda path="": {"rows": steps if "other" not in str(path) else []})
    found = row(store, "cost")
    assert (found["verdict"], found["scope"]) == (expected, "single steps on one machine")
    assert found["on"] == "wrn-16-1 from wrn-16-2 on cifar10", "of no epochs"
    assert f"+{longer:.2f} % of a step" in found["effects"]
    ledger = claims.conclude(claims.compare(store))
    assert claims.shorter_trainings(ledger) == "", "nothing that was trained is decided"


def test_a_benchmark_is_no_training(recorded, store):
    """Else the one decided claim that stands at the paper's setting would seem to be decided by its trainings."""
    recorded("one-or-three", "reduced", group_1=[9.0] * 3, group_2=[9.0] * 3, group_3=[9.0] * 3, student=[8.5] * 3)
    ledger = claims.conclude(claims.compare(store))
    assert (ledger.loc[["one-group", "cost"], "verdict"] == [CONTRADICTED, SUPPORTED]).all()
    told = "Of the 2 decided, 1 rests on trainings shorter than the paper's, 1 on a timing of single steps."
    assert claims.shorter_trainings(ledger) == told


def test_an_installed_package_has_no_benchmark_and_still_its_claims(store, monkeypatch, tmp_path):
    """The committed ones are beside the package in a checkout alone."""
    for name in ("COMMITTED", "OTHER"):
        monkeypatch.setattr(bench, name, tmp_path / "bench.json")
    assert row(store, "cost")["verdict"] == NOT_TESTED
