"""The WRN parameters of other code, read into ours and written back as the authors do.

In the authors' public code a network is a flat dictionary of tensors: `conv0`, `group0.block0.bn0.weight`,
`group1.block0.convdim`, `fc.bias` and so on. Saved files hold it as `{"params": ...}`; older ones keep the running
statistics apart, under "stats". Most other PyTorch code, RepDistiller's for example, calls the same layers
`block1.layer.0.conv1` or `block1.nblockLayer.0.conv1`, in a file's `{"model": ...}` or `{"state_dict": ...}`.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from at_repro.errors import DataError, ParameterError
from at_repro.networks.registry import build
from at_repro.networks.wrn import WideResNet

_CONVOLUTION = re.compile(r"(.*\bconv[a-z0-9]+)\.weight")
_BLOCK = re.compile(r"group0\.(block[0-9]+)\..+")
_USUAL_BLOCK = re.compile(r"block([1-3])\.(?:layer|nblockLayer)\.([0-9]+)\.(bn|conv)([12]|Shortcut)(\..+)")
_USUAL_ENDS = {"conv1.weight": "conv0", "bn1.": "bn."}  # before and after the blocks; `fc` is called the same


def from_authors(params: Mapping) -> WideResNet:
    """The WRN that a dictionary of the public code, or of usual PyTorch code, describes.

    Args:
        params: names to tensors, or what a saved file holds, see above. Depth, width and number of classes are found
            from names and shapes. The new network shares no memory with them.

    Returns:
        A network on the CPU in float32 and in training mode.

    Raises:
        DataError: names are missing or unknown, or tensors have the wrong shape or are not of floating-point numbers;
            the message lists all of them.
    """
    params = {_authors_name(name): value for name, value in unwrap(params).items()}
    params.pop("", None)
    name, num_classes = _structure(params)
    try:
        network = build(name, num_classes, torch.Generator())
    except ParameterError as error:  # of what the caller never gave
        raise DataError(f"not the parameters of a WRN; {name} with {num_classes} classes is none") from error
    assert isinstance(network, WideResNet)  # by its name
    reference = to_authors(network)
    common = reference.keys() & params.keys()
    faults = {
        "missing": reference.keys() - params.keys(),
        "unknown": params.keys() - reference.keys(),
        "wrong shape": {name for name in common if _shape(params[name]) != reference[name].shape},
        "not floating-point": {name for name in common if not _is_floating_point(params[name])},
    }
    if any(faults.values()):
        texts = [f"{fault}: {', '.join(sorted(map(str, names)))}" for fault, names in faults.items() if names]
        raise DataError(f"not the parameters of a WRN; {'; '.join(texts)}")
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
    return from_authors(read_file(path))


def read_file(path: str | os.PathLike) -> Mapping:
    """What a file of weights holds, of torch or of safetensors: tensors and plain containers are read, never code.

    Raises:
        DataError: there is no such file, or it holds anything else.
    """
    path = os.fspath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{path} is no file")  # a pipe would be waited for
    try:
        content = load_file(path) if path.endswith(".safetensors") else torch.load(path, "cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise DataError(f"{path}: damaged, or holds more than tensors and plain containers") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: holds a {type(content).__name__}, not a dictionary of parameters")
    return content


def unwrap(content: Mapping) -> dict[str, Any]:
    """The parameters by name in what a file holds: where it says that they are, without the prefix of DataParallel.

    Raises:
        DataError: what it calls so is no dictionary.
    """
    for key in ("params", "model", "state_dict", "model_state_dict"):
        if key in content:
            parts = [content[key], content.get("stats", {})]
            if not all(isinstance(part, Mapping) for part in parts):
                raise DataError(f"not the parameters of a network; {key} and stats are no dictionaries")
            content = {**parts[0], **parts[1]}
            break
    # As nn.DataParallel and torch.compile name them.
    return {re.sub(r"^(module\.|_orig_mod\.)+", "", str(name)): value for name, value in content.items()}


def _authors_name(name: str) -> str:
    """A usual PyTorch name as the authors' code has it; empty for the count of batches, which that does not keep."""
    if name.endswith("num_batches_tracked"):
        return ""
    if block := _USUAL_BLOCK.fullmatch(name):
        group, index, layer, number, rest = block.groups()
        layer += "dim" if number == "Shortcut" else str(int(number) - 1)
        return f"group{int(group) - 1}.block{index}.{layer}{rest if layer.startswith('bn') else ''}"
    for usual, authors in _USUAL_ENDS.items():
        if name.startswith(usual):
            return name.replace(usual, authors, 1)
    return name


def _structure(params: Mapping) -> tuple[str, int]:
    """The network's name and number of classes. Only a guess if `params` are faulty: `from_authors` compares all."""
    blocks = {match[1] for name in params if (match := _BLOCK.fullmatch(str(name)))}
    last_layer = _shape(params.get("fc.weight"))
    if not blocks or len(last_layer) != 2 or last_layer[1] < 64:
        first = ", ".join(list(map(str, params))[:5])
        requirement = "group0.block0 or block1.layer.0, and fc.weight (K, 64 k)"
        raise DataError(f"not the parameters of a WRN; it needs {requirement}, and begins with: {first or 'nothing'}")
    return f"wrn-{6 * len(blocks) + 4}-{last_layer[1] // 64}", last_layer[0]


def _names(network: WideResNet) -> dict[str, str]:
    """Our names of parameters and running statistics to the public code's."""
    ours = (name for name in network.state_dict() if not name.endswith("num_batches_tracked"))
    return {name: match[1] if (match := _CONVOLUTION.fullmatch(name)) else name for name in ours}


def _is_floating_point(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()
