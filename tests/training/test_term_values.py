"""What each term of a run adds to the loss of one batch, against the formula written out here."""

import pytest
import torch
import torch.nn.functional as F

from at_repro import networks
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
from at_repro.training import Student, engine
from at_repro.training.batch import Teacher, TeacherBatch
from at_repro.training.term_values import term_value

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([3, 1, 4, 1])
PLAIN = engine.forward("fp32", False)


@pytest.fixture
def frozen():
    network = networks.build("wrn-10-2", 10, torch.Generator().manual_seed(5))
    return network.eval().requires_grad_(False)


def prepared(term, teacher="wrn-10-2"):
    run = Run("wrn-10-1", epochs=10, terms=(term,), teacher=Run(teacher, epochs=1), precision="fp32")
    student = Student(run, 10, torch.device("cpu"), "fp32")
    student.begin_epoch()
    return student


def value(term, frozen):
    """The term as the loop computes it, and the student it was computed for."""
    student = prepared(term)
    seen = student.see(IMAGES, LABELS, PLAIN)
    taught = TeacherBatch(Teacher(frozen, "wrn-10-2", "fp32", False), IMAGES, LABELS)
    return term_value(term, seen, taught).item(), student


def gradients(network, images, labels):
    images = images.clone().requires_grad_()
    loss = F.cross_entropy(network(images).logits, labels, reduction="sum")
    return torch.autograd.grad(loss, images)[0]


def norms(difference):
    return difference.flatten(1).norm(dim=1)


@pytest.mark.parametrize("groups", [None, (0,), (1, 2)])
def test_activation_transfer_compares_the_chosen_groups(groups, frozen):
    """Studies of one loss or three would otherwise all train with three."""
    found, student = value(ActivationTransfer(groups=groups), frozen)
    total = 0.0
    for index in groups or (0, 1, 2):
        pair = [network(IMAGES).groups[index].square().sum(1).flatten(1) for network in (student.network, frozen)]
        one, other = (maps / maps.norm(dim=1, keepdim=True) for maps in pair)
        total += (one - other).square().mean().item()
    assert found == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=[pytest.mark.compiler, pytest.mark.slow])])
def test_layers_can_be_paired_by_name(compiled, frozen):
    """The paper pairs every block where depths agree; any layer inside a block can be named as well.

    The teacher's batch norms must not be folded then: the output of `conv0` would be that of the batch norm behind it.
    """
    pairs = (("group0.block0.conv0", "group0.block0.conv0"), ("group1", "group1.block0"))
    student = prepared(ActivationTransfer(layers=pairs))
    taught = TeacherBatch(Teacher(frozen, "wrn-10-2", "fp32", compiled, [other for _, other in pairs]), IMAGES, LABELS)
    found = term_value(student.run.terms[0], student.see(IMAGES, LABELS, PLAIN), taught).item()

    total = 0.0
    for layer in ("inside", "group1"):
        maps = []
        for network in (student.network, frozen):
            low = network.conv0(IMAGES)
            inside = network.group0.block0.conv0(F.relu(network.group0.block0.bn0(low)))
            activations = inside if layer == "inside" else network.group1(network.group0(low))
            maps.append(F.normalize(activations.square().sum(1).flatten(1)))
        total += (maps[0] - maps[1]).square().mean().item()
    assert found == pytest.approx(total, rel=1e-4)
    assert [len(group) for group in taught.output.groups] == [4, 4, 4]


def test_table_3_compares_what_the_convolutions_return():
    """Signed outputs of both: a ReLU behind the student's would leave a half of them, as would one of the teacher's."""
    ends = (("block0.conv2", "block0"), ("block1.conv2", "block1"), ("block2.conv1", "block2"))
    taught_by = networks.build("nin-wide-norelu", 10, torch.Generator().manual_seed(5)).eval().requires_grad_(False)
    run = Run("nin-thin-nobn", epochs=10, terms=(ActivationTransfer(layers=ends),), teacher=Run("nin-wide-norelu", 1))
    student = Student(checks.validate(run), 10, torch.device("cpu"), "fp32")
    taught = TeacherBatch(
        Teacher(taught_by, "nin-wide-norelu", "fp32", False, [other for _, other in ends]), IMAGES, LABELS
    )
    found = term_value(run.terms[0], student.see(IMAGES, LABELS, PLAIN), taught).item()

    total, inputs = 0.0, [IMAGES, IMAGES]
    pools = (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), None)
    for name, pool in zip(("block0", "block1", "block2"), pools, strict=True):
        own, other = (network.get_submodule(name) for network in (student.network, taught_by))
        signed = [own[:-1](inputs[0]), other(inputs[1])]  # all but the student's last ReLU
        assert all(side.min() < 0 for side in signed)
        one, two = (F.normalize(side.square().sum(1).flatten(1)) for side in signed)
        total += (one - two).square().mean().item()
        inputs = [pool(F.relu(signed[0])), pool(signed[1])] if pool else None
    assert found == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("groups", [None, (2,)])
def test_full_activation_transfer_goes_through_the_adapters(groups, frozen):
    found, student = value(FullActivation(groups=groups), frozen)
    total = 0.0
    for adapter, index in zip(student.adapters, groups or (0, 1, 2), strict=True):
        own = adapter(student.network(IMAGES).groups[index])
        other = frozen(IMAGES).groups[index]
        assert own.shape == other.shape
        one, two = (a.flatten(1) / a.flatten(1).norm(dim=1, keepdim=True) for a in (own, other))
        total += ((one - two).square().sum(1) / other[0, 0].numel()).mean().item()
    assert found == pytest.approx(total, rel=1e-4)


def test_distillation_is_the_softened_divergence(frozen):
    found, student = value(Distillation(temperature=3.0), frozen)
    p = F.softmax(frozen(IMAGES).logits / 3, 1)
    q = F.softmax(student.network(IMAGES).logits / 3, 1)
    assert found == pytest.approx((9 * (p * (p / q).log()).sum(1).mean()).item(), rel=1e-4)


def test_what_a_teacher_says_is_computed_once_for_all_students(frozen):
    """Maps of the same mapping and softened logits of the same temperature: a second student gets the same tensors."""
    taught = TeacherBatch(Teacher(frozen, "wrn-10-2", "fp32", False), IMAGES, LABELS)
    layers = ("group0", "group2")
    for one, other in zip(taught.maps("sum-2", layers), taught.maps("sum-2", layers), strict=True):
        assert one is other
    assert taught.maps("max-1", layers)[0] is not taught.maps("sum-2", layers)[0]
    assert taught.log_probabilities(4.0) is taught.log_probabilities(4.0)
    assert taught.log_probabilities(4.0) is not taught.log_probabilities(1.0)


def test_gradient_transfer_takes_both_gradients_at_the_labels(frozen):
    found, student = value(GradientTransfer(beta=1.0), frozen)
    difference = gradients(student.network, IMAGES, LABELS) - gradients(frozen, IMAGES, LABELS)
    assert found == pytest.approx(0.5 * norms(difference).mean().item(), rel=1e-3)


def test_min_l2_is_the_norm_of_the_students_gradient(frozen):
    found, student = value(MinL2(beta=1.0), frozen)
    assert found == pytest.approx(0.5 * norms(gradients(student.network, IMAGES, LABELS)).mean().item(), rel=1e-3)


def test_symmetry_compares_with_the_gradient_of_the_mirror_image_mirrored(frozen):
    """The same label on both, the gradient of the mirror image flipped back, batch statistics over both halves."""
    found, student = value(SymmetryNorm(beta=1.0), frozen)
    both = gradients(student.network, torch.cat([IMAGES, IMAGES.flip(-1)]), torch.cat([LABELS, LABELS]))
    assert found == pytest.approx(0.5 * norms(both[:4] - both[4:].flip(-1)).mean().item(), rel=1e-3)


def test_weights_and_decay_of_the_documented_defaults():
    """They are part of a run's identity, and the book says which schedule a term follows."""
    defaults = {FullActivation(): ("linear", 1000.0), ActivationTransfer(): ("constant", 1000.0)}
    assert all((term.decay, term.weight) == expected for term, expected in defaults.items())
    student = prepared(FullActivation())
    assert student.begin_epoch() == (0.1, 1.0, [1000.0])
    student.epoch = 5
    assert student.begin_epoch() == (pytest.approx(0.1 * 0.2), 1.0, [500.0])
    distilled = prepared(Distillation())
    assert distilled.begin_epoch() == (0.1, pytest.approx(0.1), [0.9])


@pytest.mark.parametrize("kind", [ActivationTransfer, FullActivation])
def test_a_weight_that_falls_by_steps_follows_the_learning_rate(kind):
    """The paper's schedule over ten epochs: both fall to a fifth after the third, the sixth and the eighth."""
    student = prepared(kind(beta=50.0, decay="step"))
    begun = []
    for student.epoch in range(10):
        begun.append((student.begin_epoch(), student.optimizer.param_groups[0]["lr"]))
    factors = [1, 1, 1, 0.2, 0.2, 0.2, 0.04, 0.04, 0.008, 0.008]
    assert [settings.share for settings, _ in begun] == [1.0] * 10
    assert [weight for (_, _, (weight,)), _ in begun] == pytest.approx([50 * factor for factor in factors])
    assert [rate for _, rate in begun] == pytest.approx([0.1 * factor for factor in factors])
    assert [settings.learning_rate for settings, _ in begun] == [rate for _, rate in begun]


def test_a_share_that_falls_by_steps_is_given_back_to_the_task_loss():
    """Else the loss as a whole would fade with the term of knowledge distillation."""
    student = prepared(Distillation(decay="step"))
    begun = []
    for student.epoch in (0, 3, 6):
        _, share, (weight,) = student.begin_epoch()
        begun += [share, weight]
    assert begun == pytest.approx([0.1, 0.9, 0.82, 0.18, 0.964, 0.036])
