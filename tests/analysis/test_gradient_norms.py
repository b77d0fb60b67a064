"""Gradient norms of terms at an untrained student, against the losses called by hand on networks built by hand."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from at_repro import data, experiments, losses, networks
from at_repro.analysis import gradient_norms
from at_repro.analysis.gradient_norms import COLUMNS, gradient_norms_at_init
from at_repro.analysis.study import open_study
from at_repro.data import augment
from at_repro.runs import ActivationTransfer
from at_repro.training import engine


@pytest.fixture
def study(store, hand_made, monkeypatch):
    """Untrained networks as if they were trained: only the teacher's are looked at."""
    monkeypatch.setattr(gradient_norms, "BATCH", 16)
    columns = experiments.get("mapping-functions").runs("smoke")[0]
    hand_made(columns["teacher"], data={"train": "0" * 64, "test": "1" * 64})
    return open_study("mapping-functions", "smoke", device="cpu", results=str(store.folder), train_missing=False)


@pytest.fixture
def seen(study):
    """The batch, the untrained student's output on it in training mode, and the teacher's in evaluation mode."""
    images = study.sample(16)
    batch = augment.normalize(images.images, *data.normalization(images.name))
    student = networks.build("wrn-16-1", 10, engine.generator(0, "weights"))
    with torch.no_grad():
        taught = study.networks("teacher")["teacher"](batch)
    return images, student, student.train()(batch), taught


def gradient(value, student):
    """The length of a gradient, from the numbers that autograd leaves in the parameters."""
    student.zero_grad()
    value.backward(retain_graph=True)
    return torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None]).norm().item()


def test_a_gradient_norm_is_of_the_weighted_term(study, seen):
    images, student, own, taught = seen
    found = gradient_norms_at_init(study)
    for method, beta, norm in (("sum-2", 1000.0, "l2"), ("l1 normalised, beta 42000", 42_000.0, "l1")):
        value = beta * losses.activation_transfer(own.groups, taught.groups, "sum-2", "code", norm)
        assert found.loc[method, "beta"] == beta
        assert found.loc[method, "term"] == pytest.approx(value.item(), rel=1e-4)
        assert found.loc[method, "gradient norm"] == pytest.approx(gradient(value, student), rel=1e-3)
    norms = found["gradient norm"]
    assert norms["not normalised, beta 0.001"] == pytest.approx(10 * norms["not normalised, beta 0.0001"])
    assert list(found.columns) == COLUMNS
    assert list(found.index) == [name for name, run in study.columns.items() if run.terms]
    assert found["of the task"].nunique() == 1, "all students start from the same weights"
    task = F.cross_entropy(own.logits, images.labels)
    assert found["of the task"].iloc[0] == pytest.approx(gradient(task, student), rel=1e-3)


def test_adapters_are_trained_as_well(store, hand_made, monkeypatch):
    """F-ActT's 1x1 convolutions learn with the student."""
    monkeypatch.setattr(gradient_norms, "BATCH", 16)
    columns = experiments.get("wrn-16-2-to-16-1").runs("smoke")[0]
    hand_made(columns["teacher"], data={"train": "0" * 64, "test": "1" * 64})
    study = open_study("wrn-16-2-to-16-1", "smoke", device="cpu", results=str(store.folder), train_missing=False)
    images = study.sample(16)
    batch = augment.normalize(images.images, *data.normalization(images.name))
    own = networks.build("wrn-16-1", 10, engine.generator(0, "weights")).train()
    with torch.no_grad():
        taught = study.networks("teacher")["teacher"](batch)
    adapters = losses.adapters((16, 32, 64), (32, 64, 128), engine.generator(0, "adapters"))
    term = columns["F-ActT"].terms[0]
    groups = [adapter(group) for adapter, group in zip(adapters, own(batch).groups, strict=True)]
    value = term.beta * losses.full_activation_transfer(groups, taught.groups)
    trained = torch.nn.ModuleList([own, adapters])
    found = gradient_norms_at_init(study).loc["F-ActT"]
    assert found["term"] == pytest.approx(value.item(), rel=1e-4)
    assert found["gradient norm"] == pytest.approx(gradient(value, trained), rel=1e-3)


def test_layers_by_name_and_norms_that_are_fixed(study):
    """Of the same groups by their names, the term is the same; with fixed norms the task has another gradient."""
    pairs = tuple((f"group{number}", f"group{number}") for number in range(3))
    named = replace(study.columns["sum-2"], terms=(ActivationTransfer(layers=pairs),))
    few = {name: study.columns[name] for name in ("teacher", "sum-2")}
    found = gradient_norms_at_init(replace(study, columns=few | {"named": named}))
    assert found.loc["named"].tolist() == pytest.approx(found.loc["sum-2"].tolist(), rel=1e-5)
    fixed = few | {"sum-2": replace(study.columns["sum-2"], norms="fixed")}
    task = gradient_norms_at_init(replace(study, columns=fixed))["of the task"].item()
    images = study.sample(16)
    batch = augment.normalize(images.images, *data.normalization(images.name))
    student = networks.build("wrn-16-1", 10, engine.generator(0, "weights")).eval()
    trained = {
        name: value for name, value in student.named_parameters() if ".bn" not in name and not name.startswith("bn")
    }
    loss = F.cross_entropy(student(batch).logits, images.labels)
    norm = torch.stack([value.norm() for value in torch.autograd.grad(loss, [*trained.values()])]).norm()
    assert task == pytest.approx(norm.item(), rel=1e-3)


def test_nothing_without_images_or_teacher(study, store):
    assert gradient_norms_at_init(replace(study, images=None)).empty
    (store.folder / study.columns["teacher"].run_id / "weights.safetensors").unlink()
    assert gradient_norms_at_init(study).empty
