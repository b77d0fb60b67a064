"""Every transfer term trains a student end to end through a run spec."""

import json
import shutil
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch

from at_repro import networks
from at_repro.data import shapes
from at_repro.errors import ParameterError
from at_repro.experiments import PRESETS
from at_repro.runs import (
    ActivationTransfer,
    Distillation,
    FullActivation,
    GradientTransfer,
    MinL2,
    Run,
    SymmetryNorm,
    checks,
)
from at_repro.runs.cohorts import cohorts
from at_repro.runs.terms import TERMS as ALL
from at_repro.training import Student, train

SMOKE = PRESETS["smoke"].student
FIELDS = SMOKE | {"subset": 80, "epochs": 1}  # one batch and a smaller one
TERMS = [
    (),
    (ActivationTransfer(),),
    (ActivationTransfer(beta=1.0, form="paper", mapping="max-1", groups=(1,), decay="cosine"),),
    (ActivationTransfer(norm="none", beta=1e-8),),
    (ActivationTransfer(decay="step"),),
    (FullActivation(),),
    (Distillation(),),
    (ActivationTransfer(decay="linear"), Distillation()),
    (GradientTransfer(beta=0.1),),
    (MinL2(beta=0.1),),
    (SymmetryNorm(beta=0.1),),
]


KINDS = [(), *{terms[0].kind: terms for terms in TERMS if terms}.values()]  # what is inside of a term knows no network
assert {terms[0].kind for terms in KINDS if terms} == set(ALL), "a term that no test trains"
# For all pairs but one: KD is beside AT in one of them, and min-l2 takes the gradient that gradient AT takes.
FEW = [terms for terms in KINDS if not terms or terms[0].kind not in ("kd", "min-l2")]

# Every family, each suffix of NIN, and the pairs of the paper's NINs: Table 1's and Table 3's. With the precision, the
# number of images: as few as it takes.
PAIRS = [
    ("wrn-10-1", "wrn-10-2", "fp32", 32, TERMS),
    ("wrn-10-1", "wrn-10-2", "bf16", 32, FEW),
    ("nin-thin", "nin-wide", "fp32", 8, FEW),
    ("nin-thin-nobn", "nin-wide-norelu", "fp32", 8, FEW),
    ("resnet18", "resnet18", "fp32", 8, FEW),
]


@pytest.mark.parametrize(("student", "teacher", "precision", "images", "added"), PAIRS)
@pytest.mark.slow
def test_every_term_trains_every_family(student, teacher, precision, images, added, monkeypatch, store, quiet):
    """Three steps on the same images lower the task loss whatever is added; each term teaches something else.

    The preset `smoke` but for its size: 8 to 32 images in place of 2500, three epochs of one step in place of eight.
    The images are the same in every epoch, and the learning rate is one at which so few steps do not overshoot; it
    falls once, before the last step.
    """
    monkeypatch.setitem(shapes.SIZES, "test", 10)
    monkeypatch.setattr(Student, "save", lambda *_: None)  # up to 90 MB each, which nobody reads
    fields = SMOKE | {
        "subset": images, "epochs": 3, "augmentation": "none", "precision": precision, "milestones": (0.7,),
        "learning_rate": 0.001 if "nobn" in student else 0.01,
    }  # fmt: skip
    taught_by = Run(teacher, **fields | {"epochs": 1})
    runs = [
        Run(student, terms=terms, teacher=taught_by if any(term.needs_teacher for term in terms) else None, **fields)
        for terms in added
    ]
    train(runs, store, device="cpu", progress=quiet)
    learnt = []
    for run in runs:
        record = store.load(run)
        losses = record.epochs()["train_loss"]
        assert record.diverged is None and losses.iloc[-1] < losses.iloc[0], run.method
        weights = record.weights()
        assert not any(name.startswith("adapters") for name in weights)  # F-ActT's are thrown away
        learnt.append(torch.cat([value.flatten() for value in weights.values()]))
    for index, one in enumerate(learnt):
        assert all(not torch.equal(one, other) for other in learnt[:index]), runs[index].run_id


def test_layers_named_in_a_spec_are_paired(few_test_images, store, quiet):
    """Every block of two networks of one depth, as the paper pairs them; the spec survives its JSON."""
    blocks = [f"group{group}.block0" for group in range(3)]
    taught_by = Run("wrn-10-2", **FIELDS)
    by_group, by_name, inner = (
        Run("wrn-10-1", teacher=taught_by, terms=(ActivationTransfer(layers=layers),), **FIELDS)
        for layers in (None, tuple(zip(blocks, blocks, strict=True)), (("group0.block0.conv0", "conv0"),))
    )
    assert Run.from_dict(json.loads(by_name.canonical_json())) == by_name
    assert len(cohorts([by_group, by_name, inner])) == 3  # a teacher whose layers are seen is rounded at other places
    train([by_group, by_name, inner], store, device="cpu", progress=quiet)
    by_group, by_name, inner = (
        torch.cat([value.flatten() for value in store.load(run).weights().values()])
        for run in (by_group, by_name, inner)
    )
    # One block per group, so the same layers; only the teacher's batch norms are folded in one and not in the other.
    assert (by_name - by_group).norm() < 0.02 * (inner - by_group).norm()


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ((), "pairs of names"),
        ((("group0",),), "pairs of names"),
        ((("group0.block7", "group0"),), "group0.block7"),
        ((("group0", "layer1"),), "layer1"),
    ],
)
def test_layers_that_are_not_there_are_refused(layers, named):
    run = Run("wrn-10-1", epochs=1, terms=(ActivationTransfer(layers=layers),), teacher=Run("wrn-10-2", epochs=1))
    with pytest.raises(ParameterError, match=f"^layers: .*{named}"):
        checks.validate(run)


def test_layers_exclude_groups():
    term = ActivationTransfer(layers=(("group0", "group0"),), groups=(1,))
    with pytest.raises(ParameterError, match=r"^groups: "):
        checks.validate(Run("wrn-10-1", epochs=1, terms=(term,), teacher=Run("wrn-10-2", epochs=1)))


@pytest.mark.slow
def test_adapters_go_on_after_a_stop(few_test_images, store, tmp_path, quiet, monkeypatch):
    """Else F-ActT would start its 1x1 convolutions anew in the middle of training."""
    taught_by = Run("wrn-10-2", **FIELDS)
    run = replace(Run("wrn-10-1", **FIELDS), terms=(FullActivation(),), teacher=taught_by, epochs=2)
    train([taught_by], store, device="cpu", progress=quiet)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(quiet, "epoch", Mock(side_effect=KeyboardInterrupt))
        train([run], store, device="cpu", progress=quiet)
    train([run], store, device="cpu", progress=quiet)
    whole = type(store)(tmp_path / "whole", writable=True)
    shutil.copytree(store.record_path(taught_by), whole.record_path(taught_by))
    train([run], whole, device="cpu", progress=quiet)
    for name, value in whole.load(run).weights().items():
        assert torch.equal(store.load(run).weights()[name], value), name


@pytest.mark.parametrize("term", [GradientTransfer(beta=0), MinL2(beta=-1), SymmetryNorm(beta=float("inf"))])
def test_a_weight_that_is_not_a_positive_number_is_refused(term):
    with pytest.raises(ParameterError, match=r"^beta: "):
        term.validate()


def test_f_actt_on_some_groups_has_adapters_for_those_alone(few_test_images, store, quiet):
    """A network with more groups can then be the teacher, and no adapter is left untrained in the checkpoint."""
    few = FIELDS | {"subset": 8, "batch_size": 8}
    taught_by = Run("resnet18", **few)
    run = Run("wrn-10-1", terms=(FullActivation(groups=(0, 2)),), teacher=taught_by, **few)
    student = Student(checks.validate(run), 10, torch.device("cpu"), "fp32")
    assert [tuple(adapter.weight.shape[:2]) for adapter in student.adapters] == [(64, 16), (256, 64)]
    train([run], store, device="cpu", progress=quiet)
    assert store.load(run).diverged is None


class Flat(torch.nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.fc = torch.nn.Linear(3 * 32 * 32, classes)

    def forward(self, images):
        return networks.Output(self.fc(images.flatten(1)), ())


@pytest.mark.parametrize("term", [ActivationTransfer(), ActivationTransfer(groups=(0,)), FullActivation()])
def test_a_network_without_groups_cannot_be_compared_by_them(term, monkeypatch):
    """Its teacher would be trained to the end, and then its first step fail."""
    monkeypatch.setitem(networks.registry._REGISTERED, "flat", Flat)
    for student, teacher in (("flat", "flat"), ("wrn-10-1", "flat")):
        run = Run(student, epochs=1, terms=(term,), teacher=Run(teacher, epochs=1))
        with pytest.raises(ParameterError, match=r"^terms: .* compares no groups, since flat has none$"):
            checks.validate(run)
    checks.validate(Run("flat", epochs=1, terms=(Distillation(),), teacher=Run("wrn-10-1", epochs=1)))


@pytest.mark.parametrize(
    ("terms", "parameter"),
    [
        ((ActivationTransfer(groups=(1, 1)),), "groups"),
        ((ActivationTransfer(layers=(("group0", "group0"), ("group0", "group0"))),), "layers"),
        ((ActivationTransfer(layers=(("fc", "fc"),)),), "layers"),
        ((FullActivation(), FullActivation(groups=(0,))), "terms"),
        ((MinL2(beta=1.0, decay="slowly"),), "decay"),
        ((Distillation(decay="slowly"),), "decay"),
        ((), "teacher"),  # it would be trained, for hours, and nobody would learn from it
        ((MinL2(beta=1.0),), "teacher"),
    ],
)
def test_terms_that_could_not_be_trained_are_refused_before(terms, parameter):
    run = Run("wrn-10-1", epochs=1, terms=terms, teacher=Run("wrn-10-2", epochs=1))
    with pytest.raises(ParameterError, match=f"^{parameter}: "):
        checks.validate(run)
