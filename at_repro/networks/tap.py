"""Any module as a network of this package, by naming the layers whose outputs are its groups."""

from collections.abc import Sequence
from difflib import get_close_matches

from torch import Tensor, nn

from at_repro.errors import ParameterError
from at_repro.networks.output import Output


def tap(model: nn.Module, layers: Sequence[str]) -> nn.Module:
    """Wrap `model` so that it returns an Output with the activations of the named layers.

    Args:
        model: any module. It returns logits (N, K), or an object that has them as `.logits`. It is wrapped, not copied.
        layers: names from `model.named_modules()`, low to top; groups come in this order. Each layer has to run exactly
            once per forward pass and to return one tensor (N, C, H, W). What it returned is copied, since the next
            layer may overwrite it: a ReLU that works in place, for example.

    Returns:
        A module that takes what the model takes. The model is its attribute `model`.

    Raises:
        ParameterError: no layers, one named twice, or one that the model does not have. Also when called, if a layer
            did not run exactly once or did not return a 4-D tensor.
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
    return _Tapped(model, layers)


class _Recorder:
    """A forward hook that keeps what its layer returns, while it is switched on.

    An object and not a closure, so that a deep copy of a tapped model records the copy's own layers.
    """

    def __init__(self):
        self.on = False
        self.outputs = []

    def __call__(self, layer: nn.Module, inputs: tuple, output: object) -> None:
        if self.on:
            self.outputs.append(output.clone() if isinstance(output, Tensor) else output)


class _Tapped(nn.Module):
    # Hooks rather than torch.fx, which cannot follow every model's control flow.

    def __init__(self, model: nn.Module, layers: Sequence[str]):
        super().__init__()
        self.model = model
        self._recorders = {layer: _Recorder() for layer in layers}
        for layer, recorder in self._recorders.items():
            model.get_submodule(layer).register_forward_hook(recorder)

    def forward(self, *args, **kwargs) -> Output:
        for recorder in self._recorders.values():
            recorder.on = True
        try:
            result = self.model(*args, **kwargs)
            groups = tuple(_single(layer, recorder.outputs) for layer, recorder in self._recorders.items())
        finally:
            for recorder in self._recorders.values():
                recorder.on = False
                recorder.outputs = []  # activations must not outlive the pass
        return Output(getattr(result, "logits", result), groups)


def _single(layer: str, outputs: list) -> Tensor:
    if len(outputs) != 1:
        raise ParameterError("layers", layer, f"layers that run once per forward pass (it ran {len(outputs)} times)")
    if not isinstance(outputs[0], Tensor) or outputs[0].dim() != 4:
        found = tuple(outputs[0].shape) if isinstance(outputs[0], Tensor) else type(outputs[0]).__name__
        raise ParameterError("layers", layer, f"layers that return a tensor (N, C, H, W) (it returned {found})")
    return outputs[0]
