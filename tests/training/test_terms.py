"""Every transfer term trains a student end to end through a run spec."""

from dataclasses import replace

import pytest
import torch

from at_repro.errors import ParameterError
from at_repro.training import (
    ActivationTransfer,
    Distillation,
    FullActivation,
    GradientTransfer,
    MinL2,
    Run,
    SymmetryNorm,
    train,
)

FIELDS = {"dataset": "shapes", "subset": 64, "batch_size": 48, "epochs": 1}
TERMS = [
    (),
    (ActivationTransfer(),),
    (ActivationTransfer(form="paper", mapping="max-1", groups=(1,), decay="cosine"),),
    (ActivationTransfer(norm="none", beta=1e-4),),
    (FullActivation(),),
    (Distillation(),),
    (ActivationTransfer(decay="linear"), Distillation()),
    (GradientTransfer(beta=0.1),),
    (MinL2(beta=0.1),),
    (SymmetryNorm(beta=0.1),),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("student", "teacher"), [("wrn-10-1", "wrn-10-2"), ("nin-thin-nobn", "nin-thin")])
def test_every_term_trains_a_student(student, teacher, precision, few_test_images, store, quiet):
    """All of one pair in one cohort: the weights are finite, and each term teaches something else."""
    taught_by = Run(teacher, precision=precision, learning_rate=0.01, **FIELDS)
    runs = [
        Run(student, terms=terms, precision=precision, learning_rate=0.01, **FIELDS,
            teacher=taught_by if any(term.needs_teacher for term in terms) else None)
        for terms in TERMS
    ]  # fmt: skip
    train(runs, store, device="cpu", progress=quiet)
    learnt = []
    for run in runs:
        record = store.load(run)
        assert record.diverged is None
        weights = record.weights()
        assert not any(name.startswith("adapters") for name in weights)  # F-ActT's are thrown away
        learnt.append(torch.cat([value.flatten() for value in weights.values()]))
    for index, one in enumerate(learnt):
        assert all(not torch.equal(one, other) for other in learnt[:index]), runs[index].run_id


def test_adapters_go_on_after_a_stop(few_test_images, store, tmp_path, quiet, monkeypatch):
    """Else F-ActT would start its 1x1 convolutions anew in the middle of training."""
    from at_repro.training.student import Student

    taught_by = Run("wrn-10-2", precision="fp32", **FIELDS)
    run = replace(Run("wrn-10-1", precision="fp32", **FIELDS), terms=(FullActivation(),), teacher=taught_by, epochs=2)
    train([taught_by], store, device="cpu", progress=quiet)
    save = Student.save

    def save_and_die(self, path):
        save(self, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Student, "save", save_and_die)
        train([run], store, device="cpu", progress=quiet)
    train([run], store, device="cpu", progress=quiet)
    whole = type(store)(tmp_path / "whole", writable=True)
    train([run], whole, device="cpu", progress=quiet)
    for name, value in whole.load(run).weights().items():
        assert torch.equal(store.load(run).weights()[name], value), name


@pytest.mark.parametrize("term", [GradientTransfer(beta=0), MinL2(beta=-1), SymmetryNorm(beta=float("inf"))])
def test_a_weight_that_is_not_a_positive_number_is_refused(term):
    with pytest.raises(ParameterError, match=r"^beta: "):
        term.validate()
