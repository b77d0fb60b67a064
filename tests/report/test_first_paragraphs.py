"""The sentences that pages begin with, on records whose numbers are counted by hand: 0.5 % is one of 200 images."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from at_repro.analysis import error_tables
from at_repro.analysis.study import Study, open_study
from at_repro.report import first_paragraphs, phrases


@pytest.fixture
def loss(studies):
    """Makes the three studies of the page on losses; the plain student makes 20 %, the usual loss 15 % errors."""

    def make(**columns):
        common = {"student": {0: range(40)}, "teacher": {0: range(10)}}
        usual = {0: range(30)}
        names = {"one-or-three": "all groups", "mapping-functions": "sum-2", "forms-and-betas": "code form, beta 1000"}
        return [
            studies(
                "reduced",
                name,
                **common,
                **{column: usual},
                **{own: wrong for own, wrong in columns.items() if own in known},
            )
            for (name, column), known in zip(names.items(), (GROUPS, FUNCTIONS, FORMS), strict=True)
        ]

    return make


GROUPS = {"group 1", "group 2", "group 3"}
FUNCTIONS = {"not normalised, beta 1000"}
FORMS = {"paper form, beta 0.1"}


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_which_loss_is_said_with_its_numbers(loss):
    text = plain(first_paragraphs.on_losses(*loss(**{"group 1": {0: range(36)}, "group 3": {0: range(1, 31)}})))
    assert (
        "**Of 2 other attention losses, trained for 40 of the paper's 200 epochs, none ends significantly better "
        "than the usual one**, 1 worse, each judged by itself; 1 are undecided. The usual one is"
    ) in text
    assert (
        "WRN-16-1, taught by WRN-16-2, makes 15.00 % test errors (one seed), without any transfer 20.00 % (one seed), "
        "at 40 epochs (the paper"
    ) in text
    assert "(the paper, in 200 epochs: 7.93 and 8.77 %)" in text


def test_a_page_of_another_length_is_said_to_be_shorter_than_the_papers(store):
    study = open_study("one-or-three", "reduced", results=str(store.folder), epochs=10, train_missing=False)
    assert phrases.length(study) == "10 of the paper's 200 epochs"


def test_what_one_seed_more_or_less_makes_is_said_beside_a_page_of_one_seed(studies, loss):
    """What is compared with the luckiest looks the worse."""
    groups, functions, forms = loss(**{"group 1": {0: range(36)}})
    assert "(one seed), at 40 epochs" in first_paragraphs.on_losses(groups, functions, forms)
    studies("reduced", student={1: range(50), 2: None, 3: range(10)})
    text = plain(first_paragraphs.on_losses(groups, functions, forms))
    assert "without any transfer 20.00 % (one seed; 3 have 5.00 to 25.00 %), at 40 epochs" in text


def test_the_luckiest_seed_is_called_so(studies, loss):
    groups, functions, forms = loss(**{"group 1": {0: range(36)}})
    studies("reduced", student={1: range(50), 2: None})
    text = plain(first_paragraphs.on_losses(groups, functions, forms))
    assert "without any transfer 20.00 % (one seed, the lowest of 2: 20.00 to 25.00 %), at 40 epochs" in text


def test_a_loss_that_is_better_or_diverged_changes_the_answer(loss):
    better = {"paper form, beta 0.1": {0: range(20)}, "not normalised, beta 1000": {0: None}}
    text = plain(first_paragraphs.on_losses(*loss(**better)))
    assert (
        "200 epochs, 1 ends significantly better than the usual one**, 0 worse, each judged by itself; 0 are undecided "
        "and 1 diverged" in text
    )


def test_the_method_is_said_with_what_was_measured(studies, monkeypatch):
    distances = pd.DataFrame(
        {"low": [0.394, 0.112], "middle": [0.326, 0.108], "top": [0.29, 0.173], "seeds": 1}, ["student", "AT"]
    )
    study = studies("reduced")
    monkeypatch.setattr(error_tables, "map_distances", lambda study: distances)
    text = first_paragraphs.on_method(study, {"form": 175.6, "position": 0.396})
    assert (
        "after 40 of the paper's 200 epochs the maps of a WRN-16-1 at the ends of its groups of blocks, called low, "
        "middle and top, are on average 0.11" in text
    )
    assert (
        "on average 0.11, 0.11 and 0.17 from its teacher's, without transfer 0.39, 0.33 and 0.29 (0: the same" in text
    )
    assert "with β = 1000, is 176 times as long" in text and "the student's own maps are on average 0.40 apart" in text
    monkeypatch.setattr(error_tables, "map_distances", lambda study: distances.iloc[:1])
    for nothing in ({}, {"form": float("nan")}):
        bare = first_paragraphs.on_method(study, nothing)
        assert "times as long" not in bare and "epochs" not in bare and "nan" not in bare
        assert "**The paper prints another loss than its code computes.**" in bare


def test_without_records_nothing_is_said(studies):
    names = ("one-or-three", "mapping-functions", "forms-and-betas")
    answer = first_paragraphs.on_losses(*[studies("paper", name) for name in names])
    assert answer.startswith("Nothing can be said yet: at pres")


LARGER = ("fine-tuning-birds", "fine-tuning-scenes", "imagenet-resnet18")


def of_tasks(*studies: Study) -> dict[str, Study]:
    return dict(zip(("birds", "scenes", "Imagenette"), studies, strict=True))


def test_larger_images_are_said_with_their_verdicts(studies):
    """AT is better on birds, where the teacher is better; on ImageNet nothing is run."""
    seeds = {"student": {0: range(40)}, "teacher": {0: range(20)}}
    birds = studies("reduced", LARGER[0], **seeds, at={0: range(30)}, **{"AT, beta 327": {0: range(20)}})
    worse = {"student": {0: range(40)}, "teacher": {0: range(40)}, "at": {0: range(80)}}
    scenes, imagenet = studies("reduced", LARGER[1], **worse), studies("reduced", LARGER[2])
    text = plain(first_paragraphs.on_larger_images(of_tasks(birds, scenes, imagenet)))
    told = "In small stand-ins for the paper's setting, on birds and scenes, attention transfer helps significantly on"
    assert f"{told} birds**; the paper gains" in text
    assert (
        "the paper gains 1.1 to 1.5 points on each (not all checked in print). Test errors without transfer and with "
        "it: 20.00 % and 15.00 % on birds (20 epochs, one seed); 20.00 % and 40.00 % on scenes (20 epochs, one seed)."
    ) in text
    weak = "On scenes the teacher is not significantly better than the plain student: by the rules"
    assert weak in text
    told = "With a smaller β that makes up for this the errors are 10.00 % on birds. On"
    assert f"as much as in the paper. {told}" in text
    assert "Imagenette" not in text
    assert first_paragraphs.on_larger_images(of_tasks(*[studies("paper", name) for name in LARGER])).startswith(
        "Nothing can be said yet"
    )


def test_a_smaller_beta_that_does_not_suffice_is_said_to_be_worse(studies):
    worse = {"student": {0: range(40)}, "at": {0: range(90)}, "AT, beta 327": {0: range(80)}}
    text = plain(
        first_paragraphs.on_larger_images(
            of_tasks(*[studies("reduced", name, **worse) for name in LARGER[:2]], studies("reduced", LARGER[2]))
        )
    )
    told = "40.00 % on birds and 40.00 % on scenes; on birds and scenes that is still significantly worse"
    assert f"the errors are {told} than no transfer." in text


def test_a_usual_loss_that_diverged_is_called_so(studies):
    seeds = {"student": {0: range(40)}, "teacher": {0: range(10)}, "group 1": {0: range(36)}}
    groups = studies("reduced", "one-or-three", **seeds, **{"all groups": {0: None}})
    others = [studies("reduced", name) for name in ("mapping-functions", "forms-and-betas")]
    text = plain(first_paragraphs.on_losses(groups, *others))
    assert "WRN-16-1, taught by WRN-16-2, diverges (" in text and "without any transfer 20.00 %" in text


def test_a_plain_student_that_diverged_is_called_so(studies):
    seeds = {"student": {0: None}, "teacher": {0: range(20)}, "at": {0: range(30)}}
    birds, *others = studies("reduced", LARGER[0], **seeds), *(studies("reduced", name) for name in LARGER[1:])
    text = plain(first_paragraphs.on_larger_images(of_tasks(birds, *others)))
    assert "with it: diverged and 15.00 % on birds" in text


def test_of_other_settings_and_images_nothing_is_said_beside_the_papers(loss, studies):
    """Both pages take such parameters; the paper's numbers are of its beta, and its tasks are these."""
    same = loss(**{"group 1": {0: range(36)}})
    assert "(the paper, in 200 epochs: " in first_paragraphs.on_losses(*same)
    other = [replace(study, changes={"beta": 10.0}) for study in same]
    assert "(the paper" not in first_paragraphs.on_losses(*other)
    seeds = {"student": {0: range(40)}, "teacher": {0: range(20)}, "at": {0: range(30)}}
    birds, *others = [replace(studies("reduced", name, **seeds), changes={"dataset": "photos@64"}) for name in LARGER]
    answer = first_paragraphs.on_larger_images(of_tasks(birds, *others))
    assert answer.startswith("Nothing is said") and answer.endswith("these runs are of photos@64.")


def test_a_teacher_has_to_beat_the_plain_student_of_every_seed(studies):
    """The ledger tests no claim where one seed's student is as good as its teacher; the page has to say so as well."""
    birds = {"student": {0: range(40), 1: range(20)}, "teacher": {0: range(20)}, "at": {0: range(40)}}
    others = [studies("reduced", name) for name in LARGER[1:]]
    text = plain(first_paragraphs.on_larger_images(of_tasks(studies("reduced", LARGER[0], **birds), *others)))
    assert "On birds the teacher is not significantly better than the plain student: by the" in text


def test_a_teacher_that_is_worse_than_its_student_is_said_to_be(studies):
    birds = {"student": {0: range(40)}, "teacher": {0: range(90)}, "at": {0: range(40)}}
    others = [studies("reduced", name) for name in LARGER[1:]]
    text = plain(first_paragraphs.on_larger_images(of_tasks(studies("reduced", LARGER[0], **birds), *others)))
    assert "is not significantly better than the plain student, and on birds worse: by the rules" in text


def test_maps_are_said_to_follow_edges_as_far_as_they_do():
    trained = pd.DataFrame(
        {"epochs": [20, 40, 60], "test_error": [9.0, 8.0, 7.0], "low": [0.5, 0.6, None], "middle": [0.4, 0.7, 0.1],
         "top": [0.3, 0.2, 0.1]}
    )  # fmt: skip
    pretrained = pd.DataFrame({"level 1": [0.8, 0.7], "level 2": [0.1, 0.2]})
    text = first_paragraphs.on_maps("reduced", trained, pretrained)
    assert "in 3 of 4 networks" in text, "one has more at the middle, and one is not measured"
    assert "in 0 of 4 a level in the middle follows edges less than the top" in text
    lower = trained.assign(middle=[0.2, 0.1, 0.0])
    assert "in 2 of 4 a level" in first_paragraphs.on_maps("reduced", lower, pretrained)
    told = "0.50 to 0.60 at the lowest level and 0.20 to 0.30 at the top in 2 networks trained here"
    assert f"{told} for 20 to 40 epochs, on small images" in text
    assert "0.70 to 0.80 at the lowest level and 0.10 to 0.20 at the top in 2 EfficientNet-Lites" in text
    assert first_paragraphs.on_maps("reduced", trained.iloc[:0], pretrained.iloc[:0]).startswith(
        "Nothing can be said yet"
    )


STUDENTS = pd.DataFrame(
    {"method": ["AT", "student", "KD", "max-1", "sum-4"], "seeds": [1, 3, 4, 1, 1],
     "test_error": [9.0, 10.0, 8.0, 9.5, 11.0], "low": 0.1, "top": [0.1, 0.2, 0.3, 0.15, 0.25]}
)  # fmt: skip


def table(names: str, errors: list[float], top: list[float]) -> pd.DataFrame:
    columns = {"epochs": 40, "test_error": errors, "low": 20.0, "middle": 25.0, "top": top}
    return pd.DataFrame(columns, index=names.split())


WRNS = "WRN-a WRN-b WRN-c WRN-d WRN-e"
ERRORS = [12.0, 11.0, 10.0, 9.0, 8.0]


def test_a_distillation_that_looks_elsewhere_and_errs_less_is_told_with_its_numbers():
    text = first_paragraphs.is_it_the_attention("reduced", {"pair": STUDENTS}, [])
    assert (
        "Whether students whose attention is nearer to their teacher's err less is open: over 5 methods (pair)" in text
    )
    told = (
        "**With distillation (KD) the error is lower than without transfer and the top map farther from the teacher's,"
    )
    assert text.startswith(f"{told} in 1 of 1 settings** of 1 pair of networks. ")
    lengths = first_paragraphs.is_it_the_attention(
        "reduced", {f"pair, {epochs} epochs": STUDENTS for epochs in (40, 200)}, []
    )
    assert "in 2 of 2 settings** of 1 pair of networks" in lengths
    worse = STUDENTS.assign(test_error=[9.0, 10.0, 12.0, 9.5, 11.0])
    assert "in 0 of 1 settings" in first_paragraphs.is_it_the_attention("reduced", {"pair": worse}, [])


def test_how_much_farther_distillation_looks_is_told_seed_by_seed(studies, monkeypatch):
    """Of medians over other seeds nobody could say what chance makes."""
    table = pd.DataFrame(
        {"seeds": 3, "farther": [0, 2], "difference": 0.02, "low": -0.01, "high": 0.05}, ["low", "top"]
    )
    monkeypatch.setattr(error_tables, "paired_map_distances", lambda study, method: table)
    of_both = [studies("reduced"), studies("paper")]
    text = first_paragraphs.is_it_the_attention("reduced", {"pair": STUDENTS}, of_both)
    pair = "WRN-16-1 from WRN-16-2, {} epochs"
    one = f"0.020 farther (not significant; {pair}; 95 % interval -0.010 to 0.050; so with 2 of 3 seeds)"
    told = "Compared seed by seed with the plain student's, KD's top map is on average"
    lower = "Of lower maps none differs significantly."
    scale = "on a scale from 0, the same map, to 1.41, no position in common."
    assert f"{told} {one.format(40)} and {one.format(200)}, {scale} {lower} Whether" in text
    table.loc["low"] = [3, 0, -0.02, -0.03, -0.01]
    text = first_paragraphs.is_it_the_attention("reduced", {"pair": STUDENTS}, of_both[:1])
    nearer = "0.020 nearer (WRN-16-1 from WRN-16-2, 40 epochs; 95 % interval 0.010 to 0.030; so with 3 of 3 seeds)"
    assert f"Of lower maps these differ significantly: the low one, {nearer}. Whether" in text
    table["seeds"] = 2
    assert told not in first_paragraphs.is_it_the_attention("reduced", {"pair": STUDENTS}, of_both)


def test_a_correlation_beyond_chance_is_told_with_its_direction():
    ordered = STUDENTS.assign(method="AT", test_error=STUDENTS["top"] * 10)
    assert "nearer to their teacher's err less" in first_paragraphs.is_it_the_attention(
        "reduced", {"pair": ordered}, []
    )
    assert "nearer to their teacher's err more" in first_paragraphs.is_it_the_attention(
        "reduced", {"pair": ordered.assign(test_error=-ordered["test_error"])}, []
    )


def test_too_few_students_say_nothing():
    assert "Nothing can be said" in first_paragraphs.is_it_the_attention("reduced", {"pair": STUDENTS[:2]}, [])


def peaks(top: list[float], names: str = WRNS) -> str:
    nothing = table("", [], [])
    tables = (table(names, ERRORS, top), pd.DataFrame(), nothing, nothing, nothing)
    return first_paragraphs.peaks_objects_faces("reduced", *tables)[0]


def test_stronger_networks_have_what_all_networks_and_the_wrns_agree_on():
    rising = [20.0, 21, 22, 23, 24]
    assert "**Stronger networks have more of their attention in peaks**" in peaks(rising)
    assert "**Stronger networks have less of their attention in peaks**" in peaks(rising[::-1])
    few = peaks(rising, names="NIN-a NIN-b WRN-c WRN-d WRN-e")
    assert "in peaks is open**" in few, "three WRNs cannot be significant, and both have to be"
    fewer = peaks(rising, names="NIN-a NIN-b NIN-c WRN-d WRN-e")
    assert "in peaks is open**" in fewer and "(p = 0.017); the WRNs alone are too few." in fewer, "half of the rule"
    assert "too few" not in peaks(rising)
    assert "in peaks is open**" in peaks([22.0, 20, 23, 21, 20]), "a weak correlation is no hint"
    assert "holds 20 to 24 % of its mass after 40 epochs, and" in peaks(rising)
    assert "-1.00 over 5 WRNs (p = 0.017)" in peaks(rising)


def test_objects_and_faces_are_told_with_their_numbers():
    nothing, shares = table("", [], []), table(WRNS, ERRORS, [50.0, 51, 19, 53, 54])
    parts = table("WRN-16-2", [1.0], [28.0])
    answer, text = first_paragraphs.peaks_objects_faces(
        "reduced", nothing, pd.DataFrame({"level 4": [35.0, 42]}, ["a", "b"]), shares, shares, parts
    )
    assert "in 4 of 5 networks: 19 to 54 % against 20 to 20 %" in answer
    assert "35 % (a), 42 % (b), on photographs of birds: more in the stronger ones, whose" in text
    assert "20 % (low), 25 % (middle), 28 % (top) of the maps' mass lies on eyes, nose and mouth, " in text
    assert "A uniform map, the same everywhere, has 24 % there" in text, "978 of 64 x 64 pixels"
    for tops, told in (([35.0, 35.0], "birds: not always more"), ([35.0, math.nan], ""), ([35.0], "")):
        pretrained = pd.DataFrame({"level 4": tops}, list("ab")[: len(tops)])
        _, text = first_paragraphs.peaks_objects_faces("reduced", nothing, pretrained, shares, shares, parts)
        assert told in text and ("ImageNet weights" in text) == bool(told), tops
    empty = table("", [], [])
    answer, more = first_paragraphs.peaks_objects_faces("reduced", empty, pd.DataFrame(), empty, empty, empty)
    assert "Nothing can be said" in answer and not more


def test_a_rehearsal_finds_nothing():
    """Whatever generated images give, it is nothing about the paper."""
    empty = pd.DataFrame()
    words = [
        first_paragraphs.on_maps("smoke", empty, empty),
        first_paragraphs.is_it_the_attention("smoke", {"pair": STUDENTS}, []),
        *first_paragraphs.peaks_objects_faces("smoke", empty, empty, empty, empty, empty),
    ]
    assert {word.split(":")[0] for word in words} == {"Nothing is said", ""}
