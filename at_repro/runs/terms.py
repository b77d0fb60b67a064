"""The transfer terms of a run: what is added to the task loss, how strongly, and what it needs from the loop.

loss = task share * cross-entropy + sum over terms of weight * decay(epoch) * value
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from at_repro.errors import check_choice, check_range, check_weight
from at_repro.runs.schedules import DECAYS

Item = TypeVar("Item")


class _Plain:
    """What a term has that does not have it as a field. No dataclass: in one, each would be a field of every term."""

    beta: float
    groups: tuple[int, ...] | None = None  # which groups are paired, counted from 0; None: all
    layers: tuple[tuple[str, str], ...] | None = None  # pairs of layers by name, the student's first


@dataclass(frozen=True, kw_only=True)
class Term(_Plain):
    """One transfer term. Fields are part of a run's identity, so the default of a field is never changed.

    What it computes on a batch is its `training.term_values.term_value`.
    """

    kind: ClassVar[str]
    needs_teacher: ClassVar[bool] = True
    needs_gradient: ClassVar[bool] = False  # of the student's loss by the images
    needs_mirror: ClassVar[bool] = False  # the batch is followed by its mirror images, the task loss is put on both
    needs_adapters: ClassVar[bool] = False  # 1x1 convolutions to the teacher's channels
    pairs_groups: ClassVar[bool] = False  # compares groups of student and teacher, chosen by `groups`
    replaces_task: ClassVar[bool] = False  # the task loss keeps only 1 - weight * decay

    decay: str = "constant"

    @property
    def weight(self) -> float:
        """The factor on the term's value in the first epoch; `decay` says how it goes on."""
        return self.beta

    def validate(self) -> None:
        """Raises ParameterError for a value that is not allowed."""
        check_weight("beta", self.beta)
        check_choice("decay", self.decay, DECAYS)


@dataclass(frozen=True, kw_only=True)
class ActivationTransfer(Term):
    """Activation-based attention transfer (eq. 2): `beta` times `losses.activation_transfer`.

    Attributes:
        beta: the weight, above 0; 1000 as in the public code, for maps of 32 x 32 to 8 x 8 positions; smaller ones want
            a smaller one, see `losses.AttentionTransfer`. Form "paper" and other norms want another one as well: this
            study has 0.1 for the form, 42000 for norm "l1" and 0.0001 for "none".
        decay: one of `schedules.DECAYS`, see `schedules.decay_factor`.
        mapping: see `attention.mapping`.
        form, norm: see `losses.map_transfer`.
        groups: a tuple of the groups that are compared, each with the teacher's of the same number, from 0; None: all.
            Of maps of one position, as of ResNet's `layer4` at 32 pixels, the term is 0 unless norm is "none".
        layers: instead of groups, a tuple of pairs of layers by name, the student's first.
    """

    kind: ClassVar[str] = "at"
    pairs_groups: ClassVar[bool] = True
    beta: float = 1000.0
    mapping: str = "sum-2"
    form: str = "code"
    norm: str = "l2"
    groups: tuple[int, ...] | None = None
    layers: tuple[tuple[str, str], ...] | None = None

    def validate(self) -> None:
        from at_repro import attention, losses  # torch, which a list of runs does without

        super().validate()
        attention.mapping(self.mapping)
        check_choice("form", self.form, losses.FORMS)
        check_choice("norm", self.norm, attention.NORMS)


@dataclass(frozen=True, kw_only=True)
class Distillation(Term):
    """Knowledge distillation (Hinton et al., 2015), as in Section 4.1: temperature 4, alpha 0.9.

    It leaves 1 - alpha * decay of the task loss: where decay is constant the sum is `losses.distillation`.

    Attributes:
        temperature: above 0.
        alpha: the weight, from 0 to 1.
        decay: of alpha, one of `schedules.DECAYS`; what it loses goes to the task loss.
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
        check_range("alpha", self.alpha, 1)
        check_choice("decay", self.decay, DECAYS)


@dataclass(frozen=True, kw_only=True)
class FullActivation(Term):
    """F-ActT, full-activation transfer (Table 1): whole activations instead of maps, through 1x1 adapters.

    The paper lets its beta decay and gives neither value nor schedule: here beta weighs as in `ActivationTransfer`
    and falls linearly, to beta / epochs in the last epoch.

    Attributes:
        beta, decay, groups: as of `ActivationTransfer`.
        form: see `losses.full_activation_transfer`.
    """

    kind: ClassVar[str] = "f-actt"
    pairs_groups: ClassVar[bool] = True
    needs_adapters: ClassVar[bool] = True
    beta: float = 1000.0
    form: str = "code"
    groups: tuple[int, ...] | None = None
    decay: str = "linear"

    def validate(self) -> None:
        from at_repro import losses

        super().validate()
        check_choice("form", self.form, losses.FORMS)


@dataclass(frozen=True, kw_only=True)
class GradientTerm(Term):
    """A term on the gradient J of the loss by the images (Section 3.2): needs a second backward pass.

    Attributes:
        beta: the weight, above 0; the paper gives no value.
    """

    needs_gradient: ClassVar[bool] = True
    beta: float


@dataclass(frozen=True, kw_only=True)
class GradientTransfer(GradientTerm):
    """Gradient-based attention transfer (eq. 4)."""

    kind: ClassVar[str] = "grad-at"


@dataclass(frozen=True, kw_only=True)
class MinL2(GradientTerm):
    """The norm of the gradient itself, which double backpropagation (Drucker & LeCun, 1992) squares."""

    kind: ClassVar[str] = "min-l2"
    needs_teacher: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class SymmetryNorm(GradientTerm):
    """The symmetry norm (eq. 6): the gradients of an image and of its mirror image should be mirror images.

    The task loss is put on both, as the mean over images and mirror images: the paper does not say mean or sum.
    Both halves pass through the student as one batch: batch norm, where there is one, takes its statistics over both.
    """

    kind: ClassVar[str] = "symmetry"
    needs_teacher: ClassVar[bool] = False
    needs_mirror: ClassVar[bool] = True


TERMS: dict[str, type[Term]] = {
    term.kind: term
    for term in (ActivationTransfer, FullActivation, Distillation, GradientTransfer, MinL2, SymmetryNorm)
}


def select_groups(groups: Sequence[Item], indices: tuple[int, ...] | None) -> Sequence[Item]:
    """The groups a term compares: all, or those with these numbers, counted from 0."""
    return groups if indices is None else [groups[index] for index in indices]
