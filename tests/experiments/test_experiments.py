"""The experiments train what the paper and the issue say, at every preset."""

import pytest
from prose import prose

from at_repro import experiments
from at_repro.errors import ParameterError
from at_repro.runs import (
    ActivationTransfer,
    Distillation,
    FullActivation,
    GradientTransfer,
    MinL2,
    Run,
    SymmetryNorm,
    with_teachers,
)

NAME = "wrn-16-2-to-16-1"
AT = ActivationTransfer(beta=1000.0, mapping="sum-2", form="code", norm="l2", groups=None, decay="constant")
F_ACTT = FullActivation(beta=1000.0, form="code", decay="linear")
DECAYED = ActivationTransfer(beta=1000.0, mapping="sum-2", form="code", norm="l2", groups=None, decay="linear")
KD = Distillation(temperature=4.0, alpha=0.9)


def recipe(dataset="cifar10", subset=None, batch_size=128, precision="auto") -> dict:
    """Section 4.1 and the public code, written out: nothing is left to a default that could change."""
    return {
        "dataset": dataset, "subset": subset, "batch_size": batch_size, "learning_rate": 0.1,
        "milestones": (0.3, 0.6, 0.8), "drop": 0.2, "momentum": 0.9, "weight_decay": 5e-4,
        "augmentation": "crop-flip", "precision": precision,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "teacher_epochs", "student_epochs", "seeds", "fields"),
    [
        ("smoke", 10, 8, (0,), recipe("shapes", 2500, 64, "fp32")),
        ("reduced", 60, 40, (0,), recipe()),
        ("paper", 200, 200, (0, 1, 2, 3, 4), recipe()),
    ],
)
def test_wrn_16_2_to_16_1(preset, teacher_epochs, student_epochs, seeds, fields):
    teacher = Run("wrn-16-2", epochs=teacher_epochs, seed=0, **fields)

    def student(seed, *terms):
        taught_by = teacher if terms else None
        return Run("wrn-16-1", epochs=student_epochs, seed=seed, terms=terms, teacher=taught_by, **fields)

    expected = [
        {
            "student": student(seed),
            "AT": student(seed, AT),
            "F-ActT": student(seed, F_ACTT),
            "KD": student(seed, KD),
            "AT+KD": student(seed, DECAYED, KD),
            "teacher": teacher,  # of seed 0 for the students of every seed
        }
        for seed in seeds
    ]
    assert experiments.get(NAME).runs(preset) == expected


def test_every_experiment_has_every_preset_and_is_named_as_it_is_listed():
    for name, experiment in experiments.EXPERIMENTS.items():
        assert experiment.name == name
        for preset in experiments.PRESETS:
            runs = [run for columns in experiment.runs(preset) for run in columns.values()]
            assert any(not run.terms for run in runs)
            assert any(run.teacher for run in runs) or name in ("precisions", "faces")
    assert all(preset.name == name for name, preset in experiments.PRESETS.items())


@pytest.mark.parametrize(
    ("name", "student", "teacher", "epochs"),
    [
        ("nin-wide-to-nin-thin", "nin-thin", "nin-wide", (30, 20)),
        ("wrn-40-1-to-16-1", "wrn-16-1", "wrn-40-1", (60, 40)),
        ("wrn-40-2-to-16-2", "wrn-16-2", "wrn-40-2", (30, 20)),
    ],
)
def test_the_other_rows_of_table_1(name, student, teacher, epochs):
    taught_by = Run(teacher, epochs=epochs[0], **recipe())

    def run(*terms):
        return Run(student, epochs=epochs[1], terms=terms, teacher=taught_by if terms else None, **recipe())

    assert experiments.get(name).runs("reduced") == [{
        "student": run(), "AT": run(AT), "F-ActT": run(F_ACTT),
        "KD": run(KD), "AT+KD": run(DECAYED, KD), "teacher": taught_by,
    }]  # fmt: skip
    assert all(
        columns["AT"].epochs == columns["teacher"].epochs == 200 for columns in experiments.get(name).runs("paper")
    )


TABLE_1 = ("nin-wide-to-nin-thin", NAME, "wrn-40-1-to-16-1", "wrn-40-2-to-16-2")
TEACHER = Run("wrn-16-2", epochs=60)


def taught(*terms, epochs=40):
    return Run("wrn-16-1", epochs=epochs, terms=terms, teacher=TEACHER if terms else None)


def reduced(name):
    return experiments.get(name).runs("reduced")[0]


def test_runs_are_shared_between_experiments():
    """Table 1's student, AT and teacher are those of Table 2, of one or three, and of Figure 7b: trained once."""
    row = reduced(NAME)
    assert row["AT"] == reduced("mapping-functions")["sum-2"] == reduced("one-or-three")["all groups"]
    assert row["AT"] == reduced("convergence")["AT"] == reduced("forms-and-betas")["code form, beta 1000"]
    assert row["AT"] == reduced("training-length")["AT, 40 epochs"]
    for name in ("mapping-functions", "one-or-three", "convergence", "forms-and-betas"):
        assert (reduced(name)["student"], reduced(name)["teacher"]) == (row["student"], row["teacher"]), name


def test_table_2():
    columns = reduced("mapping-functions")
    for mapping in ("sum-1", "sum-2", "sum-4", "max-1", "max-2"):
        assert columns[mapping] == taught(ActivationTransfer(mapping=mapping))
    for beta in (1000.0, 0.001, 0.0001):
        assert columns[f"not normalised, beta {beta:g}"] == taught(ActivationTransfer(norm="none", beta=beta))
    # On a uniform map the l1 norm leaves 1/HW of the squared length: HW is 1024, 256 and 64 after the three groups.
    assert columns["l1 normalised, beta 256000"] == taught(ActivationTransfer(norm="l1", beta=1000.0 * 256))
    assert columns["l1 normalised, beta 42000"] == taught(ActivationTransfer(norm="l1", beta=42_000.0))
    assert len(columns) == 15


def test_table_2_once_more_where_every_function_pulls_as_strongly_as_sum_2():
    """The plan, question 2, has the gradient norms at beta 1000 from which the betas follow."""
    columns = reduced("mapping-functions")
    for name, norm in (("sum-1", 4.089354), ("sum-4", 26.09431), ("max-1", 5.233286)):
        (column,) = [column for column in columns if column.startswith(f"{name}, beta ")]
        (term,) = columns[column].terms
        assert term == ActivationTransfer(mapping=name, beta=term.beta)
        assert term.beta == pytest.approx(1000 * 13.29288 / norm, rel=2e-3)


def test_one_or_three():
    columns = reduced("one-or-three")
    assert [columns[f"group {i + 1}"] for i in range(3)] == [taught(ActivationTransfer(groups=(i,))) for i in range(3)]


def test_forms_and_betas_span_two_decades():
    columns = reduced("forms-and-betas")
    codes = [run for name, run in columns.items() if name.startswith("code form")]
    assert [run.terms[0].beta for run in codes] == [100, 316, 1000, 3162, 10000]
    papers = [run for name, run in columns.items() if name.startswith("paper form")]
    assert papers == [taught(ActivationTransfer(form="paper", beta=beta)) for beta in (0.1, 1.0, 10.0)]


def test_precisions_differ_in_nothing_else():
    columns = experiments.get("precisions").runs("reduced")
    assert columns == [
        {name: Run("wrn-16-1", epochs=4, seed=seed, **recipe(precision=name)) for name in ("fp32", "bf16")}
        for seed in range(5)
    ]


def test_training_length_is_a_full_schedule_each():
    columns = reduced("training-length")
    assert [columns[f"student, {epochs} epochs"] for epochs in (10, 20, 40, 80)] == [
        taught(epochs=epochs) for epochs in (10, 20, 40, 80)
    ]
    assert columns["AT, decaying, 80 epochs"] == taught(DECAYED, epochs=80)
    assert columns["AT+KD, 10 epochs"] == taught(DECAYED, KD, epochs=10)
    paper = experiments.get("training-length").runs("paper", [0])[0]
    assert paper["KD, 200 epochs"] == experiments.get(NAME).runs("paper")[0]["KD"]


def test_table_3():
    """Thin NIN without batch norm, flips only, no weight decay; AT from a teacher without ReLU before pooling."""
    fields = recipe() | {"augmentation": "flip", "weight_decay": 0.0}
    slow = fields | {"learning_rate": 0.01}
    plain, signed = Run("nin-wide-nobn", epochs=20, **slow), Run("nin-wide-norelu", epochs=20, **fields)

    def run(*terms, teacher=None):
        return Run("nin-thin-nobn", epochs=20, terms=terms, teacher=teacher, **slow)

    ends = (("block0.conv2", "block0"), ("block1.conv2", "block1"), ("block2.conv1", "block2"))
    assert reduced("gradient-methods") == {
        "student": run(), "min-l2": run(MinL2(beta=1.0)), "gradient AT": run(GradientTransfer(beta=1.0), teacher=plain),
        "KD": run(KD, teacher=plain), "symmetry norm": run(SymmetryNorm(beta=1.0)),
        "AT": run(ActivationTransfer(layers=ends), teacher=signed), "teacher": plain, "teacher of AT": signed,
    }  # fmt: skip


def test_faces_are_the_same_where_there_is_a_record_of_them():
    (columns,) = experiments.get("faces").runs("reduced")
    assert columns == {"network": Run("wrn-16-2", 100, dataset="orl_faces@64", subset=320, batch_size=32)}
    assert experiments.get("faces").runs("paper") == [columns]


def test_objects_has_every_network_of_table_1_on_images_with_masks():
    (columns,) = experiments.get("objects").runs("reduced")
    assert {run.network for run in columns.values()} == {
        run.network for name in TABLE_1 for run in experiments.get(name).runs("reduced")[0].values()
    }
    fields = {"epochs": 10, "dataset": "shapes"}
    teacher = Run("wrn-16-2", **fields)
    assert columns["AT"] == Run("wrn-16-1", terms=(AT,), teacher=teacher, **fields)
    assert columns["wrn-40-2"] == Run("wrn-40-2", **fields)
    assert experiments.get("objects").runs("paper") == [columns]


def test_smoke_is_brief_in_all_but_the_first_experiment():
    """The book at smoke has ten minutes: each further experiment may take seconds."""
    for name, experiment in experiments.EXPERIMENTS.items():
        runs = with_teachers(run for columns in experiment.runs("smoke") for run in columns.values())
        seen = [run.subset * run.epochs for run in runs]
        assert max(seen) <= (25_000 if name == NAME else 640), name


def test_vary_changes_what_is_named_and_nothing_else():
    row = experiments.get(NAME)
    same = experiments.vary(
        row, student="wrn-16-1", teacher="wrn-16-2", mapping="sum-2", beta=1000.0, epochs=0, dataset=""
    )
    assert same.runs("reduced") == row.runs("reduced"), "what a rerun names as it is must find the same records"
    columns = experiments.vary(
        row, student="wrn-10-1", teacher="wrn-22-2", mapping="max-1", beta=10.0, epochs=3, dataset="photos@64"
    ).runs("smoke", [7])[0]
    images = recipe("photos@64", None, 64, "fp32")
    teacher = Run("wrn-22-2", epochs=10, **images)

    def student(*terms):
        return Run("wrn-10-1", epochs=3, seed=7, terms=terms, teacher=teacher if terms else None, **images)

    at = {"mapping": "max-1", "beta": 10.0}
    assert columns == {
        "student": student(), "AT": student(ActivationTransfer(**at)), "F-ActT": student(F_ACTT), "KD": student(KD),
        "AT+KD": student(ActivationTransfer(decay="linear", **at), KD), "teacher": teacher,
    }  # fmt: skip
    birds = experiments.vary(experiments.get("fine-tuning-birds"), beta=10.0).runs("reduced")[0]
    betas = [term.beta for run in birds.values() for term in run.terms if isinstance(term, ActivationTransfer)]
    assert betas == [10.0, 327.0], "a column about a beta of its own would be another column twice"
    kept = experiments.vary(row, dataset="shapes").runs("smoke")
    assert kept == row.runs("smoke"), "the preset's own images, of which it takes a part"


def test_what_cannot_be_varied_is_refused():
    with pytest.raises(ParameterError, match=r"^change: 'rate' is not allowed; allowed: student, teacher, mapping"):
        experiments.vary(experiments.get(NAME), rate=0.1)
    for change, message in (
        ({"student": "vgg"}, "network: 'vgg'"),
        ({"mapping": "mean"}, "mapping: 'mean'"),
        ({"beta": -1.0}, "beta: -1.0"),
        ({"epochs": -2}, "epochs: -2"),
        ({"dataset": "photos"}, "data set: 'photos'"),
    ):
        with pytest.raises(ParameterError, match=f"^{message} is not allowed"):
            experiments.vary(experiments.get(NAME), **change).runs("smoke")


def test_given_seeds_replace_those_of_the_preset():
    runs = experiments.get(NAME).runs("smoke", [3, 1])
    assert [columns["AT"].seed for columns in runs] == [3, 1]


@pytest.mark.parametrize("seeds", [[], [-1], [1.0], ["1"], [True], "01", 3])
def test_seeds_that_are_none_are_refused(seeds):
    allowed = "(a list of one or more integers from 0|an integer from 0 to 999999999)"
    with pytest.raises(ParameterError, match=f"^seeds: .* is not allowed; allowed: {allowed}$"):
        experiments.get(NAME).runs("smoke", seeds)


def test_a_seed_that_is_named_twice_is_refused():
    with pytest.raises(ParameterError, match=r"^seeds: \[1, 1\] is not allowed; allowed: every seed once$"):
        experiments.get(NAME).runs("smoke", [1, 1])


def test_unknown_names_are_refused_with_the_names_there_are():
    with pytest.raises(ParameterError, match=f"^experiment: 'table-9' is not allowed; allowed: .*{NAME}"):
        experiments.get("table-9")
    with pytest.raises(ParameterError, match=r"^preset: 'huge' is not allowed; allowed: smoke, reduced, paper$"):
        experiments.get(NAME).runs("huge")


def test_the_sizes_of_presets_in_the_docs_are_those_of_the_code():
    """A reader plans the cost of a rerun by these tables."""
    smoke = experiments.PRESETS["smoke"]
    text = prose("notebooks/trust_and_rerun.ipynb")
    assert f"{smoke.teacher['subset']:,} generated images" in text
    for preset in experiments.PRESETS.values():
        assert f"{preset.teacher['epochs']}, {preset.student['epochs']}" in text, preset.name


@pytest.mark.parametrize(
    ("name", "dataset"), [("fine-tuning-birds", "cub50@144"), ("fine-tuning-scenes", "scene15@144")]
)
def test_table_4_is_fine_tuned_as_section_4_2_says(name, dataset):
    """Batch norms fixed, the first group frozen, losses on the last two groups, from ImageNet's weights."""
    columns = reduced(name)
    assert list(columns) == ["student", "KD", "AT", "AT, beta 327", "teacher"]
    for column, run in columns.items():
        assert (run.start, run.norms, run.frozen_groups, run.dataset) == ("imagenet", "fixed", 1, dataset)
        assert run.network == f"efficientnet-lite{2 if column == 'teacher' else 0}"
    assert columns["AT"].terms == (ActivationTransfer(groups=(2, 3)),) and columns["KD"].terms == (Distillation(),)
    (small,) = columns["AT, beta 327"].terms
    assert small.groups == (2, 3) and small.beta == pytest.approx(1000 * (4 / 7) ** 2, rel=0.002)
    assert [runs["AT"].seed for runs in experiments.get(name).runs("reduced")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "dataset"), [("fine-tuning-birds", "cub200@256"), ("fine-tuning-scenes", "indoor67@256")]
)
def test_table_4_at_preset_paper_is_of_resnets(name, dataset):
    columns = experiments.get(name).runs("paper")[0]
    assert (columns["student"].network, columns["teacher"].network) == ("resnet18", "resnet34")
    assert columns["AT"].dataset == dataset and columns["AT"].augmentation == "window-flip"


def test_table_5_in_small():
    columns = reduced("imagenet-resnet18")
    for run in columns.values():
        assert (run.weight_decay, run.milestones, run.drop) == (1e-4, (0.3, 0.6, 0.9), 0.1)
        assert (run.dataset, run.augmentation) == ("imagenette64@64", "resized-crop-flip") and run.start == "random"
    assert columns["AT"].terms == (ActivationTransfer(groups=(2, 3)),)
    (small,) = columns["AT, beta 82"].terms
    assert small.groups == (2, 3) and small.beta == pytest.approx(1000 * (64 / 224) ** 2, rel=0.01)
    assert (columns["student"].network, columns["teacher"].network) == ("resnet18", "resnet34")
    assert list(experiments.get("imagenet-resnet18").runs("paper")[0]) == ["student", "KD", "AT", "teacher"]


def test_table_5_at_preset_paper_is_of_imagenet():
    """Appendix: 100 epochs in batches of 256, rate 0.1 divided by ten at 30, 60 and 90, weight decay 1e-4."""
    columns = experiments.get("imagenet-resnet18").runs("paper")[0]
    for run in columns.values():
        assert (run.dataset, run.augmentation) == ("imagenet@224-streamed", "resized-crop-flip")
        assert (run.epochs, run.batch_size, run.learning_rate, run.weight_decay) == (100, 256, 0.1, 1e-4)
        assert ([round(part * run.epochs) for part in run.milestones], run.drop) == ([30, 60, 90], 0.1)
    assert columns["AT"].terms == (ActivationTransfer(groups=(2, 3)),)
    assert (columns["student"].network, columns["teacher"].network) == ("resnet18", "resnet34")
