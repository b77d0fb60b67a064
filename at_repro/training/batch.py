"""One batch as its teacher and as one student see it: what the transfer terms compare, each part computed once."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache, cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from at_repro import attention, losses, networks
from at_repro.networks import Output
from at_repro.training import engine
from at_repro.training.engine import Forward


class FeatureExtractor:
    """A network of this package whose groups and named layers are both seen.

    Args:
        network: one that `networks.build` makes for `name`.
        layers: names of further layers; without any, `module` is the network itself.
    """

    def __init__(self, network: nn.Module, name: str, layers: Sequence[str] = ()):
        self.groups = networks.group_layers(name)
        self._names = tuple(dict.fromkeys([*self.groups, *layers]))
        self.module = networks.tap(network, self._names) if layers else network

    def sort(self, output: Output) -> tuple[Output, dict[str, Tensor]]:
        """What `module` returned as the network's own output, and the activations by the layers' names."""
        by_name = dict(zip(self._names, output.groups, strict=True))
        return Output(output.logits, output.groups[: len(self.groups)]), by_name


class Teacher:
    """A frozen teacher, run once per batch for a whole cohort.

    Args:
        network: the trained network, its parameters frozen.
        name: by which `networks.build` knows it.
        precision, compiled: as for its students, see `engine.forward`.
        layers: those that terms name. Batch norms are then not folded, which would change what layers inside return.
    """

    def __init__(self, network: nn.Module, name: str, precision: str, compiled: bool, layers: Sequence[str] = ()):
        self.network = network.eval()
        self.extractor = FeatureExtractor(self.network, name, layers)
        self.infer = engine.inference(self.extractor.module, precision, compiled)
        self.compute = engine.forward(precision, compiled).compute
        self.differentiable = engine.forward(precision, False)  # where a gradient by the images is needed


class TeacherBatch:
    """What a teacher says of one batch: shared by all students and all terms of a cohort.

    Args:
        images, labels: normalised float32 (N, 3, H, W), and int64 (N,).

    Attributes:
        output, group_names: as of a `StudentBatch`, without gradients.

    Whatever is asked for is computed on the stream of the teacher, and then waited for on that of the student who asks:
    see `cuda_graphs.side_by_side`.
    """

    def __init__(self, teacher: Teacher, images: Tensor, labels: Tensor):
        self._teacher, self._images, self._labels = teacher, images, labels
        self._stream = torch.cuda.current_stream(images.device) if images.is_cuda else None
        self._results: dict[tuple, Tensor] = {}
        self.group_names = teacher.extractor.groups
        self.output, self._layers = teacher.extractor.sort(teacher.infer(images))

    def maps(self, mapping: str, layers: Sequence[str]) -> list[Tensor]:
        """The attention maps (N, H, W) of these layers, in float32; each is computed once, whoever asks."""
        return [self._once(self._map, mapping, layer) for layer in layers]

    def log_probabilities(self, temperature: float) -> Tensor:
        """Logarithms of the class probabilities (N, K) at a temperature; computed once, whoever asks."""
        return self._once(self._log_probabilities, temperature)

    @property
    def gradient(self) -> Tensor:
        """J_T = dL/dx of each image (N, 3, H, W), without graph: a forward and a backward pass of the teacher."""
        return self._once(self._gradient)

    def _once(self, compute: Callable[..., Tensor], *arguments: object) -> Tensor:
        key = (compute.__name__, *arguments)
        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
            if key not in self._results:
                self._results[key] = compute(*arguments)
        if self._stream is not None and (stream := torch.cuda.current_stream()) != self._stream:
            stream.wait_stream(self._stream)
        return self._results[key]

    @torch.no_grad()
    def _map(self, mapping: str, layer: str) -> Tensor:
        return self._teacher.compute(_mapping(mapping), self._layers[layer])

    def _log_probabilities(self, temperature: float) -> Tensor:
        return losses.log_probabilities(self.output.logits, temperature)

    def _gradient(self) -> Tensor:
        images = self._images.detach().requires_grad_()
        logits = self._teacher.differentiable(self._teacher.network, images).logits.float()
        return attention.input_gradient(cross_entropy(logits, self._labels, reduction="none"), images)


class StudentBatch:
    """One student's pass over one batch.

    Args:
        extractor: the student, in training mode.
        images: normalised float32 (N, 3, H, W); with gradient terms they require grad.
        labels: int64 (N,).
        forward: how to run it; for gradient terms one that can be differentiated twice.
        adapters: the 1x1 convolutions of F-ActT, one per group that it compares; None without that term.

    Attributes:
        output: logits (N, K) and groups.
        layers: activations by the names of layers; `group_names`: those of the groups, low to top.
        losses: float32 (N,), the cross-entropy of each image.
        compute: see `Forward.compute`.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        images: Tensor,
        labels: Tensor,
        forward: Forward,
        adapters: nn.ModuleList | None,
    ):
        self.group_names, self.adapters, self.compute = extractor.groups, adapters, forward.compute
        self._images = images
        self.output, self.layers = extractor.sort(forward(extractor.module, images))
        self.losses = cross_entropy(self.output.logits.float(), labels, reduction="none")

    @cached_property
    def gradient(self) -> Tensor:
        """J_S = dL/dx of each image (N, 3, H, W), itself differentiable (reverse over reverse)."""
        return attention.input_gradient(self.losses, self._images, create_graph=True)


# One object per name: what has been compiled is found again by it.
_mapping = cache(attention.mapping)
