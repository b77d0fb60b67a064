"""Wide residual networks with pre-activation basic blocks, as in the authors' public code (`cifar.py`)."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from at_repro.errors import ParameterError
from at_repro.networks.initialise import initialise_
from at_repro.networks.output import Output


class WideResNet(nn.Module):
    """WRN-{depth}-{widen}: a 3x3 convolution to 16 channels, three groups of blocks, batch norm, ReLU, mean, linear.

    The groups are 16, 32 and 64 times `widen` channels wide, have strides 1, 2 and 2, and hold (depth - 4) / 6 blocks
    each. The groups of the output are the sums at the end of each group, *before* the next batch norm and ReLU, so they
    are signed.

    The names in `state_dict()` are those of the public code, which lacks the `.weight` of convolutions and the counts
    of batches. Weights are drawn as there, from torch's default generator; `networks.build` takes a generator.

    Args:
        depth: number of layers with weights, 6 n + 4 for n >= 1.
        widen: factor on the widths of the groups, 1 or more.
        num_classes: number of logits.

    Shape:
        Images (N, 3, H, W), H and W at least 8 and divisible by 4, to an Output whose groups are (N, 16 k, H, W),
        (N, 32 k, H/2, W/2) and (N, 64 k, H/4, W/4), with k = widen.

    Raises:
        ParameterError: the depth is not 6 n + 4, or `widen` is less than 1.
    """

    def __init__(self, depth: int, widen: int, num_classes: int):
        if depth < 10 or (depth - 4) % 6:
            raise ParameterError("depth", depth, "6 n + 4 with n >= 1: 10, 16, 22, 28, 34, 40, ...")
        if widen < 1:
            raise ParameterError("widen", widen, "1 or more")
        super().__init__()
        blocks = (depth - 4) // 6
        low, middle, top = 16 * widen, 32 * widen, 64 * widen
        self.conv0 = _conv(3, 16, 3)
        self.group0 = _group(16, low, blocks, stride=1)
        self.group1 = _group(low, middle, blocks, stride=2)
        self.group2 = _group(middle, top, blocks, stride=2)
        self.bn = nn.BatchNorm2d(top)
        self.fc = nn.Linear(top, num_classes)
        initialise_(self)

    def forward(self, images: Tensor) -> Output:
        low = self.group0(self.conv0(images))
        middle = self.group1(low)
        top = self.group2(middle)
        features = F.relu(self.bn(top)).mean((2, 3))
        return Output(self.fc(features), (low, middle, top))


class Block(nn.Module):
    """A pre-activation basic block: batch norm, ReLU and convolution, twice, added to the shortcut.

    The shortcut is the input itself; where the width changes it is a 1x1 convolution of the *activated* input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(inputs)
        self.conv0 = _conv(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv1 = _conv(outputs, outputs, 3)
        self.convdim = _conv(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        activation = F.relu(self.bn0(x))
        residual = self.conv1(F.relu(self.bn1(self.conv0(activation))))
        shortcut = x if self.convdim is None else self.convdim(activation)
        return residual + shortcut


def _group(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    """The blocks of one group, named block0, block1, ...; only the first one changes the width and the size."""
    first = Block(inputs, outputs, stride)
    rest = [Block(outputs, outputs, stride=1) for _ in range(1, blocks)]
    return nn.Sequential(OrderedDict((f"block{i}", block) for i, block in enumerate([first, *rest])))


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
