"""One batch as its teacher and as one student see it: what the transfer terms compare, each part computed once."""

from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from at_repro import attention
from at_repro.networks import Output
from at_repro.training import engine
from at_repro.training.engine import Forward


class Teacher:
    """A frozen teacher, run once per batch for a whole cohort.

    Args:
        network: the trained network, its parameters frozen.
        precision, compiled: as for its students, see `engine.forward`.
    """

    def __init__(self, network: nn.Module, precision: str, compiled: bool):
        self.network = network.eval()
        self.infer = engine.inference(network, precision, compiled)
        self.forward = engine.forward(precision, False)  # where a gradient by the images is needed

    def see(self, images: Tensor, labels: Tensor) -> "TeacherBatch":
        """Passes a batch through the teacher: normalised float32 images (N, 3, H, W), int64 labels (N,)."""
        return TeacherBatch(self, images, labels)


class TeacherBatch:
    """What a teacher says of one batch: shared by all students and all terms of a cohort."""

    def __init__(self, teacher: Teacher, images: Tensor, labels: Tensor):
        self._teacher, self._images, self._labels = teacher, images, labels
        self._maps: dict[str, list[Tensor]] = {}
        self.output: Output = teacher.infer(images)

    @torch.no_grad()
    def maps(self, mapping: str) -> list[Tensor]:
        """The attention maps (N, H, W) of all groups, low to top, in float32."""
        if mapping not in self._maps:
            self._maps[mapping] = [attention.mapping(mapping)(group) for group in self.output.groups]
        return self._maps[mapping]

    @cached_property
    def gradient(self) -> Tensor:
        """J_T = dL/dx of each image (N, 3, H, W), without graph: a forward and a backward pass of the teacher."""
        images = self._images.detach().requires_grad_()
        logits = self._teacher.forward(self._teacher.network, images).logits.float()
        return attention.input_gradient(cross_entropy(logits, self._labels, reduction="none"), images)


class StudentBatch:
    """One student's pass over one batch.

    Args:
        network: the student, in training mode.
        images: normalised float32 (N, 3, H, W); with gradient terms they require grad.
        labels: int64 (N,).
        forward: how to run it; for gradient terms one that can be differentiated twice.
        adapters: the 1x1 convolutions of F-ActT, one per group; None without that term.
    """

    def __init__(
        self, network: nn.Module, images: Tensor, labels: Tensor, forward: Forward, adapters: nn.ModuleList | None
    ):
        self._images, self._adapters = images, adapters
        self.output: Output = forward(network, images)
        self.losses = cross_entropy(self.output.logits.float(), labels, reduction="none")

    @cached_property
    def gradient(self) -> Tensor:
        """J_S = dL/dx of each image (N, 3, H, W), itself differentiable (reverse over reverse)."""
        return attention.input_gradient(self.losses, self._images, create_graph=True)

    @property
    def adapted_groups(self) -> list[Tensor]:
        """The groups' activations, brought to the teacher's channels."""
        return [adapt(group.float()) for adapt, group in zip(self._adapters, self.output.groups, strict=True)]
