"""Any model by name, ours, torchvision's, timm's or the user's own, with weights from wherever they can be had."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn

from at_repro import data, networks
from at_repro.data import folders
from at_repro.errors import DataError, ParameterError, foreign_code
from at_repro.networks import foreign_weights, imagenet, resnet
from at_repro.networks.initialise import seeded_from

RANDOM = "random"
"""What stands for weights that nobody trained."""

# The last layers of all models here and in torchvision, and of none an inner one.
_HEADS = ("fc", "classifier", "head", "heads")


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
    normalization: tuple[Sequence[float], Sequence[float]] = (folders.MEAN, folders.STD)
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
        classes = None if state is None else _count_classes(state)
        model = (
            _model_of_function(name, classes, state)
            if networks.is_function(name)
            else _model_of_name(name, weights is None, classes)
        )
    if state is not None:
        _load_(model.network, state, str(weights))
    return model._replace(network=model.network.eval())


def _model_of_function(name: str, classes: int | None, state: Mapping[str, Tensor] | None) -> Model:
    function = networks.load_function(name)
    signature = inspect.signature(function)
    try:
        signature.bind()
    except TypeError:  # it needs the number of classes, as the network of a run does
        return Model(_call(name, partial(function, classes or 10)), 224)
    network = _call(name, function)
    counts = [parameter for parameter in signature.parameters if "classes" in parameter]
    if counts and state is not None and _fit(network, state)[1]:  # a run has given it another number than its usual one
        network = _call(name, partial(function, **{counts[0]: classes}))
    return Model(network, 224)


def _call(name: str, function: Callable[[], object]) -> nn.Module:
    with foreign_code("model", name, "a function that makes a model"):
        network = function()
    if not isinstance(network, nn.Module):
        raise ParameterError("model", name, f"a function that returns a torch module, not {type(network).__name__}")
    return network


def _model_of_name(name: str, published: bool, classes: int | None) -> Model:
    if name in imagenet.RESOLUTIONS:
        network = imagenet.pretrained(name) if published else networks.build(name, classes or 1000)
        categories = imagenet.CATEGORIES if classes in (None, 1000) else ()
        return Model(network, imagenet.RESOLUTIONS[name], categories=categories)
    try:
        network = networks.build(name, classes or 10)
    except ParameterError:
        return _of_libraries(name, published, {} if classes is None else {"num_classes": classes})
    if published:
        sources = f"give --weights FILE, such as a record's, or --weights {RANDOM}"
        raise DataError(f"{name}: no weights come with this name: {sources}")
    return Model(network, 32, data.normalization("cifar10"))


def _of_libraries(name: str, published: bool, settings: Mapping[str, int]) -> Model:
    names = torchvision.models.list_models(torchvision.models)
    try:
        if name in names:
            weights = torchvision.models.get_model_weights(name).DEFAULT if published else None
            network = torchvision.models.get_model(name, weights=weights, **settings)
            if weights is None:
                return Model(network, 224)
            transforms = weights.transforms()
            return Model(
                network, transforms.crop_size[0], _pixels(transforms.mean, transforms.std), weights.meta["categories"]
            )
        timm = _timm()
        if timm is not None and timm.is_model(name):
            network = timm.create_model(name, pretrained=published, **settings)
            config = network.pretrained_cfg
            return Model(network, config["input_size"][-1], _pixels(config["mean"], config["std"]))
    except resnet.HUB_ERRORS as error:
        reason = str(error).partition("\n")[0]
        sources = f"give --weights FILE or --weights {RANDOM}"
        raise DataError(f"{name}: its weights cannot be had ({reason}): {sources}") from None
    names = [*imagenet.RESOLUTIONS, *names, *(timm.list_models() if timm else ())]
    near = get_close_matches(name, dict.fromkeys(names), n=5) or networks.available()
    raise ParameterError("model", name, f"a model of this package, torchvision or timm, such as {', '.join(near)}; or "
                         "module:function, of a file module.py in the current folder")  # fmt: skip


def is_name(name: str) -> bool:
    """Whether this is the name of a model: of this package, of torchvision or, where it is installed, of timm."""
    with suppress(ParameterError):
        networks.check_name(name)
        return True
    timm = _timm()
    return name in torchvision.models.list_models(torchvision.models) or bool(timm and timm.is_model(name))


def _timm() -> ModuleType | None:
    try:
        return importlib.import_module("timm")
    except ImportError:
        return None


def _pixels(mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
    """A normalisation of values from 0 to 1 as one of pixels from 0 to 255."""
    return [255 * value for value in mean], [255 * value for value in std]


def _read(file: str) -> dict[str, Tensor]:
    """The tensors in a file of weights, by the names that it gives them."""
    content = foreign_weights.unwrap(foreign_weights.read_file(file))
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _count_classes(state: Mapping[str, Tensor]) -> int | None:
    """As many as the last linear layer has outputs, or convolution where there is none; None where neither is there."""
    # By name and not by place alone: safetensors are in no model's order.
    last = {
        name: value for name, value in state.items() if name.removeprefix("model.").split(".")[0] in _HEADS
    } or state
    for dimensions, end in ((2, "weight"), (1, "bias")):
        sizes = [len(value) for name, value in last.items() if value.dim() == dimensions and name.endswith(end)]
        if sizes:
            return sizes[-1]
    return None


def _load_(network: nn.Module, state: Mapping[str, Tensor], file: str) -> None:
    """Gives a network its weights. Raises DataError with the first names that differ."""
    weights, faults = _fit(network, state)
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise DataError(f"{file}: weights of another architecture: {', '.join(faults[:3])}{more}")
    network.load_state_dict(weights, strict=False)  # `_faults` was stricter but for counts of batches


def _fit(network: nn.Module, state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], list[str]]:
    """Weights by the names that fit a network best, and what differs all the same."""
    own = network.state_dict()
    return min(((names, _faults(own, names)) for names in _namings(state)), key=lambda each: len(each[1]))


def _namings(state: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """Weights by their own names, then by this package's where they are a WRN of other code; of each also with and
    without what `networks.tap` puts before a name."""
    namings = [state]
    with suppress(DataError):
        namings.append(networks.from_authors(state).state_dict())
    for names in namings:
        yield names
        yield {f"model.{name}": value for name, value in names.items()}
        yield {name.removeprefix("model."): value for name, value in names.items()}


def _faults(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    # Batch norms count their batches, which old files do not hold and no inference reads.
    faults = [f"{key} is missing" for key in own if key not in state and not key.endswith("num_batches_tracked")]
    faults += [f"{key} is unknown" for key in state if key not in own]
    both = [key for key in own if key in state and state[key].shape != own[key].shape]
    return faults + [f"{key} has shape {tuple(state[key].shape)} and not {tuple(own[key].shape)}" for key in both]
