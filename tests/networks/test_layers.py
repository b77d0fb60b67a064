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


def test_a_model_without_maps_is_refused():
    with pytest.raises(ParameterError, match=r"^layers: .*none of the model's layers returned a map"):
        networks.choose_layers(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)), IMAGES)
