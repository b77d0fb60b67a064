"""Which layers of a model to look at, where nobody named them."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from at_repro.errors import ParameterError
from at_repro.networks.tap import Reader, may_be_channels_last


@torch.no_grad()
def choose_layers(
    model: nn.Module, images: Tensor, layout: str | None = None, grid: tuple[int, int] | None = None
) -> list[str]:
    """Names of layers for `tap`, low to top: the last of each resolution, or the blocks where there is but one.

    Of more than three the last of as many equal parts. Inner layers of a block are passed over where there is an
    outer one: the first layer of the next block often has the resolution of this one.

    Args:
        model: any module, in evaluation mode; it is called once.
        images: what it is called with, (N, 3, H, W), of two images or more, so that no other axis is taken for theirs.
        layout, grid: as for `tap`; layers whose shape they do not fit are passed over.

    Raises:
        ParameterError: no layer returns a map of more than one position.
    """
    sizes = _map_sizes(model, Reader(images, may_be_channels_last(model), layout, grid))
    last: dict[tuple[int, int], str] = {}
    for layer, size in sizes.items():  # in the order in which they end
        if size not in last or layer.count(".") <= last[size].count("."):
            last[size] = layer
    layers = [last[size] for size in sorted(last, reverse=True)] if len(last) > 1 else _blocks(list(sizes))
    count = min(3, len(layers))
    return [layers[round((part + 1) * len(layers) / count) - 1] for part in range(count)]


def _map_sizes(model: nn.Module, reader: Reader) -> dict[str, tuple[int, int]]:
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
    try:
        model(reader.image)
    finally:
        for hook in hooks:
            hook.remove()
    sizes = {layer: size for layer, size in sizes.items() if runs[layer] == 1}
    if not sizes:
        raise ParameterError("layers", [], "names: none of the model's layers returned a map that could be recognised")
    return sizes


def _blocks(layers: Sequence[str]) -> list[str]:
    """Of layers the siblings that are most: a transformer's blocks."""
    parents = [layer.rpartition(".")[0] for layer in layers]
    parent, _ = Counter(parents).most_common(1)[0]
    return [layer for layer, of_layer in zip(layers, parents, strict=True) if of_layer == parent]
