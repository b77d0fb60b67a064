"""Every network by its name."""

import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from at_repro.errors import ParameterError, check_count, foreign_code
from at_repro.networks import efficientnet, resnet
from at_repro.networks.initialise import seeded_from
from at_repro.networks.nin import THIN, WIDE, NetworkInNetwork
from at_repro.networks.output import Output
from at_repro.networks.tap import tap, tapped_layers
from at_repro.networks.wrn import WideResNet

Constructor = Callable[[int], nn.Module]  # from a number of classes to a network with random weights


def _wide_resnet(depth: str, widen: str) -> Constructor | None:
    return partial(WideResNet, int(depth), int(widen)) if int(depth) % 6 == 4 else None


def _network_in_network(size: str, no_batch_norm: str | None, no_relu: str | None) -> Constructor:
    widths = THIN if size == "thin" else WIDE
    return lambda num_classes: NetworkInNetwork(widths, num_classes, not no_batch_norm, not no_relu)


# By the pattern of a family's names: a function from the pattern's groups to the constructor, None where there is no
# such network. One spelling per network, since names are part of a run's identity: no leading zeros, suffixes in this
# order only.
FAMILIES: dict[str, Callable[..., Constructor | None]] = {
    r"wrn-([1-9][0-9]{1,2})-([1-9][0-9]?)": _wide_resnet,
    r"nin-(thin|wide)(-nobn)?(-norelu)?": _network_in_network,
    f"({'|'.join(resnet.NAMES)})": lambda name: partial(resnet.ResNet, name),
    f"({'|'.join(efficientnet.NAMES)})": lambda name: partial(efficientnet.EfficientNetLite, name),
}

_REGISTERED: dict[str, Constructor] = {}
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # in a module: what needs no registration


def register(name: str, factory: Constructor) -> None:
    """Makes a network of one's own one that `build` knows: its runs train, resume, verify and are shown as any other.

    Every process that builds it has to register it; the name "module:function" stands for a factory in a module of the
    working folder, or on Python's path, without that. What the factory is goes into records, see `source`.

    Args:
        name: at most 64 lower-case letters, digits, hyphens and dots, a letter first. It is part of the identity of
            runs: another network, another name.
        factory: from a number of classes to a module from images (N, 3, H, W) to an Output whose groups are outputs of
            its children, or to what `tap` returns. It is tried with ten classes and images of 32 x 32 pixels, which it
            has to take, and before training with the classes and resolution of the data set. Its weights have to come
            from torch's default generator, which `build` seeds.

    Raises:
        ParameterError: a name that is taken or has other letters, or a factory that makes no such module.
    """
    if not re.fullmatch(r"[a-z][a-z0-9.-]{0,63}", str(name)) or name in _REGISTERED or _family(name):
        requirement = "a new name of at most 64 lower-case letters, digits, hyphens and dots, a letter first"
        raise ParameterError("name", name, requirement)
    _REGISTERED[name] = factory
    try:
        _outline(name)
    except Exception:
        del _REGISTERED[name]
        raise


def is_function(name: object) -> bool:
    """Whether a name is of the form "module:function". Imports nothing."""
    return isinstance(name, str) and bool(_FUNCTION.fullmatch(name))


def load_function(name: str) -> Callable:
    """The function that "module:function" names, in the working folder or on Python's path. This imports its module.

    The folder stays on Python's path, as under `python -m`: what a function imports when it is called is found there.

    Raises ParameterError if the module cannot be imported, or has no such function with a signature.
    """
    if sys.path[:1] != [folder := os.getcwd()]:
        sys.path.insert(0, folder)
    with foreign_code("network", name, "a function in a module that can be imported, as my_models:net"):
        factory = pkgutil.resolve_name(name)
        inspect.signature(factory)
    return factory


def source(name: str) -> dict[str, str]:
    """Of a network of one's own: its `factory`, its `text` and its package's `version`; empty for all others.

    Raises ParameterError as `load_function`.
    """
    if name in _REGISTERED:
        factory = inspect.unwrap(_REGISTERED[name])
    elif is_function(name):
        factory = inspect.unwrap(load_function(name))
    else:
        return {}
    bound = ""
    if isinstance(factory, partial):
        bound, factory = f"\n# with {factory.args}, {factory.keywords}", factory.func
    module = inspect.getmodule(factory)
    package = sys.modules.get(getattr(module, "__name__", "").partition(".")[0])
    try:
        text = inspect.getsource(factory) + bound
    except (OSError, TypeError):  # typed into a console, or not written in Python
        text = ""
    factory_name = getattr(factory, "__qualname__", repr(factory))
    version = str(getattr(module, "__version__", getattr(package, "__version__", "")))
    return {"factory": f"{getattr(module, '__name__', '')}:{factory_name}", "text": text, "version": version}


def available() -> list[str]:
    """The names that `build` knows, as patterns for people to read."""
    return [
        *_REGISTERED,
        "wrn-{depth}-{widen} (depth = 6 n + 4 below 1000, widen below 100)",
        "nin-{thin|wide}[-nobn][-norelu] (no batch norm; no ReLU before pooling)",
        *resnet.NAMES,
        *efficientnet.NAMES,
        "module:function (see networks.register)",
    ]


def check_name(name: str) -> None:
    """Raises ParameterError if `build` does not know the name. Builds nothing, and imports no "module:function"."""
    if not is_function(name):
        _constructor(name)


def build(name: str, num_classes: int = 10, generator: torch.Generator | None = None) -> nn.Module:
    """A new network with random weights, on the CPU in float32 and in training mode.

    WRN and NIN weights are drawn as in the authors' public code, ResNet weights as in torchvision, those of
    EfficientNet-Lite as in its original code.

    Args:
        name: as `available()` describes, such as "wrn-16-1" or "nin-thin-nobn".
        num_classes: number of logits, 1 or more.
        generator: where the weights come from: equal states give equal weights, and torch's default generator is left
            alone. None draws the seed of the weights from torch's default generator.

    Returns:
        A module from images (N, 3, H, W) to an Output; of "module:function" what the function makes, unchecked.

    Raises:
        ParameterError: the name is not known, or `num_classes` is no integer of 1 or more.
    """
    construct = _constructor(name)
    check_count("num_classes", num_classes)
    with seeded_from(generator):
        return construct(num_classes)


def parameter_count(module: nn.Module) -> int:
    """Number of parameters (scalars), frozen ones as well; running statistics do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def group_channels(name: str) -> tuple[int, ...]:
    """Channels of a network's groups, low to top. Raises ParameterError if `build` does not know the name."""
    return _outline(name).channels


def group_layers(name: str) -> tuple[str, ...]:
    """Names of the layers whose outputs are a network's groups, low to top. Raises ParameterError as `build`."""
    return _outline(name).layers


def forward_operations(name: str) -> int:
    """Floating-point operations of one image of 32x32 pixels through a network, counted by torch.

    Those of convolutions and matrix products; a multiplication and an addition are two.

    Raises ParameterError if `build` does not know the name.
    """
    return _outline(name).operations


_REQUIREMENT = "from a number of classes to a module that returns an Output with as many logits, such as networks.tap's"


def running_order(name: str) -> tuple[str, ...]:
    """Names of a network's modules in the order in which they first return; of those that are not called, as lists of
    modules are not, none. Raises ParameterError as `build`."""
    return _outline(name).order


class _Outline(NamedTuple):
    channels: tuple[int, ...]
    layers: tuple[str, ...]
    order: tuple[str, ...]
    operations: int


@cache
def _outline(name: str) -> _Outline:
    """What a network's shapes say of it. On the device "meta" nothing is computed: a list of runs costs little."""
    network = _without_numbers(name)
    outputs: dict[str, torch.Tensor] = {}  # of modules, in the order in which they first return
    for layer, module in network.named_modules(remove_duplicate=False):  # one may have two names
        module.register_forward_hook(lambda _module, _inputs, output, layer=layer: outputs.update({layer: output}))
    with torch.no_grad(), FlopCounterMode(display=False) as counter, foreign_code("network", name, _REQUIREMENT):
        output = network(torch.zeros(1, 3, 32, 32, device="meta"))
        if not isinstance(output, Output) or output.logits.shape != (1, 10):
            raise ParameterError("network", name, _REQUIREMENT)
        layers = tapped_layers(network) or tuple(
            next((layer for layer, result in outputs.items() if result is group and "." not in layer), "")
            for group in output.groups
        )
        if "" in layers:
            raise ParameterError("network", name, "one whose groups are outputs of its children, or networks.tap's")
        channels = tuple(group.shape[1] for group in output.groups)
    return _Outline(channels, layers, tuple(outputs), counter.get_total_flops())


@cache
def check_layers(name: str, layers: tuple[str, ...]) -> None:
    """Raises ParameterError for the first layer that the network of this name does not have, or that returns no map."""
    with torch.no_grad(), foreign_code("network", name, _REQUIREMENT):
        tap(_without_numbers(name), layers)(torch.zeros(1, 3, 32, 32, device="meta"))


@cache
def check_shapes(name: str, num_classes: int, resolution: int) -> None:
    """Raises ParameterError unless a network gives so many logits of an image of this height and width in pixels."""
    requirement = f"one that gives {num_classes} logits of an image of {resolution} x {resolution} pixels"
    with torch.no_grad(), foreign_code("network", name, requirement):
        logits = build(name, num_classes, torch.Generator()).eval()(torch.zeros(1, 3, resolution, resolution)).logits
    if logits.shape != (1, num_classes):
        raise ParameterError("network", name, f"{requirement}, not {tuple(logits.shape)}")


def _without_numbers(name: str) -> nn.Module:
    construct = _constructor(name)
    with foreign_code("network", name, _REQUIREMENT):
        try:
            with torch.device("meta"):
                network = construct(10)
        except Exception:  # one that reads numbers that it computes is made of real ones; a fault is met again
            with seeded_from(torch.Generator()):
                network = construct(10)
        return network.to("meta").eval()  # constants of a module were made on the CPU


def _constructor(name: str) -> Constructor:
    """The function from a number of classes to the network called `name`."""
    # A spec read from JSON may hold anything as its name.
    if is_function(name):
        return load_function(name)
    constructor = (_REGISTERED.get(name) or _family(name)) if isinstance(name, str) else None
    if constructor is None:
        raise ParameterError("network", name, available())
    return constructor


def _family(name: str) -> Constructor | None:
    for pattern, family in FAMILIES.items():
        match = re.fullmatch(pattern, name)
        if match and (constructor := family(*match.groups())):
            return constructor
    return None
