"""Networks with ImageNet weights, the size and the classes they see, and what fine-tuning leaves alone of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import ResNet18_Weights

from at_repro.errors import DataError, check_choice
from at_repro.networks import efficientnet, resnet
from at_repro.networks.initialise import seeded_from
from at_repro.networks.registry import build, group_layers, running_order

CATEGORIES: tuple[str, ...] = tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
"""The names of ImageNet's 1000 classes in the order of the logits, from torchvision: of every network here."""

RESOLUTIONS = dict.fromkeys(resnet.NAMES, 224) | efficientnet.RESOLUTIONS
"""By the name of a network with ImageNet weights: the resolution in pixels that it is evaluated at."""


def pretrained(name: str) -> nn.Module:
    """A network with ImageNet weights, 1000 classes: images (N, 3, H, W), normalised with ImageNet's constants.

    On the CPU, in float32 and in training mode: call `eval()` to look at images, or take `imagenet.classifier`.
    To fine-tune on other classes replace its last layer: `network.fc = nn.Linear(network.fc.in_features, num_classes)`.

    Args:
        name: one of `imagenet.RESOLUTIONS`: a ResNet, see `resnet`, or an EfficientNet-Lite, see `efficientnet`.

    Raises:
        ParameterError: there are no such weights for this name.
        DataError: the weights are not here, cannot be downloaded, or are damaged; the message says what to do.
    """
    check_choice("network", name, RESOLUTIONS)
    weights = (resnet if name in resnet.NAMES else efficientnet).weights(name)
    network = build(name, 1000, torch.Generator())  # weights that are overwritten, from a generator that nobody uses
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{name}: no weights (a file in {torch.hub.get_dir()} is another network's: {reason})"
        ) from error
    return network


class ResizeInput(nn.Module):
    """A network that sees every image interpolated bilinearly to squares of one resolution, larger or smaller.

    Args:
        network: any network; it is the attribute `network`.
        resolution: height and width in pixels.

    Shape:
        Normalised images (N, 3, H, W) of any size to what the network makes of (N, 3, resolution, resolution).
    """

    def __init__(self, network: nn.Module, resolution: int):
        super().__init__()
        self.network, self.resolution = network, resolution

    def forward(self, images: Tensor) -> object:
        size = (self.resolution, self.resolution)
        return self.network(F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True))


def classifier(name: str) -> ResizeInput:
    """A network with ImageNet weights as it is evaluated: in evaluation mode, at its own of the `RESOLUTIONS`.

    Raises ParameterError and DataError as `pretrained`, whose network is the attribute `network`.
    """
    return ResizeInput(pretrained(name), RESOLUTIONS[name]).eval()


def load_pretrained_(network: nn.Module, name: str, generator: torch.Generator) -> None:
    """Gives a network the ImageNet weights of its name, and a new last layer for its own classes.

    That layer is drawn as torch draws linear layers, uniformly up to the root of 1 / inputs. EfficientNet's own draw,
    up to the root of 1 / classes, is five times as large for 50 classes: its first gradients ruin what was learnt.

    Args:
        network: what `build` made for `name`, on the CPU; its last layer is `fc`.
        generator: where the last layer comes from.

    Raises:
        ParameterError, DataError: as `pretrained`.
    """
    weights = pretrained(name).state_dict()
    last = network.get_submodule("fc")
    assert isinstance(last, nn.Linear)  # of every network that has ImageNet weights
    with seeded_from(generator):
        last.reset_parameters()
    network.load_state_dict(weights | {f"fc.{key}": value for key, value in last.state_dict().items()})


def freeze_(network: nn.Module, name: str, groups: int, norms: bool) -> list[nn.Module]:
    """Takes parameters out of the training: those up to the end of a group, and of all batch norms.

    Args:
        network: what `build` made for `name`.
        groups: the number of groups, from the first, that keep their weights with everything before them.
        norms: whether batch norms keep theirs.

    Returns:
        The batch norms whose statistics have to stay as well, which are those to keep in evaluation mode in training.
    """
    modules: list[nn.Module] = []
    if groups:
        order = running_order(name)
        end = order.index(group_layers(name)[groups - 1])
        modules += [module for layer in order[: end + 1] for module in network.get_submodule(layer).modules()]
    if norms:
        modules += [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for module in modules:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    return [module for module in dict.fromkeys(modules) if isinstance(module, _BatchNorm)]
