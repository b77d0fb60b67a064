"""The initialisation of the authors' public code (`utils.py`), and where its random numbers come from."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def initialise_(network: nn.Module) -> None:
    """Draw the weights of `network` in place, as the authors' public code does (its first version: sqrt(2) wider).

    Convolutions and linear layers: Kaiming normal, fan-in, gain sqrt(2), biases 0. Batch norms: weight from U[0, 1),
    bias 0. The numbers come from torch's default generator: see `seeded_from`.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)  # its defaults are the public code's: fan-in, gain sqrt(2)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@contextmanager
def seeded_from(generator: torch.Generator | None) -> Iterator[None]:
    """Inside, torch's default CPU generator is seeded by one draw from `generator`; afterwards it is as it was before.

    So layers that can only draw from the default generator, torchvision's for example, still depend on `generator`
    alone, and building a network does not shift the random numbers of anything else. With None the seed is drawn from
    the default generator itself, which moves on by that one draw.
    """
    source = torch.default_generator if generator is None else generator
    seed = int(torch.randint(2**63 - 1, (), generator=source, device=source.device))
    with seeded(seed):
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's default CPU generator has this seed; afterwards it is as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
