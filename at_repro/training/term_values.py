"""What each transfer term of a run is on one batch: its formula, on what the loop says of student and teacher."""

from collections.abc import Sequence
from functools import singledispatch

from torch import Tensor, nn

from at_repro import attention, losses
from at_repro.runs.terms import (
    ActivationTransfer,
    Distillation,
    FullActivation,
    GradientTransfer,
    MinL2,
    SymmetryNorm,
    Term,
    select_groups,
)
from at_repro.training.batch import StudentBatch, TeacherBatch


@singledispatch
def term_value(term: Term, student: StudentBatch, teacher: TeacherBatch | None) -> Tensor:
    """The term on one batch before its weight, a float32 scalar; None in place of a teacher that it does not need."""
    raise NotImplementedError(f"no value of {term.kind}")


@term_value.register
def _(term: ActivationTransfer, student: StudentBatch, teacher: TeacherBatch) -> Tensor:
    own: Sequence[str]
    others: Sequence[str]
    if term.layers is not None:
        own, others = zip(*term.layers, strict=True)
    else:
        own, others = (select_groups(batch.group_names, term.groups) for batch in (student, teacher))
    activations, maps = [student.layers[name] for name in own], teacher.maps(term.mapping, others)
    return student.compute(_map_distance, activations, maps, term.mapping, term.form, term.norm)


def _map_distance(
    activations: Sequence[Tensor], teacher_maps: Sequence[Tensor], mapping: str, form: str, norm: str
) -> Tensor:
    function = attention.mapping(mapping)
    return losses.map_transfer([function(layer) for layer in activations], teacher_maps, form, norm)


@term_value.register
def _(term: Distillation, student: StudentBatch, teacher: TeacherBatch) -> Tensor:
    own = losses.log_probabilities(student.output.logits, term.temperature)
    return losses.divergence(own, teacher.log_probabilities(term.temperature), term.temperature)


@term_value.register
def _(term: FullActivation, student: StudentBatch, teacher: TeacherBatch) -> Tensor:
    own, others = (select_groups(batch.output.groups, term.groups) for batch in (student, teacher))
    return student.compute(_activation_distance, student.adapters, own, others, term.form)


def _activation_distance(adapters: nn.ModuleList, own: Sequence[Tensor], others: Sequence[Tensor], form: str) -> Tensor:
    groups = [adapter(group.float()) for adapter, group in zip(adapters, own, strict=True)]
    return losses.full_activation_transfer(groups, others, form)


@term_value.register
def _(term: GradientTransfer, student: StudentBatch, teacher: TeacherBatch) -> Tensor:
    return losses.gradient_transfer(student.gradient, teacher.gradient)


@term_value.register
def _(term: MinL2, student: StudentBatch, teacher: None) -> Tensor:
    return losses.min_l2(student.gradient)


@term_value.register
def _(term: SymmetryNorm, student: StudentBatch, teacher: None) -> Tensor:
    return losses.symmetry(*student.gradient.chunk(2))
