"""Transfer terms: scalars in float32 (float64 for float64), to be added to a student's task loss.

Weights are the caller's, loss = task loss + sum of beta * term, but for `AttentionTransfer`, which has its own, and for
`distillation`, which contains the task loss. Two forms of a distance exist, because the paper and
the authors' public code differ:

- `form="code"`: the mean of squares over batch and positions, summed over layers. The public code uses beta = 1000.
- `form="paper"`: eq. 2 as printed, half the *unsquared* l2 norm per sample, averaged over the batch, summed over
  layers.

Per sample the code form is the squared distance of the paper form's vectors, divided by H * W. Functions detach
nothing: call the teacher without gradients.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from at_repro import attention
from at_repro.attention import full_precision, normalize, peaks, power_sum, same_size
from at_repro.errors import ParameterError, check_choice, check_weight, is_integer

FORMS = ("code", "paper")
"""How a transfer term measures a distance: see the module's description."""


def activation_transfer(
    student_groups: Sequence[Tensor],
    teacher_groups: Sequence[Tensor],
    mapping: str | Callable[[Tensor], Tensor] = power_sum,
    form: str = "code",
    norm: str = "l2",
) -> Tensor:
    """Activation-based attention transfer (eq. 2, without the task loss and beta).

    Args:
        student_groups: activations (N, C, H, W), one per layer; low to top by custom.
        teacher_groups: as many, in pairs with the student's; channels and sizes may differ.
        mapping: a mapping function or its name, such as "sum-2".
        form, norm: as for `map_transfer`.

    Returns:
        Scalar.

    Raises:
        ParameterError: as `map_transfer`; an unknown mapping; activations of which a mapping by name makes no maps.
    """
    if not callable(mapping):
        mapping = attention.mapping(mapping)
    return map_transfer([mapping(a) for a in student_groups], [mapping(a) for a in teacher_groups], form, norm)


class AttentionTransfer(nn.Module):
    """`activation_transfer` (eq. 2), weighted, for the training loop of somebody else: no parameters, no state.

    Maps are compared at the smaller of both sizes. A mean over the batch: with DistributedDataParallel and equal
    batches one beta serves any number of processes. `beta` may be set between steps, as for AT+KD, whose beta decays.

    Args:
        pairs: indices (student's, teacher's) of the groups that are compared; None: all, in order.
        mapping: a mapping function or its name, such as "sum-2".
        beta: the weight, above 0; None: 1000 or, for form "paper", 0.1 as printed, with
            which the student of this study did not gain significantly. Form "code" is a mean over positions: each of
            an H x W map weighs beta / HW. 1000 is for 32 x 32 to 8 x 8 positions, or 14 x 14 and 7 x 7. As much weigh
            those of 4 x 4 and 2 x 2 with 1000 * 4 ** 2 / 14 ** 2 = 82; of our one run of such maps the error was far
            larger with 1000.
        form, norm: as for `map_transfer`; another norm than "l2" wants another beta.

    Shape:
        Activations (N, C, H, W) of the student's groups and of the teacher's, as `networks.tap` returns them, to a
        scalar: add it to the task loss. The teacher's are taken without gradients.

    Raises ParameterError for a value that is not allowed; when called, as `activation_transfer`, for a group that is
    not there, for what is no list of tensors, for maps of one position, which are all alike once they are normalised,
    and where the teacher's activations alone have gradients: the student's come first.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[int, int]] | None = None,
        mapping: str | Callable[[Tensor], Tensor] = "sum-2",
        beta: float | None = None,
        form: str = "code",
        norm: str = "l2",
    ):
        super().__init__()
        if not callable(mapping):
            attention.mapping(mapping)  # its name is checked now
        check_choice("norm", norm, attention.NORMS)
        if pairs is not None and not (isinstance(pairs, Sequence) and pairs and all(map(_is_pair, pairs))):
            raise ParameterError("pairs", pairs, "one or more pairs of indices from 0")
        check_choice("form", form, FORMS)
        if beta is None:
            beta = 1000.0 if form == "code" else 0.1
        check_weight("beta", beta)
        self.pairs, self.mapping, self.beta, self.form, self.norm = pairs, mapping, beta, form, norm

    def forward(self, student_groups: Sequence[Tensor], teacher_groups: Sequence[Tensor]) -> Tensor:
        for groups in (student_groups, teacher_groups):
            is_list = isinstance(groups, tuple | list)
            if not is_list or not all(isinstance(group, Tensor) for group in groups):
                members = f" of {', '.join(sorted({type(group).__name__ for group in groups}))}" if is_list else ""
                raise ParameterError(
                    "groups", type(groups).__name__ + members, "a list of tensors (N, C, H, W), such as output.groups"
                )
        if self.pairs is not None:
            for own, other in self.pairs:
                if own >= len(student_groups) or other >= len(teacher_groups):
                    there = f"indices below {len(student_groups)} and {len(teacher_groups)}"
                    raise ParameterError("pairs", (own, other), there)
            student_groups = [student_groups[own] for own, _ in self.pairs]
            teacher_groups = [teacher_groups[other] for _, other in self.pairs]
        own_have, others_have = (any(group.requires_grad for group in of) for of in (student_groups, teacher_groups))
        if others_have and not own_have:
            raise ParameterError(
                "groups", "gradients on the teacher's alone", "the student's groups, then the teacher's"
            )
        for groups in zip(student_groups, teacher_groups, strict=False):
            sides = [min(pair) for pair in zip(*(group.shape[2:] for group in groups), strict=False)]
            if sides == [1, 1] and self.norm != "none":
                raise ParameterError("groups", "maps of one position", "a lower layer: of one position all are alike")
        targets = [group.detach() for group in teacher_groups]
        return self.beta * activation_transfer(student_groups, targets, self.mapping, self.form, self.norm)


def _is_pair(pair: object) -> bool:
    return isinstance(pair, Sequence) and len(pair) == 2 and all(is_integer(index) and index >= 0 for index in pair)


def map_transfer(
    student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], form: str = "code", norm: str = "l2"
) -> Tensor:
    """`activation_transfer` (eq. 2) from maps already computed, so that several students can share the teacher's.

    Args:
        student_maps: maps (N, H, W), not normalised, one per layer.
        teacher_maps: as many. Where sizes differ, both are resized to the smaller height and width before normalising.
        form: "code" or "paper".
        norm: what each map is divided by: "l2", "l1" or "none".

    Returns:
        Scalar.

    Raises:
        ParameterError: no pairs, unequal numbers of layers or of samples, maps that are not 3-D, unknown form or norm.
    """
    _check_pairs(student_maps, teacher_maps, form, "(N, H, W)")
    distances = []
    for student, teacher in zip(student_maps, teacher_maps, strict=True):
        student, teacher = same_size(student, teacher)
        difference = normalize(student, norm) - normalize(teacher, norm)
        distances.append(_distance(difference, form))
    return sum(distances[1:], distances[0])


def full_activation_transfer(
    student_groups: Sequence[Tensor], teacher_groups: Sequence[Tensor], form: str = "code"
) -> Tensor:
    """Full-activation transfer, F-ActT (Table 1): whole activations instead of maps, each sample l2-normalised.

    The paper does not say how the squares are reduced. Here form "code" is the squared l2 distance of a sample's
    normalised activations over H * W (squares summed over channels, averaged over positions and batch). As in
    `activation_transfer` the vectors have length 1, so the same beta puts the same weight on the squared distance.

    Args:
        student_groups: activations (N, C, H, W), one per layer, after `adapters` where channels differ.
        teacher_groups: as many, with the same channels. Where sizes differ, both are resized to the smaller height and
            width before normalising.
        form: "code" or "paper".

    Returns:
        Scalar.

    Raises:
        ParameterError: no pairs, unequal numbers of layers or of samples, activations that are not 4-D, unequal
            channels (the error names the group, counted from 0), unknown form.
    """
    _check_pairs(student_groups, teacher_groups, form, "(N, C, H, W)")
    distances = []
    for index, (student, teacher) in enumerate(zip(student_groups, teacher_groups, strict=True)):
        if student.shape[1] != teacher.shape[1]:
            requirement = f"the teacher's {teacher.shape[1]} channels: put an adapter (a 1x1 convolution) between them"
            raise ParameterError(f"student_groups[{index}]", f"{student.shape[1]} channels", requirement)
        student, teacher = same_size(student, teacher)
        distances.append(_distance(normalize(student) - normalize(teacher), form))
    return sum(distances[1:], distances[0])


def adapters(
    student_channels: Sequence[int], teacher_channels: Sequence[int], generator: torch.Generator
) -> nn.ModuleList:
    """What brings a student's groups to the teacher's channels for F-ActT (section 4.1).

    Trained with the student, thrown away after, not counted in its size.

    Args:
        student_channels: channels of each student group.
        teacher_channels: channels of the teacher group it is paired with.
        generator: source of the initial weights (a CPU generator); the global random state is neither read nor moved.

    Returns:
        One module per pair, a 1x1 convolution without bias (Kaiming normal, fan-in), an identity where channels agree;
        on the CPU in float32. Their parameters belong to the student's optimizer.

    Raises:
        ParameterError: unequal numbers of groups.
    """
    if len(student_channels) != len(teacher_channels):
        requirement = f"as many groups as the teacher has ({len(teacher_channels)})"
        raise ParameterError("student_channels", list(student_channels), requirement)
    layers = nn.ModuleList()
    for student, teacher in zip(student_channels, teacher_channels, strict=True):
        if student == teacher:
            layers.append(nn.Identity())
            continue
        layer = nn.utils.skip_init(nn.Conv2d, student, teacher, kernel_size=1, bias=False)
        nn.init.kaiming_normal_(layer.weight, generator=generator)
        layers.append(layer)
    return layers


def softened_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """The teacher's part of knowledge distillation: T^2 * KL(teacher || student) at temperature T.

    Summed over classes and averaged over the batch. T^2 keeps its gradient on the scale of the task loss's.

    Args:
        student_logits, teacher_logits: (N, K), any floating dtype, finite.
        temperature: T, positive.

    Returns:
        Scalar.

    Raises:
        ParameterError: temperature not positive and finite, or logits of different shapes or not 2-D.
    """
    if student_logits.shape != teacher_logits.shape:
        requirement = f"the shape of the teacher's, {tuple(teacher_logits.shape)}"
        raise ParameterError("student_logits", f"tensor of shape {tuple(student_logits.shape)}", requirement)
    return divergence(
        log_probabilities(student_logits, temperature), log_probabilities(teacher_logits, temperature), temperature
    )


def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Logarithms of the class probabilities at temperature T: a teacher's serve all its students.

    Args:
        logits: (N, K), any floating dtype, finite.
        temperature: T, positive.

    Returns:
        (N, K), float32 (float64 for float64).

    Raises:
        ParameterError: temperature not positive and finite; logits that are not 2-D.
    """
    if not 0 < temperature < float("inf"):
        raise ParameterError("temperature", temperature, "a positive, finite number")
    if logits.dim() != 2:
        raise ParameterError("logits", f"tensor of shape {tuple(logits.shape)}", "a tensor (N, K)")
    return F.log_softmax(full_precision(logits) / temperature, dim=1)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`softened_divergence` of what `log_probabilities` made at this temperature: (N, K) both, to a scalar."""
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def distillation(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float = 4.0, alpha: float = 0.9
) -> Tensor:
    """Knowledge distillation as a whole loss: alpha * T^2 * KL + (1 - alpha) * cross entropy (section 4.1).

    Args:
        student_logits, teacher_logits, temperature: as for `softened_divergence`; the paper uses T = 4.
        labels: (N,), int64, or probabilities (N, K), floating, as of mixup.
        alpha: weight of the teacher, in [0, 1]; the paper uses 0.9.

    Returns:
        Scalar. It contains the task loss, so do not add that a second time.

    Raises ParameterError as `softened_divergence`, and for an alpha outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ParameterError("alpha", alpha, "a number from 0 to 1")
    from_teacher = softened_divergence(student_logits, teacher_logits, temperature)
    return alpha * from_teacher + (1 - alpha) * F.cross_entropy(full_precision(student_logits), labels)


def gradient_transfer(student_gradient: Tensor, teacher_gradient: Tensor) -> Tensor:
    """Gradient-based attention transfer (eq. 4): half the batch mean of ||J_S - J_T||_2.

    Args:
        student_gradient: J_S, (N, C, H, W), from `attention.input_gradient`.
        teacher_gradient: J_T, same shape.

    Returns:
        Scalar. Unsquared as printed in the paper; where both agree its gradient is 0.

    Raises:
        ParameterError: different shapes.
    """
    _check_gradients(student_gradient, teacher_gradient)
    return _half_norm(full_precision(student_gradient) - teacher_gradient)


def min_l2(gradient: Tensor) -> Tensor:
    """Half the batch mean of ||J||_2, as section 3.2 prints it; double backpropagation (Drucker & LeCun) squares it.

    Args:
        gradient: J, (N, C, H, W), from `attention.input_gradient`.

    Returns:
        Scalar. Unsquared like eq. 4; where J is 0 its gradient is 0.
    """
    return _half_norm(gradient)


def symmetry(gradient: Tensor, flipped_gradient: Tensor) -> Tensor:
    """The symmetry norm (eq. 6): half the batch mean of ||J(x) - flip(J(flip(x)))||_2, flips being horizontal.

    Args:
        gradient: J at the images, (N, C, H, W), from `attention.input_gradient`.
        flipped_gradient: J at the mirrored images, as computed, that is, not flipped back.

    Returns:
        Scalar; 0 for a network whose loss does not change when the image is mirrored.

    Raises:
        ParameterError: different shapes.
    """
    _check_gradients(gradient, flipped_gradient)
    return _half_norm(full_precision(gradient) - flipped_gradient.flip(-1))


def _distance(difference: Tensor, form: str) -> Tensor:
    """Of normalised maps (N, H, W) or activations (N, C, H, W)."""
    if form == "paper":
        return _half_norm(difference)
    positions = difference.shape[-2] * difference.shape[-1]
    return difference.square().sum() / (len(difference) * positions)


def _half_norm(difference: Tensor) -> Tensor:
    """Half the l2 norm of each sample, averaged over the batch; the gradient of a sample that is 0 is 0."""
    difference = full_precision(difference)
    scale = peaks(difference)
    norms = torch.linalg.vector_norm((difference / scale).flatten(1), dim=1) * scale.flatten()
    return 0.5 * norms.mean()


def _check_pairs(students: Sequence[Tensor], teachers: Sequence[Tensor], form: str, shape: str) -> None:
    check_choice("form", form, FORMS)
    if len(students) == 0 or len(students) != len(teachers):
        counts = f"{len(students)} of the student with {len(teachers)} of the teacher"
        raise ParameterError("groups", counts, "as many of the one as of the other, at least one")
    for index, (student, teacher) in enumerate(zip(students, teachers, strict=True)):
        for one in (student, teacher):
            if one.dim() != shape.count(",") + 1:  # other shapes would broadcast, or divide by the wrong number
                raise ParameterError(f"groups[{index}]", f"tensor of shape {tuple(one.shape)}", f"a tensor {shape}")
        if len(student) != len(teacher):
            counts = f"{len(student)} samples of the student with {len(teacher)} of the teacher"
            raise ParameterError(f"groups[{index}]", counts, "the same batch for both")


def _check_gradients(one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape:
        raise ParameterError("gradients", f"shapes {tuple(one.shape)} and {tuple(other.shape)}", "equal shapes")
