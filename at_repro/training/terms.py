"""The transfer terms of a run: what is added to the task loss, how strongly, and what it needs from the loop.

loss = task share * cross-entropy + sum over terms of weight * decay(epoch) * value
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from at_repro import attention, losses
from at_repro.errors import ParameterError
from at_repro.training.batch import StudentBatch, TeacherBatch
from at_repro.training.schedules import DECAYS


@dataclass(frozen=True)
class Term:
    """One transfer term. Fields are part of a run's identity, so the default of a field is never changed."""

    kind: ClassVar[str]
    needs_teacher: ClassVar[bool] = True
    needs_gradient: ClassVar[bool] = False  # of the student's loss by the images
    needs_mirror: ClassVar[bool] = False  # the batch is followed by its mirror images, the task loss is put on both
    needs_adapters: ClassVar[bool] = False  # 1x1 convolutions to the teacher's channels
    pairs_groups: ClassVar[bool] = False  # compares groups of student and teacher, chosen by `groups`
    replaces_task: ClassVar[bool] = False  # the task loss keeps only 1 - weight
    decay: ClassVar[str] = "constant"

    @property
    def weight(self) -> float:
        """The factor on the term's value in the first epoch; `decay` says how it goes on."""
        raise NotImplementedError

    def validate(self) -> None:
        """Raises ParameterError for a value that is not allowed."""

    def value(self, student: StudentBatch, teacher: TeacherBatch | None) -> Tensor:
        """The term on one batch, a float32 scalar, before its weight."""
        raise NotImplementedError


@dataclass(frozen=True)
class ActivationTransfer(Term):
    """Activation-based attention transfer (eq. 2): `beta` times `losses.activation_transfer`."""

    kind: ClassVar[str] = "at"
    pairs_groups: ClassVar[bool] = True
    beta: float = 1000.0
    mapping: str = "sum-2"
    form: str = "code"
    norm: str = "l2"
    groups: tuple[int, ...] | None = None  # which groups are paired, counted from 0; None: all
    decay: str = "constant"

    @property
    def weight(self) -> float:
        return self.beta

    def validate(self) -> None:
        attention.mapping(self.mapping)
        check_choice("form", self.form, losses.FORMS)
        check_choice("norm", self.norm, attention.NORMS)
        check_weight("beta", self.beta)
        check_choice("decay", self.decay, DECAYS)

    def value(self, student: StudentBatch, teacher: TeacherBatch | None) -> Tensor:
        function = attention.mapping(self.mapping)
        student_maps = [function(group) for group in chosen(student.output.groups, self.groups)]
        return losses.map_transfer(student_maps, chosen(teacher.maps(self.mapping), self.groups), self.form, self.norm)


@dataclass(frozen=True)
class Distillation(Term):
    """Knowledge distillation (Hinton et al., 2015), as in Section 4.1: temperature 4, alpha 0.9.

    It leaves 1 - alpha of the task loss, so that the sum is `losses.distillation`.
    """

    kind: ClassVar[str] = "kd"
    replaces_task: ClassVar[bool] = True
    temperature: float = 4.0
    alpha: float = 0.9

    @property
    def weight(self) -> float:
        return self.alpha

    def validate(self) -> None:
        check_weight("temperature", self.temperature)
        if not isinstance(self.alpha, int | float) or not 0 <= self.alpha <= 1:
            raise ParameterError("alpha", self.alpha, "a number from 0 to 1")

    def value(self, student: StudentBatch, teacher: TeacherBatch | None) -> Tensor:
        return losses.softened_divergence(student.output.logits, teacher.output.logits, self.temperature)


@dataclass(frozen=True)
class FullActivation(Term):
    """F-ActT, full-activation transfer (Table 1): whole activations instead of maps, through 1x1 adapters.

    The paper lets its beta decay and gives neither value nor schedule: here beta weighs as in `ActivationTransfer`
    and falls linearly to 0.
    """

    kind: ClassVar[str] = "f-actt"
    pairs_groups: ClassVar[bool] = True
    needs_adapters: ClassVar[bool] = True
    beta: float = 1000.0
    form: str = "code"
    groups: tuple[int, ...] | None = None
    decay: str = "linear"

    @property
    def weight(self) -> float:
        return self.beta

    def validate(self) -> None:
        check_choice("form", self.form, losses.FORMS)
        check_weight("beta", self.beta)
        check_choice("decay", self.decay, DECAYS)

    def value(self, student: StudentBatch, teacher: TeacherBatch | None) -> Tensor:
        adapted = chosen(student.adapted_groups, self.groups)
        return losses.full_activation_transfer(adapted, chosen(teacher.output.groups, self.groups), self.form)


@dataclass(frozen=True)
class GradientTerm(Term):
    """A term on the gradient J of the loss by the images (Section 3): needs a second backward pass."""

    needs_gradient: ClassVar[bool] = True
    beta: float  # the paper gives no value

    @property
    def weight(self) -> float:
        return self.beta

    def validate(self) -> None:
        check_weight("beta", self.beta)


@dataclass(frozen=True)
class GradientTransfer(GradientTerm):
    """Gradient-based attention transfer (eq. 4)."""

    kind: ClassVar[str] = "grad-at"

    def value(self, student: StudentBatch, teacher: TeacherBatch | None) -> Tensor:
        return losses.gradient_transfer(student.gradient, teacher.gradient)


@dataclass(frozen=True)
class MinL2(GradientTerm):
    """The norm of the gradient itself, as in double backpropagation (Drucker & LeCun, 1992)."""

    kind: ClassVar[str] = "min-l2"
    needs_teacher: ClassVar[bool] = False

    def value(self, student: StudentBatch, teacher: TeacherBatch | None) -> Tensor:
        return losses.min_l2(student.gradient)


@dataclass(frozen=True)
class SymmetryNorm(GradientTerm):
    """The symmetry norm (eq. 6): the gradients of an image and of its mirror image should be mirror images.

    Both halves pass through the student as one batch: batch norm, where there is one, takes its statistics over both.
    """

    kind: ClassVar[str] = "symmetry"
    needs_teacher: ClassVar[bool] = False
    needs_mirror: ClassVar[bool] = True

    def value(self, student: StudentBatch, teacher: TeacherBatch | None) -> Tensor:
        return losses.symmetry(*student.gradient.chunk(2))


TERMS: dict[str, type[Term]] = {
    term.kind: term
    for term in (ActivationTransfer, FullActivation, Distillation, GradientTransfer, MinL2, SymmetryNorm)
}


def chosen(groups: Sequence[Tensor], indices: tuple[int, ...] | None) -> Sequence[Tensor]:
    """The groups a term compares: all, or those with these numbers, counted from 0."""
    return groups if indices is None else [groups[index] for index in indices]


def check_choice(parameter: str, value: str, choices: Sequence[str]) -> None:
    """Raises ParameterError unless the value is one of the choices."""
    if value not in choices:
        raise ParameterError(parameter, value, choices)


def check_weight(parameter: str, value: float) -> None:
    """Raises ParameterError unless the value is a finite number above 0."""
    if not (isinstance(value, int | float) and 0 < value < float("inf")):
        raise ParameterError(parameter, value, "a number above 0")
