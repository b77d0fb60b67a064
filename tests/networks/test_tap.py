"""Any module as a network, by the names of its layers."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from at_repro import networks
from at_repro.errors import ParameterError

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    return torchvision.models.mobilenet_v3_small(num_classes=4).eval()


def test_groups_are_the_outputs_of_the_named_layers(model):
    layers = ["features.1", "features.4"]
    output = networks.tap(model, layers)(IMAGES)
    torch.testing.assert_close(output.logits, model(IMAGES))
    torch.testing.assert_close(output.groups[0], model.features[:2](IMAGES))
    torch.testing.assert_close(output.groups[1], model.features[:5](IMAGES))


def test_groups_can_be_trained_through(model):
    networks.tap(model, ["features.1"])(IMAGES).groups[0].sum().backward()
    assert model.features[0][0].weight.grad is not None
    assert model.features[4].block[0][0].weight.grad is None


def test_the_model_itself_still_works_and_keeps_nothing(model):
    tapped = networks.tap(model, ["features.1"])
    assert model(IMAGES).shape == (2, 4)
    assert len(tapped(IMAGES).groups) == 1


def test_state_modes_and_copies(model):
    tapped = networks.tap(model, ["features.4"])
    assert not tapped.model.training and tapped.train().model.training
    tapped.eval()
    double = copy.deepcopy(tapped)
    with torch.no_grad():
        model.features[0][0].weight.zero_()
    assert not torch.equal(double(IMAGES).groups[0], tapped(IMAGES).groups[0])
    double.load_state_dict(tapped.state_dict())
    assert torch.equal(double(IMAGES).groups[0], tapped(IMAGES).groups[0])
    assert double.double()(IMAGES.double()).groups[0].dtype == torch.float64


def test_can_be_compiled_in_one_graph(model):
    tapped = networks.tap(model, ["features.4"])
    compiled = torch.compile(tapped, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(compiled(IMAGES), tapped(IMAGES), rtol=1e-4, atol=1e-5)


def test_inner_layers_of_our_own_networks():
    network = networks.build("wrn-10-1").eval()
    output = networks.tap(network, ["conv0", "group0"])(IMAGES)
    expected = network(IMAGES)
    assert torch.equal(output.logits, expected.logits)
    assert torch.equal(output.groups[1], expected.groups[0])


@pytest.mark.parametrize("layer", ["features.0", "features.2"])
def test_a_layer_that_is_overwritten_in_place_is_seen_as_it_was(layer):
    """VGG rectifies in place: without a copy the map would be that of the ReLU behind the layer."""
    model = torchvision.models.vgg11().eval()
    expected = IMAGES
    for module in model.features[: int(layer.split(".")[1]) + 1]:
        expected = module(expected)
    expected = expected.clone()
    found = networks.tap(model, [layer])(IMAGES).groups[0]
    torch.testing.assert_close(found, expected)
    if layer == "features.0":
        assert found.min() < 0


def test_a_residual_branch_is_seen_without_its_shortcut():
    network = networks.build("resnet18").eval()
    inner, block = networks.tap(network, ["layer1.0.bn2", "layer1.0"])(IMAGES).groups
    assert inner.min() < 0 and not torch.equal(inner, block)


def test_a_layer_is_named_once(model):
    with pytest.raises(ParameterError, match=r"^layers: .*every name once"):
        networks.tap(model, ["features.1", "features.1"])


def test_unknown_layers_are_refused_with_names_that_are_near(model):
    with pytest.raises(ParameterError, match=r"^layers: 'feature\.4' .*features\.4"):
        networks.tap(model, ["feature.4"])
    with pytest.raises(ParameterError, match=r"features, avgpool, classifier$"):
        networks.tap(model, ["?"])


@pytest.mark.parametrize("layers", [[], "features"])
def test_layers_must_be_a_list(model, layers):
    with pytest.raises(ParameterError, match=r"^layers: "):
        networks.tap(model, layers)


def test_a_layer_must_return_a_map(model):
    with pytest.raises(ParameterError, match=r"classifier\.0.*\(2, 1024\)"):
        networks.tap(model, ["classifier.0"])(IMAGES)


def test_a_layer_must_run_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.idle = nn.ReLU()

        def forward(self, images):
            return self.conv(self.conv(images)).mean((2, 3))

    for layer, times in ("conv", 2), ("idle", 0):
        with pytest.raises(ParameterError, match=f"{layer}.*ran {times} times"):
            networks.tap(Twice(), [layer])(IMAGES)
