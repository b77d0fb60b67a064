"""Layers chosen where nobody named them."""

import pytest
import torch
import torchvision
from torch import nn

from at_repro import networks
from at_repro.errors import ParameterError

IMAGES = torch.zeros(2, 3, 64, 64)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ["layer1", "layer2", "layer4"]),
        ("mobilenet_v3_small", ["features.1", "features.3", "features"]),
        ("swin_t", ["features.1", "features.5", "permute"]),
        ("densenet121", ["features.denseblock1", "features.denseblock2", "features"]),
    ],
)
def test_models_of_torchvision(name, layers):
    """The outputs of whole stages, not of a layer inside the next one."""
    model = getattr(torchvision.models, name)().eval()
    assert networks.choose_layers(model, IMAGES) == layers
    networks.tap(model, layers)(IMAGES)


def test_a_transformer_of_one_resolution_is_seen_at_a_third_two_thirds_and_the_end():
    model = torchvision.models.VisionTransformer(64, 16, 6, 2, 32, 64).eval()
    assert networks.choose_layers(model, IMAGES) == [f"encoder.layers.encoder_layer_{index}" for index in (1, 3, 5)]


def test_few_blocks_are_not_passed_over_for_the_layers_within_one():
    """Of which each has five."""
    model = torchvision.models.VisionTransformer(64, 16, 4, 2, 32, 64).eval()
    assert networks.choose_layers(model, IMAGES) == [f"encoder.layers.encoder_layer_{index}" for index in (0, 2, 3)]


def test_a_grid_and_a_layout_that_are_given_are_those_of_the_layers():
    """Patches of 32 x 8 pixels are 2 x 8, which as 16 tokens would be taken for 4 x 4."""
    tokens = nn.Sequential(nn.Conv2d(3, 16, (32, 8), (32, 8)), nn.Flatten(2), nn.Linear(16, 16), nn.Linear(16, 16))
    assert networks.choose_layers(tokens, IMAGES) == ["3", "0"]
    assert networks.choose_layers(tokens, IMAGES, grid=(2, 8)) == ["0", "2", "3"]

    to_last = torchvision.ops.Permute([0, 2, 3, 1])
    channels = nn.Sequential(nn.Conv2d(3, 16, 4, 4), to_last, nn.LayerNorm(16), nn.Flatten(), nn.Linear(4096, 3))
    with pytest.raises(ParameterError, match=r"^layers: .*none of the model's"):  # 16 channels at 16 x 16 positions
        networks.choose_layers(channels, IMAGES)
    assert networks.choose_layers(channels, IMAGES, layout="NHWC")[-1] == "2"
    with pytest.raises(ParameterError, match=r"^layout: 'nhwc' is not allowed; allowed: NCHW, NHWC"):
        networks.choose_layers(channels, IMAGES, layout="nhwc")
    with pytest.raises(ParameterError, match=r"^grid: \(-2, -8\) is not allowed; allowed: height and width"):
        networks.choose_layers(channels, IMAGES, grid=(-2, -8))


def test_layers_of_another_layout_than_is_given_are_passed_over():
    """The first convolution of Swin has its channels first: read as if they were last, it would be a map of 96 x 16."""
    model = torchvision.models.swin_t().eval()
    assert networks.choose_layers(model, IMAGES, layout="NHWC")[:2] == ["features.1", "features.5"]


def test_our_own_networks_are_seen_at_the_ends_of_their_groups():
    network = networks.build("wrn-10-1").eval()
    assert networks.choose_layers(network, IMAGES) == ["group0", "group1", "bn"]


def test_layers_that_run_twice_are_passed_over():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.last = nn.Conv2d(3, 3, 1), nn.AvgPool2d(4)

        def forward(self, images):
            return self.last(self.shared(self.shared(images))).mean((2, 3))

    assert networks.choose_layers(Twice(), IMAGES) == ["last"]


def test_a_model_in_training_is_looked_at_and_left_as_it_was():
    """Batch norms that see the images in training mode would take them into their statistics."""
    model = torchvision.models.resnet18().train()
    model.layer1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    networks.choose_layers(model, torch.rand(2, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and model.layer4.training and not model.layer1.training


def test_a_model_without_maps_is_refused():
    with pytest.raises(ParameterError, match=r"^layers: .*none of the model's layers returned a map"):
        networks.choose_layers(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)), IMAGES)
