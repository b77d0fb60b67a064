"""Operations counted by hand, and hours on several devices as a schedule on paper has them."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from at_repro import bench, experiments, networks
from at_repro.bench import costs
from at_repro.runs import ActivationTransfer, Run, teachers_and_cohorts
from at_repro.training import Student, engine, loop
from at_repro.training.batch import Teacher, TeacherBatch


def test_operations_of_a_convolution_network_by_hand():
    """WRN-16-1 on 32x32: the convolutions and the linear layer, two operations per multiply-add."""
    conv = [(3, 16, 3, 32), *[(16, 16, 3, 32)] * 4]
    conv += [(16, 32, 3, 16), (16, 32, 1, 16), *[(32, 32, 3, 16)] * 3]
    conv += [(32, 64, 3, 8), (32, 64, 1, 8), *[(64, 64, 3, 8)] * 3]
    multiply_adds = sum(i * o * k * k * size * size for i, o, k, size in conv) + 64 * 10
    assert networks.forward_operations("wrn-16-1") == 2 * multiply_adds


def test_the_operations_that_are_written_down_are_those_that_torch_counts():
    """A list of experiments builds no network."""
    runs = [run for preset in experiments.PRESETS for run in costs.runs_of(experiments.EXPERIMENTS, preset)]
    counted = {name: networks.forward_operations(name) for name in {run.network for run in runs}}
    assert {name: costs.OPERATIONS.get(name) for name in counted} == counted


def test_operations_of_runs(small):
    """Forward and backward through the student, forward only through its teacher, once for all students."""
    one = networks.forward_operations("wrn-10-1")
    assert costs.operations([small["student"]]) == 24 * 3 * 3 * one
    assert costs.operations([small["at"]]) == 24 * 3 * 4 * one
    assert costs.operations([small["student"], small["at"], small["kd"]]) == 24 * 3 * (3 * 3 + 1) * one
    whole = Run("wrn-10-1", epochs=2)
    faces = Run("wrn-10-1", 2, dataset="anyone@64", subset=96)
    assert costs.operations([faces]) == 4 * 96 * 2 * 3 * one, "four times as many positions"
    windows = replace(faces, dataset="anyone@256", augmentation="window-flip")
    assert costs.operations([windows]) == 49 * 96 * 2 * 3 * one, "224 pixels of 256"
    assert costs.operations([whole]) == 50_000 * 2 * 3 * one


class Counted(TorchDispatchMode):
    """Counts operations, as torch's FlopCounterMode does, whose hooks do not work within double backpropagation."""

    total = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        returned = function(*arguments, **(keywords or {}))
        if (formula := flop_registry.get(function.overloadpacket)) is not None:
            self.total += formula(*arguments, **(keywords or {}), out_val=returned)
        return returned


@pytest.mark.parametrize("column", ["student", "min-l2", "gradient AT", "symmetry norm", "KD", "AT"])
def test_operations_are_those_that_torch_counts(column):
    """Of a real step, to a tenth: the first layer's gradient by the images, which few need, is counted all the same."""
    run = experiments.get("gradient-methods").runs("smoke")[0][column]
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    student, forward = Student(run, 10, torch.device("cpu"), "fp32"), engine.forward("fp32", False)
    settings, teacher = student.begin_epoch(), None
    if run.teacher is not None:
        watched = tuple(other for term in run.terms for _, other in term.layers or ())
        network = networks.build(run.teacher.network).eval().requires_grad_(False)
        teacher = Teacher(network, run.teacher.network, "fp32", False, watched)
    with Counted() as counted:
        loop._learn(student, settings, images, labels, teacher and TeacherBatch(teacher, images, labels), forward, 1.0)
    estimated = costs.operations([run]) / (run.subset * run.epochs)
    assert counted.total / 4 == pytest.approx(estimated, rel=0.1)


def test_a_schedule():
    """Two teachers of 3 and 1 hours; a student of each, 2 and 5 hours; one without a teacher, 4 hours."""
    slow, fast = Run("wrn-16-2", 3), Run("wrn-10-2", 1)
    taught = [Run("wrn-16-1", 2, terms=(ActivationTransfer(),), teacher=teacher) for teacher in (slow, fast)]
    mixed = [Run("wrn-16-1", 2), taught[1]]  # a cohort waits for its teacher, whoever is first in it
    hours = [([slow], 3), ([fast], 1), ([taught[0]], 2), (mixed, 5), ([Run("wrn-10-1", 1)], 4)]
    assert costs.makespan(hours, 1) == 15
    # The run without a teacher from 0 to 4, beside it slow to 3 and fast to 4; then their students, to 9 and to 6.
    assert costs.makespan(hours, 2) == 9
    assert costs.makespan(hours, 64) == 6, "fast and its students, however many devices there are"


def test_tasks_are_teachers_and_cohorts():
    columns = experiments.get("wrn-16-2-to-16-1").runs("reduced", [0, 1])
    teacher = columns[0]["teacher"]
    students = [[run for name, run in of_seed.items() if name != "teacher"] for of_seed in columns]
    assert teachers_and_cohorts(run for of_seed in columns for run in of_seed.values()) == [[teacher], *students]


def test_the_table_counts_what_is_shared_once():
    found = {"rows": [["peak", costs.RATE, 100.0, "GFLOP/s"]]}
    table = costs.table(found)
    assert list(table.index) == [*costs.TABLES, "all"]
    assert list(table.columns) == ["runs", "device-hours", "1 device", "8 devices", "64 devices"]
    assert ((table["1 device"] / table["device-hours"] - 1).abs() < 1e-9).all(), "one device does all"
    assert (table["64 devices"] <= table["8 devices"]).all() and (table["8 devices"] <= table["1 device"]).all()
    assert (table["64 devices"] >= table["device-hours"] / 64 - 1e-9).all()
    assert table["64 devices"]["Table 5"] == pytest.approx(table["device-hours"]["Table 5"] / 64), "all train together"
    assert table["runs"].iloc[:-1].sum() > table["runs"]["all"], "Tables 1 and 2 have runs in common"
    half = costs.table({"rows": [["peak", costs.RATE, 50.0, "GFLOP/s"]]})
    assert half["device-hours"]["all"] == pytest.approx(2 * table["device-hours"]["all"])


def test_table_5_at_preset_paper_by_hand():
    """ResNet-34 once; a plain student, KD and AT together, with one pass of the teacher: at 224, 49 times 32x32."""
    small, large = (networks.forward_operations(name) for name in ("resnet18", "resnet34"))
    hours = 1_281_167 * 100 * 49 * (3 * large + 3 * 3 * small + large) / 1e12 / 3600
    table = costs.table({"rows": [["peak", costs.RATE, 1000.0, "GFLOP/s"]]})
    assert table["device-hours"]["Table 5"] == pytest.approx(hours) and table["runs"]["Table 5"] == 4


def test_without_a_benchmark_there_are_no_hours():
    assert costs.table({"rows": []})["device-hours"].isna().all()
    assert any(name == costs.RATE for _, name, *_ in bench.load()["rows"]), "the committed one has the rate"


def test_every_table_of_the_paper_is_in_it():
    named = {name for of_table in costs.TABLES.values() for name in of_table}
    ours = {name for name, one in experiments.EXPERIMENTS.items() if one.title.startswith("ours")}
    ours |= {"convergence", "faces"}  # figures
    assert named | ours == set(experiments.EXPERIMENTS)
