"""The weights of a record: how a network's are stored, and a network that has them again."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from at_repro import networks
from at_repro.data import Images
from at_repro.errors import UserError
from at_repro.records import Record, Store
from at_repro.runs import Run
from at_repro.training import engine


def stored_weights(network: nn.Module) -> dict[str, Tensor]:
    """Weights as a record stores them, on the CPU: float16, except a tensor with a value beyond its range."""
    limit = torch.finfo(torch.float16).max

    def to_storage(value: Tensor) -> Tensor:
        value = value.detach().cpu().contiguous()
        return value.half() if value.is_floating_point() and (value.abs() < limit).all() else value.clone()

    return {name: to_storage(value) for name, value in network.state_dict().items()}


def load_network(store: Store, run: Run, images: Images, device: torch.device) -> nn.Module:
    """The network of a recorded run with its stored weights, frozen, in evaluation mode.

    Args:
        images: any of the run's data set, whose classes are counted.
        device: where the network is put, see `engine.device` for one by the name "auto".

    Raises UserError where the record has no weights here, or those of other classes, or the run diverged.
    """
    return network_of(run, usable(store.load(run)), images, device)


def network_of(run: Run, weights: Mapping[str, Tensor], images: Images, device: torch.device) -> nn.Module:
    """A run's network with these weights, as of `load_network`, diverged or not. Raises UserError for other classes."""
    network = networks.build(run.network, len(images.classes), torch.Generator())  # torch's own one is left alone
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise UserError(
            f"the weights of {run.run_id} are not those of a {run.network} for {len(images.classes)} classes"
        ) from None
    return engine.place(network, device).eval().requires_grad_(False)


def usable(record: Record) -> dict[str, Tensor]:
    """The weights of a record. Raises UserError where it has none here, or diverged."""
    if record.diverged:
        raise UserError(f"run {record.run.run_id} diverged in epoch {record.diverged}: its weights cannot be used")
    return record.weights()
