"""A network that attends as a test says."""

from types import SimpleNamespace

import torch
from torch import nn


class Fixed(nn.Module):
    """A network whose groups are given: maps (H, W) that are the same for every image."""

    def __init__(self, *maps: torch.Tensor):
        super().__init__()
        self.fixed = maps

    def forward(self, batch):
        groups = tuple(one.sqrt().expand(len(batch), 1, *one.shape) for one in self.fixed)  # sum-2 gives `one`
        return SimpleNamespace(logits=torch.zeros(len(batch), 10), groups=groups)
