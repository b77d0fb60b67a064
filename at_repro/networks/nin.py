"""Network in network (Lin, Chen & Yan, ICLR 2014) for CIFAR: the paper's NIN-thin and NIN-wide.

The paper gives the sizes (0.2M and 1M parameters) and where batch norm is used, but no definition. The NIN of the
authors' code of wide residual networks (`models/nin.lua`), found after our runs, has one 1x1 convolution more in its
third block, and the mean before its classifier, which is the same. Chosen here:

- Layers and wide widths are those of the usual CIFAR NIN (Lin et al.'s Caffe model, which the first author's earlier
  `cifar.torch` also uses); thin has half of every width.
- Batch norm follows every convolution but the classifier. A convolution has a bias only where no batch norm follows it.
- There is no dropout, with or without batch norm.
- The classifier, a 1x1 convolution to the classes, has no ReLU (both models have one; it can silence a class for good).
- Weights are drawn as in the authors' WRN code.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from at_repro.networks.initialise import initialise_
from at_repro.networks.output import Output

WIDE = ((192, 160, 96), (192, 192, 192), (192, 192))
"""Widths of the convolutions in the three mlpconv blocks; the third block ends with the classifier."""

THIN = tuple(tuple(width // 2 for width in block) for block in WIDE)


class NetworkInNetwork(nn.Module):
    """Three mlpconv blocks, each a 5x5, 5x5 or 3x3 convolution followed by 1x1 ones, and the mean of a 1x1 classifier.

    A 3x3 max-pool with stride 2 follows the first block, a 3x3 average-pool with stride 2 the second. The groups of the
    output are the ends of the three blocks, before pooling and before the classifier's input is rectified.

    Args:
        widths: output channels of every convolution but the classifier, block by block: `WIDE` or `THIN`.
        num_classes: number of logits.
        batch_norm: Table 3's student has none.
        final_relu: False leaves out the ReLU at the end of each block, so that groups are convolution (or batch norm)
            outputs, as for activation transfer in Table 3. The two pooling layers then see signed values. The input of
            the classifier is rectified all the same: right after another linear layer it would add nothing.

    Shape:
        Images (N, 3, H, W), H and W at least 8 and divisible by 4, to an Output whose groups are (N, C1, H, W),
        (N, C2, H/2, W/2) and (N, C3, H/4, W/4).
    """

    def __init__(self, widths: tuple[tuple[int, ...], ...], num_classes: int, batch_norm: bool, final_relu: bool):
        super().__init__()
        low, middle, top = widths
        self.block0 = _mlpconv(3, low, 5, batch_norm, final_relu)
        self.block1 = _mlpconv(low[-1], middle, 5, batch_norm, final_relu)
        self.block2 = _mlpconv(middle[-1], top, 3, batch_norm, final_relu)
        self.classifier = nn.Conv2d(top[-1], num_classes, 1)
        initialise_(self)

    def forward(self, images: Tensor) -> Output:
        low = self.block0(images)
        middle = self.block1(F.max_pool2d(low, 3, 2, ceil_mode=True))
        top = self.block2(F.avg_pool2d(middle, 3, 2, ceil_mode=True))
        logits = self.classifier(F.relu(top)).mean((2, 3))  # relu: changes nothing if the block has ended with one
        return Output(logits, (low, middle, top))


def _mlpconv(inputs: int, widths: tuple[int, ...], size: int, batch_norm: bool, final_relu: bool) -> nn.Sequential:
    """One convolution of the given size, then 1x1 convolutions; each with its batch norm and ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, outputs in enumerate(widths):
        layers[f"conv{i}"] = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=not batch_norm)
        if batch_norm:
            layers[f"bn{i}"] = nn.BatchNorm2d(outputs)
        if final_relu or i < len(widths) - 1:
            layers[f"relu{i}"] = nn.ReLU()
        inputs, size = outputs, 1
    return nn.Sequential(layers)
