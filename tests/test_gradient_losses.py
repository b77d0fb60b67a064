"""Terms on the input gradient, and their gradient in the parameters: two derivations that must agree."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reverse_over_forward import gradient_penalty
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from at_repro import networks
from at_repro.attention import input_gradient
from at_repro.errors import ParameterError
from at_repro.losses import gradient_transfer, min_l2, symmetry

LABELS = torch.tensor([0, 1, 2, 3])
SHAPES = st.tuples(*(st.integers(1, largest) for largest in (3, 3, 4, 4)))
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])


def random(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_gradients_in_float16_are_subtracted_in_float32():
    """Their difference may be larger than what float16 holds."""
    high, low = torch.full((1, 1, 1, 1), 6e4).half(), torch.full((1, 1, 1, 1), -6e4).half()
    assert gradient_transfer(high, low).item() == symmetry(high, low).item() == 60_000


def small_network(batch_norm=True, dtype=torch.float64, nonlinearity=nn.Softplus):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d if batch_norm else nn.Identity
    layers = [nn.Conv2d(3, 4, 3, padding=1), norm(4), nonlinearity(), nn.Conv2d(4, 6, 3, stride=2), norm(6)]
    return nn.Sequential(*layers, nonlinearity(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6, 4)).to(dtype)


def losses_of(network):
    return lambda images: F.cross_entropy(network(images), LABELS[: len(images)], reduction="none")


PENALTIES = {
    "min-l2": min_l2,
    "gradient AT": lambda j: gradient_transfer(j, random(j.shape, 9, j.dtype).mul(0.01)),
    "symmetry": lambda j: symmetry(*j.chunk(2)),
}


def reverse_over_reverse(network, images, penalty):
    images = images.clone().requires_grad_()
    value = penalty(input_gradient(losses_of(network)(images), images, create_graph=True))
    return value.detach(), parameter_gradients(value, network)


def parameter_gradients(value, network):
    gradients = torch.autograd.grad(value, list(network.parameters()), materialize_grads=True)
    return torch.cat([g.flatten() for g in gradients])


def relative_difference(one, other):
    return ((one - other).norm() / other.norm()).item()


def test_gradient_terms_by_hand():
    # Per sample: differences (3, 4) and (0, 0), lengths 5 and 0; half their mean is 1.25.
    one, other = torch.tensor([[[[4.0, 6.0]]], [[[1.0, 1.0]]]]), torch.tensor([[[[1.0, 2.0]]], [[[1.0, 1.0]]]])
    torch.testing.assert_close(gradient_transfer(one, other), torch.tensor(1.25))
    torch.testing.assert_close(symmetry(one, other.flip(-1)), torch.tensor(1.25))
    torch.testing.assert_close(min_l2(one), torch.tensor((math.sqrt(52) + math.sqrt(2)) / 4))


def test_unequal_gradients_are_refused():
    for term in (gradient_transfer, symmetry):
        with pytest.raises(ParameterError, match=r"^gradients: .*\(2, 3, 4, 4\) and \(1, 3, 4, 4\)"):
            term(torch.ones(2, 3, 4, 4), torch.ones(1, 3, 4, 4))


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_gradient_terms_have_the_right_derivatives(check):
    one, other = random((2, 3, 2, 2), 1).requires_grad_(), random((2, 3, 2, 2), 2).requires_grad_()
    assert check(gradient_transfer, (one, other)) and check(symmetry, (one, other)) and check(min_l2, one)


@settings(max_examples=30, deadline=None)
@given(SHAPES, DTYPES, st.sampled_from([1e-6, 1.0, 6e4]))
def test_gradient_terms_are_finite_and_safe_at_zero(shape, dtype, scale):
    """A confident sample has a gradient of exactly 0, where the unsquared norm has no derivative."""
    gradient = random(shape).clamp(-1, 1).mul(scale).to(dtype).requires_grad_()
    value = gradient_transfer(gradient, gradient.detach())
    (at_zero,) = torch.autograd.grad(value, gradient)
    assert value == 0 and torch.equal(at_zero, torch.zeros_like(at_zero))
    size = min_l2(gradient)
    (slope,) = torch.autograd.grad(size, gradient)
    assert size.dtype == torch.float32 and size.isfinite() and slope.isfinite().all()
    torch.testing.assert_close(size.double(), gradient.double().flatten(1).norm(dim=1).mean() / 2, rtol=1e-4, atol=0)


def test_gradients_too_small_to_be_squared_still_count():
    small = torch.full((1, 1, 2, 2), 1e-19, requires_grad=True)  # float32 holds 1e-38, the square, with fewer digits
    value = min_l2(small)
    value.backward()
    torch.testing.assert_close(value.item(), 1e-19, rtol=1e-6, atol=0)
    torch.testing.assert_close(small.grad, torch.full((1, 1, 2, 2), 0.25))


def test_symmetry_is_zero_for_a_network_that_does_not_see_flips():
    class Mirrored(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, images):
            return self.network(images) + self.network(images.flip(-1))

    images = random((2, 3, 8, 8))
    both = torch.cat([images, images.flip(-1)]).requires_grad_()
    labels = torch.tensor([0, 1, 0, 1])
    for network, zero in ((Mirrored(small_network(False)), True), (small_network(False), False)):
        gradient = input_gradient(F.cross_entropy(network(both), labels, reduction="none"), both, create_graph=True)
        value = symmetry(*gradient.chunk(2))
        assert (value < 1e-15) == zero
        assert parameter_gradients(value, network).isfinite().all()


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("name", PENALTIES)
def test_both_derivations_of_a_penalty_agree(name, batch_norm):
    """With batch norm in training mode J and its derivative go through the statistics of the batch as well."""
    for dtype, nonlinearity, tolerance in ((torch.float32, nn.Softplus, 1e-5), (torch.float64, nn.ReLU, 1e-12)):
        network = small_network(batch_norm, dtype, nonlinearity)
        images = random((4, 3, 8, 8), dtype=dtype)
        value, gradients = reverse_over_reverse(network, images, PENALTIES[name])
        other = gradient_penalty(losses_of(network), images, PENALTIES[name], network)
        torch.testing.assert_close(other.detach(), value)
        assert relative_difference(parameter_gradients(other, network), gradients) < tolerance


@pytest.mark.parametrize("network", ["wrn-10-1", "nin-thin", "nin-thin-nobn"])
@pytest.mark.parametrize("name", PENALTIES)
def test_both_derivations_of_a_penalty_agree_on_the_networks_that_are_trained(name, network):
    """Strides, shortcuts, both kinds of pooling and batch norm in one graph; every parameter by itself."""
    network = networks.build(network, 4, torch.Generator().manual_seed(0)).double()
    losses = losses_of(lambda images: network(images).logits)
    images = random((2, 3, 16, 16))
    leaf = images.clone().requires_grad_()
    value = PENALTIES[name](input_gradient(losses(leaf), leaf, create_graph=True))
    other = gradient_penalty(losses, images, PENALTIES[name], network)
    torch.testing.assert_close(other.detach(), value.detach(), rtol=1e-10, atol=0)
    found, expected = (
        torch.autograd.grad(one, list(network.parameters()), materialize_grads=True) for one in (value, other)
    )
    largest = max(one.norm() for one in expected)
    assert largest > 1e-3
    for (parameter, _), one, two in zip(network.named_parameters(), found, expected, strict=True):
        assert (one - two).norm() <= 1e-9 * two.norm() + 1e-14 * largest, parameter


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_of_the_input_gradient_has_the_right_derivatives_in_the_weights(name, batch_norm):
    """The whole way of a training step, each weight moved by itself: losses, J with its graph, penalty.

    Nothing trains on the derivative after that. It is right all the same, but for torch's fused batch norm, whose third
    derivative (torch 2.13) takes the statistics of the batch as constants.
    """
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2) if batch_norm else nn.Identity()
    layers = [nn.Conv2d(1, 2, 2), norm, nn.Softplus(), nn.Flatten(), nn.Linear(8, 4)]
    network, images = nn.Sequential(*layers).double(), random((2, 1, 3, 3)).requires_grad_()

    def of_weights(*weights):
        values = dict(zip(dict(network.named_parameters()), weights, strict=True))
        losses = losses_of(lambda x: torch.func.functional_call(network, values, x))(images)
        return PENALTIES[name](input_gradient(losses, images, create_graph=True))

    weights = [p.detach().clone().requires_grad_() for p in network.parameters()]
    assert gradcheck(of_weights, weights)
    assert batch_norm or gradgradcheck(of_weights, weights)
