"""The experiments train what the paper and the issue say, at every preset."""

from pathlib import Path

import pytest

from at_repro import experiments
from at_repro.errors import ParameterError
from at_repro.training import ActivationTransfer, Distillation, Run, schedules, with_teachers

NAME = "wrn-16-2-to-16-1"
AT = ActivationTransfer(beta=1000.0, mapping="sum-2", form="code", norm="l2", groups=None, decay="constant")
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
            "KD": student(seed, KD),
            "AT+KD": student(seed, DECAYED, KD),
            "teacher": teacher,  # of seed 0 for the students of every seed
        }
        for seed in seeds
    ]
    assert experiments.get(NAME).runs(preset) == expected


@pytest.mark.parametrize(("epochs", "milestones"), [(60, (18, 36, 48)), (40, (12, 24, 32)), (200, (60, 120, 160))])
def test_the_rate_falls_at_30_60_and_80_percent(epochs, milestones):
    run = Run("wrn-16-1", epochs=epochs)
    rates = [schedules.rate_factor(epoch, epochs, run.milestones, run.drop) for epoch in range(epochs)]
    falls = tuple(epoch for epoch in range(1, epochs) if rates[epoch] < rates[epoch - 1])
    assert falls == milestones


def test_one_teacher_serves_the_students_of_all_seeds():
    """A teacher per seed would cost more and mix its luck into the comparison of methods."""
    columns = experiments.get(NAME).runs("paper")
    runs = with_teachers(run for by_column in columns for run in by_column.values())
    assert [run.seed for run in runs if run.network == "wrn-16-2"] == [0]
    assert len(runs) == 5 * 4 + 1


def test_run_ids_of_the_committed_report_never_change():
    """Else its records, days of training, would be found no more. Change nothing here: mend what changed them."""
    ids = {column: run.run_id for column, run in experiments.get(NAME).runs("reduced")[0].items()}
    assert ids == {
        "student": "cifar10-wrn-16-1-plain-s0-1be81ce5e8",
        "AT": "cifar10-wrn-16-1-at-s0-a8eec41efa",
        "KD": "cifar10-wrn-16-1-kd-s0-26445a6177",
        "AT+KD": "cifar10-wrn-16-1-at+kd-s0-38688b60f8",
        "teacher": "cifar10-wrn-16-2-plain-s0-060f8b7e5f",
    }  # fmt: skip


def test_every_experiment_has_every_preset_and_is_named_as_it_is_listed():
    for name, experiment in experiments.EXPERIMENTS.items():
        assert experiment.name == name
        for preset in experiments.PRESETS:
            assert all("student" in columns for columns in experiment.runs(preset))
    assert all(preset.name == name for name, preset in experiments.PRESETS.items())


def test_smoke_needs_no_download_and_no_special_processor():
    smoke = experiments.get_preset("smoke")
    for fields in (smoke.teacher, smoke.student):
        assert fields["dataset"] == "shapes" and fields["precision"] == "fp32"


def test_given_seeds_replace_those_of_the_preset():
    runs = experiments.get(NAME).runs("smoke", [3, 1])
    assert [columns["AT"].seed for columns in runs] == [3, 1]


@pytest.mark.parametrize("seeds", [[], [-1], [1.0], ["1"], [True], "01", 3])
def test_seeds_that_are_none_are_refused(seeds):
    with pytest.raises(ParameterError, match=r"^seeds?: .* is not allowed; allowed: .*integers? from 0$"):
        experiments.get(NAME).runs("smoke", seeds)


def test_unknown_names_are_refused_with_the_names_there_are():
    with pytest.raises(ParameterError, match=f"^experiment: 'table-9' is not allowed; allowed: .*{NAME}"):
        experiments.get("table-9")
    with pytest.raises(ParameterError, match=r"^preset: 'huge' is not allowed; allowed: smoke, reduced, paper$"):
        experiments.get(NAME).runs("huge")


def test_the_sizes_of_presets_in_the_docs_are_those_of_the_code():
    """A reader plans the cost of a rerun by these tables."""
    root = Path(__file__).parent.parent
    smoke = experiments.PRESETS["smoke"]
    for page in ("README.md", "book/rerun.md"):
        text = (root / page).read_text()
        assert f"{smoke.teacher['subset']:,} generated images" in text, page
        for preset in experiments.PRESETS.values():
            assert f"{preset.teacher['epochs']}, {preset.student['epochs']}" in text, (page, preset.name)
