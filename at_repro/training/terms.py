"""The transfer terms of a run: what is added to the task loss, how strongly, and what it needs from the loop.

loss = task share * cross-entropy + sum over terms of weight * decay(epoch) * value
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from at_repro import attention, losses
from at_repro.errors import ParameterError
from at_repro.networks import Output
from at_repro.training.schedules import DECAYS


class TeacherBatch:
    """What a frozen teacher says of one batch: each part is computed once, for all students and terms."""

    def __init__(self, output: Output):
        self.logits = output.logits
        self._groups = output.groups
        self._maps: dict[str, list[Tensor]] = {}

    @torch.no_grad()
    def maps(self, mapping: str) -> list[Tensor]:
        """The attention maps (N, H, W) of all groups, low to top, in float32."""
        if mapping not in self._maps:
            self._maps[mapping] = [attention.mapping(mapping)(group) for group in self._groups]
        return self._maps[mapping]


@dataclass(frozen=True)
class Term:
    """One transfer term. Fields are part of a run's identity, so the default of a field is never changed."""

    kind: ClassVar[str]
    needs_teacher: ClassVar[bool] = True
    replaces_task: ClassVar[bool] = False  # True: the task loss keeps only 1 - weight
    decay: ClassVar[str] = "constant"

    @property
    def weight(self) -> float:
        """The factor on the term's value in the first epoch; `decay` says how it goes on."""
        raise NotImplementedError

    def validate(self) -> None:
        """Raises ParameterError for a value that is not allowed."""

    def value(self, student: Output, teacher: TeacherBatch) -> Tensor:
        """The term on one batch, a float32 scalar, before its weight."""
        raise NotImplementedError


@dataclass(frozen=True)
class ActivationTransfer(Term):
    """Activation-based attention transfer (eq. 2): `beta` times `losses.activation_transfer`."""

    kind: ClassVar[str] = "at"
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

    def value(self, student: Output, teacher: TeacherBatch) -> Tensor:
        function = attention.mapping(self.mapping)
        student_maps = [function(group) for group in chosen(student.groups, self.groups)]
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
        if not 0 <= self.alpha <= 1:
            raise ParameterError("alpha", self.alpha, "a number from 0 to 1")

    def value(self, student: Output, teacher: TeacherBatch) -> Tensor:
        return losses.softened_divergence(student.logits, teacher.logits, self.temperature)


TERMS: dict[str, type[Term]] = {term.kind: term for term in (ActivationTransfer, Distillation)}


def chosen(groups: Sequence[Tensor], indices: tuple[int, ...] | None) -> Sequence[Tensor]:
    if indices is None:
        return groups
    if not indices or max(indices) >= len(groups) or min(indices) < 0:
        raise ParameterError("groups", indices, f"group numbers from 0 to {len(groups) - 1}")
    return [groups[index] for index in indices]


def check_choice(parameter: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ParameterError(parameter, value, choices)


def check_weight(parameter: str, value: float) -> None:
    if not (isinstance(value, int | float) and 0 < value < float("inf")):
        raise ParameterError(parameter, value, "a number above 0")
