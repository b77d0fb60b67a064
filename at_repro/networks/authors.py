"""The parameter dictionaries of the authors' public code, read into our WRN and written back.

There a network is a flat dictionary of tensors: `conv0`, `group0.block0.bn0.weight`, `group1.block0.convdim`, `fc.bias`
and so on. Saved files hold it as `{"params": ...}`; older ones keep the running statistics apart, under "stats".
"""

import os
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from at_repro.errors import DataError
from at_repro.networks.registry import build
from at_repro.networks.wrn import WideResNet

_CONVOLUTION = re.compile(r"(.*\bconv[a-z0-9]+)\.weight")
_BLOCK = re.compile(r"group0\.(block[0-9]+)\..+")


def from_authors(params: Mapping) -> WideResNet:
    """The WRN that a dictionary of the public code describes, on the CPU in float32 and in training mode.

    Args:
        params: names to tensors, or a saved file's `{"params": ...}`, with "stats" beside it in older files. Depth,
            width and number of classes are found from names and shapes. The new network shares no memory with them.

    Raises:
        DataError: names are missing or unknown, or tensors have the wrong shape; the message lists all of them.
    """
    if "params" in params:
        parts = [params["params"], params.get("stats", {})]
        if not all(isinstance(part, Mapping) for part in parts):
            raise DataError("not the parameters of a WRN of the authors' code; params and stats are no dictionaries")
        params = {**parts[0], **parts[1]}
    network = build(*_structure(params), generator=torch.Generator())
    assert isinstance(network, WideResNet)  # by its name
    expected = to_authors(network)
    common = expected.keys() & params.keys()
    faults = {
        "missing": expected.keys() - params.keys(),
        "unknown": params.keys() - expected.keys(),
        "wrong shape": {name for name in common if _shape(params[name]) != expected[name].shape},
    }
    if any(faults.values()):
        listed = [f"{fault}: {', '.join(sorted(map(str, names)))}" for fault, names in faults.items() if names]
        raise DataError(f"not the parameters of a WRN of the authors' code; {'; '.join(listed)}")
    state = {name: params[theirs] for name, theirs in _names(network).items()}
    network.load_state_dict(state, strict=False)  # not strict: the public code does not count batches
    return network


def to_authors(network: WideResNet) -> dict[str, Tensor]:
    """The flat dictionary of the public code, running statistics included: copies on the CPU.

    `torch.save({"params": to_authors(network)}, path)` writes a file as the public code does.
    """
    state = network.state_dict()
    return {theirs: state[name].detach().cpu().clone() for name, theirs in _names(network).items()}


def load_authors(path: str | os.PathLike) -> WideResNet:
    """The network in a file that the public code saved. Only tensors and plain containers are read, never code.

    Raises:
        DataError: there is no such file, it holds anything else, or what `from_authors` finds wrong.
    """
    path = os.fspath(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise DataError(f"{path}: damaged, or holds more than tensors and plain containers") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: holds a {type(content).__name__}, not a dictionary of parameters")
    return from_authors(content)


def _structure(params: Mapping) -> tuple[str, int]:
    """The network's name and number of classes. Only a guess if `params` are faulty: `from_authors` compares all."""
    blocks = {match[1] for name in params if (match := _BLOCK.fullmatch(str(name)))}
    last_layer = _shape(params.get("fc.weight"))
    if not blocks or len(last_layer) != 2 or last_layer[1] < 64:
        raise DataError(
            "not the parameters of a WRN of the authors' code; it needs group0.block0 and fc.weight (K, 64 k)"
        )
    return f"wrn-{6 * len(blocks) + 4}-{last_layer[1] // 64}", last_layer[0]


def _names(network: WideResNet) -> dict[str, str]:
    """Our names of parameters and running statistics to the public code's."""
    ours = (name for name in network.state_dict() if not name.endswith("num_batches_tracked"))
    return {name: match[1] if (match := _CONVOLUTION.fullmatch(name)) else name for name in ours}


def _shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()
