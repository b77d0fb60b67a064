"""Any module as a network of this package: by naming the layers whose outputs are its groups, or having them chosen."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from at_repro.errors import ParameterError, check_choice, is_integer
from at_repro.networks.output import Output

LAYOUTS = ("NCHW", "NHWC")
"""How a layer may order the axes of its activations: channels first, as convolutions, or channels last, as Swin."""

# Of transformers: none, the class token, that and DeiT's distillation token, four registers without and with the class.
_PREFIXES = (0, 1, 2, 4, 5)


def tap(
    model: nn.Module, layers: Sequence[str], layout: str | None = None, grid: tuple[int, int] | None = None
) -> nn.Module:
    """Wraps `model` so that it returns an Output with the activations of the named layers.

    One call at a time: several threads, those of nn.DataParallel among them, need a copy each.

    The model goes on from the groups, so that gradients of its logits reach them (Grad-CAM); what a later layer
    overwrites, a ReLU that works in place, for example, is a copy.

    Args:
        model: any module. It returns logits (N, K), a tuple or list that begins with them, or a mapping or object that
            has them as `logits` or `out`. It is wrapped, not copied.
        layers: names from `model.named_modules()`, low to top; groups come in this order. Each layer has to run exactly
            once per forward pass and to return activations (N, C, H, W) or (N, H, W, C), or tokens (N, L, C), whose
            group is (N, C, H, W) without the tokens that stand for no part of the image, or a tuple that begins with
            them. This is what the layer returns, not the attention of queries to keys.
        layout: of layers that return four axes, one of `LAYOUTS`; None recognises it by the image's proportions,
            channels last only in a model with a layer norm.
        grid: height and width in tokens, which are the last of each sequence; None: a square, for images that are about
            one, before it nothing, a class token, one more, or four registers without or with a class token.

    Returns:
        A module that takes what the model takes; the first tensor with more than one axis among the arguments, else
        the first, counts as the images. The model is its attribute `model`.

    Raises:
        ParameterError: no layers, one named twice, or one that the model does not have; an unknown layout; a grid of
            other numbers than integers from 1. Also when called, if a layer did not run exactly once or returned no
            map, or is trained and ran without gradients, if the layout is not certain, if tokens fit no grid, if there
            are no logits or no tensor among the arguments, or if another call has not returned.
    """
    names = [name for name, _ in model.named_modules() if name]
    if isinstance(layers, str) or not layers:
        raise ParameterError("layers", layers, "a list with one or more names of layers")
    for index, layer in enumerate(layers):
        if layer in layers[:index]:
            raise ParameterError("layers", list(layers), "every name once")
        if layer not in names:
            near = get_close_matches(str(layer), names, n=5, cutoff=0.5) or [name for name, _ in model.named_children()]
            raise ParameterError("layers", layer, f"names in the model's named_modules(), such as {', '.join(near)}")
    _check_reading(layout, grid)
    return _TapNetwork(model, layers, layout, grid)


def _check_reading(layout: str | None, grid: tuple[int, int] | None) -> None:
    if layout is not None:
        check_choice("layout", layout, LAYOUTS)
    if grid is not None and not (
        isinstance(grid, Sequence) and len(grid) == 2 and all(is_integer(size) and size > 0 for size in grid)
    ):
        raise ParameterError("grid", grid, "height and width, two integers from 1")


def tapped_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that a network of `tap` returns as its groups; none for any other."""
    return (
        tuple(f"model.{recorder.layer}" for recorder in network._recorders) if isinstance(network, _TapNetwork) else ()
    )


@torch.no_grad()
def choose_layers(
    model: nn.Module, images: Tensor, layout: str | None = None, grid: tuple[int, int] | None = None
) -> list[str]:
    """Names of at most three layers for `tap`: the last of each resolution, or the blocks where there is but one.

    They are low to top. More than three are cut into three equal parts, and the last of each is taken: of five the 2nd,
    3rd and 5th. Inner layers of a block are passed over where there is an outer one: the first layer of the next block
    often has the resolution of this one.

    Args:
        model: any module; it is called once, in evaluation mode, and left in the mode that it was in.
        images: what it is called with, (N, 3, H, W), of two images or more, so that no other axis is taken for theirs.
        layout, grid: as for `tap`; layers whose shape they do not fit are passed over.

    Raises:
        ParameterError: an unknown layout; a grid of other numbers than integers from 1; no layer returns a map of more
            than one position.
    """
    _check_reading(layout, grid)
    sizes = _map_sizes(model, _Reader(images, _may_be_channels_last(model), layout, grid))
    last: dict[tuple[int, int], str] = {}
    for layer, size in sizes.items():  # in the order in which they end
        if size not in last or layer.count(".") <= last[size].count("."):
            last[size] = layer
    layers = [last[size] for size in sorted(last, reverse=True)] if len(last) > 1 else _blocks(model, list(sizes))
    count = min(3, len(layers))
    return [layers[round((part + 1) * len(layers) / count) - 1] for part in range(count)]


def _map_sizes(model: nn.Module, reader: "_Reader") -> dict[str, tuple[int, int]]:
    """Height and width of what each layer returns that runs once and returns a map, in the order in which they end."""
    sizes: dict[str, tuple[int, int]] = {}
    runs: Counter[str] = Counter()

    def record(layer: str, output: object) -> None:
        runs[layer] += 1
        try:
            height, width = reader.read(layer, output)[0].shape[-2:]
        except ParameterError:
            return
        if height * width > 1 and (reader.layout is None or reader.fits(height, width)):
            sizes[layer] = (height, width)

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, layer=layer: record(layer, output))
        for layer, module in model.named_modules()
        if layer
    ]
    trained = [module for module in model.modules() if module.training]
    try:
        model.eval()
        model(reader.image)
    finally:
        for hook in hooks:
            hook.remove()
        for module in trained:
            module.training = True
    sizes = {layer: size for layer, size in sizes.items() if runs[layer] == 1}
    if not sizes:
        raise ParameterError("layers", [], "names: none of the model's layers returned a map that could be recognised")
    return sizes


def _blocks(model: nn.Module, layers: list[str]) -> list[str]:
    """Of layers the siblings that are most, a transformer's blocks: of those that have layers of their own, if some
    are siblings; of as many the outermost."""
    composite = [layer for layer in layers if any(model.get_submodule(layer).children())]
    for own in (composite, layers):
        siblings: dict[str, list[str]] = {}
        for layer in own:
            siblings.setdefault(layer.rpartition(".")[0], []).append(layer)
        blocks = max(siblings.values(), key=lambda group: (len(group), -group[0].count(".")), default=[])
        if len(blocks) > 1:
            break
    return blocks


def _may_be_channels_last(model: nn.Module) -> bool:
    """Whether a model has a layer norm, with which channels that come last are normalised: of two readings of a shape,
    no other model means that one."""
    return any(isinstance(module, nn.LayerNorm | nn.RMSNorm) for module in model.modules())


class _Reader:
    """Reads what layers return as groups (N, C, H, W), for one call of a model.

    Args:
        image: the first tensor that the model was called with.
        channels_last: whether it may have them last, see `_may_be_channels_last`.
        layout, grid: as for `tap`.
    """

    def __init__(self, image: Tensor, channels_last: bool, layout: str | None, grid: tuple[int, int] | None):
        self.image, self.channels_last, self.layout, self.grid = image, channels_last, layout, grid
        self.has_gradients = torch.is_grad_enabled()

    def read(self, layer: str, output: object) -> tuple[Tensor, Tensor | tuple]:
        """A layer's output as a group, and computed from that what the model goes on with. Raises ParameterError."""
        if type(output) is tuple and output and isinstance(output[0], Tensor):
            group, replacement = self.read(layer, output[0])
            return group, (replacement, *output[1:])
        if not isinstance(output, Tensor) or output.dim() not in (3, 4) or len(output) != len(self.image):
            kind = f"tensor {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            requirement = "layers that return activations (N, C, H, W) or (N, H, W, C), or tokens (N, L, C)"
            raise ParameterError("layers", layer, f"{requirement}; it returned a {kind}")
        if output.dim() == 3:
            height, width = self.grid or self._square(layer, output.shape[1])
            prefix = output.shape[1] - height * width
            # As many as a map has would be one themselves, but before a single position.
            if prefix < 0 or (prefix >= height * width and (height * width > 1 or prefix not in _PREFIXES)):
                raise ParameterError(
                    "grid", (height, width), f"a map of most of the {output.shape[1]} tokens of {layer}"
                )
            group = output[:, prefix:].transpose(1, 2).unflatten(2, (height, width))
            return group, torch.cat([output[:, :prefix], group.flatten(2).transpose(1, 2)], 1)
        if (self.layout or self._recognise(layer, output.shape)) == "NCHW":
            return output, output.clone()
        group = output.permute(0, 3, 1, 2)
        return group, group.permute(0, 2, 3, 1).clone()

    def _square(self, layer: str, length: int) -> tuple[int, int]:
        for prefix in _PREFIXES:
            size = math.isqrt(max(length - prefix, 0))
            if size and size**2 == length - prefix and self.fits(size, size):
                return size, size
        requirement = f"height and width of the map: {layer} returned {length} tokens, which are no square of the image"
        raise ParameterError("grid", self.grid, requirement)

    def _recognise(self, layer: str, shape: torch.Size) -> str:
        """The layout whose height and width are to each other as the image's, or alike: some models resize."""
        _, first, second, third = shape
        channels_first = self.fits(second, third) or second == third
        channels_last = self.fits(first, second) or first == second
        if (channels_first and not channels_last) or (channels_first == channels_last and not self.channels_last):
            return "NCHW"
        if channels_last and not channels_first and self.channels_last:
            return "NHWC"
        requirement = f"{' or '.join(LAYOUTS)}: the shape {tuple(shape)} of {layer} does not tell which"
        raise ParameterError("layout", self.layout, requirement)

    def fits(self, height: int, width: int) -> bool:
        """Whether a map of this size can be of the whole image: sizes are rounded, up or down."""
        if self.image.dim() != 4:
            return height == width
        own = self.image.shape[-2:]
        return abs(height * own[1] - width * own[0]) < max(own)


class _Recorder:
    """A forward hook that keeps what its layer returns as a group, and lets the model go on from it, while switched on.

    An object and not a closure, so that a deep copy of a tapped model records the copy's own layers.
    """

    def __init__(self, layer: str):
        self.layer = layer
        self.reader: _Reader | None = None  # None: switched off
        self.groups: list[Tensor] = []

    def __call__(self, module: nn.Module, inputs: tuple, output: object) -> Tensor | tuple | None:
        if self.reader is None:
            return None
        runs_without = module.training and self.reader.has_gradients and not torch.is_grad_enabled()
        if runs_without and any(parameter.requires_grad for parameter in module.parameters()):
            requirement = "layers that run with gradients; in torch.utils.checkpoint they do with use_reentrant=False"
            raise ParameterError("layers", self.layer, requirement)
        group, replacement = self.reader.read(self.layer, output)
        self.groups.append(group)
        return replacement


class _TapNetwork(nn.Module):
    # Hooks rather than torch.fx, which cannot follow every model's control flow.

    accepts_loss_kwargs = False
    """For Hugging Face's Trainer: else it takes **kwargs for its own, and leaves out the mean over a step's batches."""

    def __init__(self, model: nn.Module, layers: Sequence[str], layout: str | None, grid: tuple[int, int] | None):
        super().__init__()
        self.model = model
        self._settings = (_may_be_channels_last(model), layout, grid)
        self._recorders = [_Recorder(layer) for layer in layers]
        for recorder in self._recorders:
            model.get_submodule(recorder.layer).register_forward_hook(recorder)

    def forward(self, *args: object, **kwargs: object) -> Output:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if not tensors:
            raise ParameterError("images", [type(value).__name__ for value in args], "a tensor among the arguments")
        if any(recorder.reader for recorder in self._recorders):
            requirement = "a model in one call at a time: a copy for each thread, and DistributedDataParallel for GPUs"
            raise ParameterError("model", type(self.model).__name__, requirement)
        images = next((tensor for tensor in tensors if tensor.dim() > 1), tensors[0])  # labels may come first
        reader = _Reader(images, *self._settings)
        for recorder in self._recorders:
            recorder.reader = reader
        try:
            result = self.model(*args, **kwargs)
            groups = tuple(_single(recorder) for recorder in self._recorders)
        finally:
            for recorder in self._recorders:
                recorder.reader, recorder.groups = None, []  # activations must not outlive the pass
        return Output(_logits(result), groups)


def _single(recorder: _Recorder) -> Tensor:
    times = len(recorder.groups)
    if times != 1:
        raise ParameterError("layers", recorder.layer, f"layers that run once per forward pass (it ran {times} times)")
    return recorder.groups[0]


def _logits(result: object) -> Tensor:
    """What a model returned for the classes, in any of the usual wrappings."""
    if isinstance(result, Tensor):
        return result
    for name in ("logits", "out"):
        inner = result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)
        if isinstance(inner, Tensor):
            return inner
    if isinstance(result, tuple | list) and result and isinstance(result[0], Tensor):
        return result[0]
    kind = f"{type(result).__name__} of {', '.join(map(str, result))}" if isinstance(result, Mapping) else result
    requirement = "one that returns logits, a tuple that begins with them, or has them as 'logits' or 'out'; a model "
    requirement += "that returns features needs no tap: give the losses a list of them"
    raise ParameterError("model", f"a model that returned {kind!r}"[:200], requirement)
