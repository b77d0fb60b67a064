"""Folding batch norms into convolutions changes how a frozen network computes, not what."""

import pytest
import torch
import torchvision
from torch import nn

from at_repro import networks

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def trained(name):
    """A network whose batch norms are as after training: all four of their tensors are in use."""
    network = networks.build(name, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
                module.momentum = None  # a plain average: statistics that fit after few batches
        for _ in range(2):
            network(torch.rand(4, 3, 32, 32))
    return network


def distance(output, expected):
    """The largest difference of any element, in units of the largest element of its tensor."""
    pairs = zip((output.logits, *output.groups), (expected.logits, *expected.groups), strict=True)
    return max(((one - other).abs().max() / other.abs().max()).item() for one, other in pairs)


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("wrn-16-1", 7),
        ("wrn-16-2", 6),
        ("nin-thin", 0),
        ("nin-thin-norelu", 0),
        ("nin-thin-nobn", 0),
        ("resnet18", 0),
        ("efficientnet-lite0", 0),
    ],
)
def test_same_output_with_fewer_batch_norms(name, left):
    network = trained(name)
    folded = networks.fold_batch_norms(network)
    assert network.training
    assert norms(folded) == left
    # Rounding grows with depth, and EfficientNet has fifty layers; double shows that it is rounding.
    assert distance(folded(IMAGES), network.eval()(IMAGES)) < (1e-4 if name.startswith("efficientnet") else 1e-5)
    exact = networks.fold_batch_norms(network.double())
    assert distance(exact(IMAGES.double()), network(IMAGES.double())) < 1e-12


def test_a_subclass_is_not_traced():
    """Its forward pass may branch, or call what cannot be traced."""

    class Branching(networks.WideResNet):
        def forward(self, images):
            output = super().forward(images)
            return output if output.logits.sum() > 0 else output._replace(logits=-output.logits)

    network = Branching(10, 1, 10).eval()
    folded = networks.fold_batch_norms(network)
    assert distance(folded(IMAGES), network(IMAGES)) == 0
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_the_copy_is_frozen_and_shares_nothing():
    network = trained("wrn-10-1")
    folded = networks.fold_batch_norms(network)
    assert not folded.training
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    before = folded(IMAGES).logits
    with torch.no_grad():
        for tensor in (*network.parameters(), *(buffer for buffer in network.buffers() if buffer.is_floating_point())):
            tensor.zero_()
    assert torch.equal(folded(IMAGES).logits, before)


def test_input_gradients_agree():
    network = trained("wrn-10-1").eval()

    def attention(net):
        images = IMAGES.clone().requires_grad_()
        return torch.autograd.grad(net(images).logits.logsumexp(1).sum(), images)[0]

    torch.testing.assert_close(attention(networks.fold_batch_norms(network)), attention(network), rtol=1e-4, atol=1e-5)


def test_memory_format_is_kept():
    folded = networks.fold_batch_norms(trained("wrn-10-1").to(memory_format=torch.channels_last))
    weights = [parameter for parameter in folded.parameters() if parameter.dim() == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_networks_of_others_are_only_frozen():
    tapped = networks.tap(torchvision.models.resnet18(num_classes=10), ["layer2"])
    folded = networks.fold_batch_norms(tapped)
    assert not folded.training and norms(folded) == norms(tapped)
    torch.testing.assert_close(folded(IMAGES), tapped.eval()(IMAGES))
