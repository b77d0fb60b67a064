"""What fine-tuning starts from and leaves alone: ImageNet weights, frozen groups, fixed batch norms."""

import torch
from torch import nn

from at_repro.networks import imagenet
from at_repro.networks.initialise import seeded_from
from at_repro.networks.registry import group_layers


def load_pretrained_(network: nn.Module, name: str, generator: torch.Generator) -> None:
    """Gives a network the ImageNet weights of its name, and a new last layer for its own classes.

    That layer is drawn as torch draws linear layers, uniformly up to the root of 1 / inputs. EfficientNet's own draw,
    up to the root of 1 / classes, is five times as large for 50 classes: its first gradients ruin what was learnt.

    Args:
        network: what `build` made for `name`, on the CPU; its last layer is `fc`.
        generator: where the last layer comes from.

    Raises:
        ParameterError, DataError: as `imagenet.pretrained`.
    """
    weights = imagenet.pretrained(name).state_dict()
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
        The batch norms whose statistics have to stay as well: those to keep in evaluation mode during training.
    """
    frozen: list[nn.Module] = []
    if groups:
        last = group_layers(name)[groups - 1]
        children = list(network.named_children())
        end = [child for child, _ in children].index(last)
        frozen += [module for _, child in children[: end + 1] for module in child.modules()]
    if norms:
        frozen += [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in frozen:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    return [module for module in dict.fromkeys(frozen) if isinstance(module, nn.BatchNorm2d)]
