"""Any model by name, ours, torchvision's, timm's or the user's own, with weights from wherever they can be had."""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn

from at_repro import networks
from at_repro.data import augment, folders
from at_repro.errors import DataError, ParameterError
from at_repro.networks import foreign_weights, imagenet
from at_repro.networks.initialise import seeded_from

RANDOM = "random"
"""What stands for weights that nobody trained."""

_PHOTOGRAPHS = (folders.MEAN, folders.STD)
_CIFAR10 = (augment.CIFAR10_MEAN, augment.CIFAR10_STD)


class Model(NamedTuple):
    """A model in evaluation mode, and what it expects.

    Attributes:
        network: from normalised images (N, 3, H, W).
        resolution: of its images, in pixels.
        normalization: mean and standard deviation of each channel, for pixels from 0 to 255.
        categories: names of its classes in the order of the logits; empty where they are not known.
    """

    network: nn.Module
    resolution: int
    normalization: tuple[Sequence[float], Sequence[float]] = _PHOTOGRAPHS
    categories: Sequence[str] = ()


def load_model(name: str, weights: str | None = None) -> Model:
    """The model of that name, on the CPU.

    Args:
        name: a network of this package, a classifier of torchvision or, where it is installed, of timm; or
            "module:function", see `networks.register`, whose function may take nothing and return any module, which is
            used as it is unless a file of weights is given.
        weights: a file, of safetensors or of torch, from which tensors alone are read; "random"; None: those that are
            published with the name, from a package, torch's cache or a download.

    Raises:
        ParameterError: there is no such model, or the function does not return one.
        DataError: there are no weights, they cannot be had, are damaged, or are another architecture's.
    """
    state = None if weights in (None, RANDOM) else _read(str(weights))
    with seeded_from(torch.Generator().manual_seed(0)):
        classes = len((state or {}).get("fc.bias", range(10)))
        model = _own(name, classes) if networks.is_function(name) else _known(name, weights is None, state, classes)
    if state is not None:
        _load_(model.network, state, str(weights))
    return model._replace(network=model.network.eval())


def _own(name: str, classes: int) -> Model:
    function = networks.load_function(name)
    try:
        inspect.signature(function).bind()
    except TypeError:  # it needs the number of classes, as the network of a run does
        network = function(classes)
    else:
        network = function()
    if not isinstance(network, nn.Module):
        raise ParameterError("model", name, f"a function that returns a torch module, not {type(network).__name__}")
    return Model(network, 224)


def _known(name: str, published: bool, state: Mapping[str, Tensor] | None, classes: int) -> Model:
    if name in imagenet.RESOLUTIONS and (state is None or classes == 1000):
        network = imagenet.pretrained(name) if published else networks.build(name, 1000)
        return Model(network, imagenet.RESOLUTIONS[name], _PHOTOGRAPHS, imagenet.CATEGORIES)
    try:
        network = networks.build(name, classes)
    except ParameterError:
        return _of_libraries(name, published)
    if published:
        raise DataError(f"{name}: no weights come with this name; name a file, or say {RANDOM}")
    return Model(network, 32, _CIFAR10)


def _of_libraries(name: str, published: bool) -> Model:
    names = torchvision.models.list_models(torchvision.models)
    try:
        if name in names:
            weights = torchvision.models.get_model_weights(name).DEFAULT if published else None
            network = torchvision.models.get_model(name, weights=weights)
            return Model(network, 224, _PHOTOGRAPHS, weights.meta["categories"] if weights else ())
        timm = _timm()
        if timm is not None and timm.is_model(name):
            network = timm.create_model(name, pretrained=published)
            config = network.pretrained_cfg
            mean, std = ([255 * value for value in config[key]] for key in ("mean", "std"))
            return Model(network, config["input_size"][-1], (mean, std))
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{name}: its weights cannot be had ({reason}); name a file, or say {RANDOM}") from None
    names = [*imagenet.RESOLUTIONS, *names, *(timm.list_models() if timm else ())]
    near = get_close_matches(name, dict.fromkeys(names), n=5)
    allowed = [*near] or [*networks.available(), "a classifier of torchvision or timm", "module:function"]
    raise ParameterError("model", name, allowed)


def _timm():
    try:
        return importlib.import_module("timm")
    except ImportError:
        return None


def _read(file: str) -> dict[str, Tensor]:
    """The tensors in a file of weights, by the names of parameters that this package gives them."""
    content = foreign_weights.read_file(file)
    try:
        return networks.from_authors(content).state_dict()
    except DataError:  # not a wide residual network of others
        return {name: value for name, value in foreign_weights.unwrap(content).items() if isinstance(value, Tensor)}


def _load_(network: nn.Module, state: Mapping[str, Tensor], file: str) -> None:
    """Gives a network its weights. Raises DataError with the first names that differ."""
    own = network.state_dict()
    faults = [f"{key} is missing" for key in own if key not in state]
    faults += [f"{key} is unknown" for key in state if key not in own]
    both = [key for key in own if key in state and state[key].shape != own[key].shape]
    faults += [f"{key} has shape {tuple(state[key].shape)} and not {tuple(own[key].shape)}" for key in both]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise DataError(f"{file}: weights of another architecture: {', '.join(faults[:3])}{more}")
    network.load_state_dict(state)
