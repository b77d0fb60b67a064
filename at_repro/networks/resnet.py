"""torchvision's residual networks for larger images, with their groups, and its ImageNet weights."""

import os
from pickle import UnpicklingError

import torch
import torchvision.models.resnet as tv
from torch import Tensor
from torchvision.models import get_model_weights

from at_repro.errors import DataError
from at_repro.networks.output import Output

_STRUCTURES = {
    "resnet18": (tv.BasicBlock, [2, 2, 2, 2]),
    "resnet34": (tv.BasicBlock, [3, 4, 6, 3]),
    "resnet101": (tv.Bottleneck, [3, 4, 23, 3]),
}

NAMES = tuple(_STRUCTURES)

HUB_ERRORS = (OSError, RuntimeError, EOFError, UnpicklingError)
"""No connection; a download that does not have the hash in its name; a file in the cache that holds something else."""


class ResNet(tv.ResNet):
    """torchvision's network, weights and names of parameters included, which also returns `layer1` to `layer4`.

    The groups are taken after the last ReLU of each layer, so they are not negative.

    Args:
        name: "resnet18", "resnet34" or "resnet101".
        num_classes: number of logits.

    Shape:
        Images (N, 3, H, W) to an Output whose groups have resolutions H/4, H/8, H/16 and H/32 (rounded up) and 64, 128,
        256 and 512 channels, four times as many for ResNet-101.
    """

    def __init__(self, name: str, num_classes: int):
        super().__init__(*_STRUCTURES[name], num_classes=num_classes)

    def forward(self, images: Tensor) -> Output:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        groups = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            groups.append(x)
        return Output(self.fc(x.mean((2, 3))), tuple(groups))


def weights(name: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights (IMAGENET1K_V1, 1000 classes) of one of NAMES, from torch's cache or downloaded.

    By the names of `state_dict()`, on the CPU.

    Raises:
        DataError: they are not in the cache and cannot be downloaded, or are damaged. Only a download is compared with
            its hash; a file that is in the cache is taken for what its name says.
    """
    # Not torchvision's later, better recipe: ResNet-101's 77.4 % top-1 is the network of the paper (77.3 %), the later
    # recipe's 81.9 % is not.
    source = get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return source.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except HUB_ERRORS as error:
        reason = str(error).partition("\n")[0]
        cache = os.path.join(torch.hub.get_dir(), "checkpoints")
        raise DataError(f"{name}: no weights ({reason}); put {source.url} into {cache} by other means") from error
