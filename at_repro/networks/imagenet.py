"""Networks with ImageNet weights by name, what they call what they see, and the size they see it at."""

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet18_Weights

from at_repro.errors import check_choice
from at_repro.networks import efficientnet, resnet

CATEGORIES: tuple[str, ...] = tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
"""The names of ImageNet's 1000 classes in the order of the logits, from torchvision: of every network here."""

RESOLUTIONS = dict.fromkeys(resnet.NAMES, 224) | efficientnet.RESOLUTIONS
"""By the name of a network with ImageNet weights: the resolution in pixels that it is evaluated at."""


def pretrained(name: str) -> nn.Module:
    """A network with ImageNet weights, 1000 classes: images (N, 3, H, W), normalised with ImageNet's constants.

    Args:
        name: one of `RESOLUTIONS`: a ResNet, see `resnet`, or an EfficientNet-Lite, see `efficientnet`.

    Raises:
        ParameterError: there are no such weights for this name.
        DataError: the weights are not here, cannot be downloaded, or are damaged; the message says what to do.
    """
    check_choice("network", name, RESOLUTIONS)
    return (resnet if name in resnet.NAMES else efficientnet).pretrained(name)


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
