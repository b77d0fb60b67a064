"""Transfer terms on activations and logits: values by hand, identities between the two forms, derivatives, faults."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from at_repro import networks
from at_repro.errors import ParameterError
from at_repro.losses import (
    FORMS,
    AttentionTransfer,
    activation_transfer,
    adapters,
    distillation,
    full_activation_transfer,
    map_transfer,
    softened_divergence,
)

SHAPES = st.tuples(*(st.integers(1, largest) for largest in (3, 4, 5, 5)))
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])
TRANSFERS = [activation_transfer, full_activation_transfer]


def random(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Normalised maps of one sample: student (0.6, 0.8), teacher (1, 0). Difference (-0.4, 0.8), squared distance 0.8.
STUDENT = torch.tensor([[[3.0, 4.0]]])
TEACHER = torch.tensor([[[5.0, 0.0]]])
SAME = torch.tensor([[[1.0, 1.0]]])


def test_map_transfer_by_hand_in_both_forms():
    torch.testing.assert_close(map_transfer([STUDENT], [TEACHER]), torch.tensor(0.8 / 2))  # mean over two positions
    torch.testing.assert_close(map_transfer([STUDENT], [TEACHER], form="paper"), torch.tensor(math.sqrt(0.8) / 2))


def test_map_transfer_averages_over_the_batch_and_sums_over_layers():
    student, teacher = torch.cat([STUDENT, SAME]), torch.cat([TEACHER, SAME])  # the second sample's distance is 0
    torch.testing.assert_close(map_transfer([student], [teacher]), torch.tensor(0.8 / 2 / 2))
    torch.testing.assert_close(map_transfer([student], [teacher], form="paper"), torch.tensor(math.sqrt(0.8) / 2 / 2))
    for form in FORMS:
        one = map_transfer([STUDENT], [TEACHER], form=form)
        torch.testing.assert_close(map_transfer([STUDENT, STUDENT], [TEACHER, TEACHER], form=form), 2 * one)


def test_map_transfer_with_the_other_norms_by_hand():
    # l1: (3/7, 4/7) against (1, 0): difference (-4/7, 4/7). None: (3, 4) against (5, 0): (-2, 4).
    torch.testing.assert_close(map_transfer([STUDENT], [TEACHER], norm="l1"), torch.tensor(16 / 49))
    torch.testing.assert_close(map_transfer([STUDENT], [TEACHER], norm="none"), torch.tensor((4 + 16) / 2))
    torch.testing.assert_close(map_transfer([STUDENT], [TEACHER], "paper", "none"), torch.tensor(math.sqrt(20) / 2))


@pytest.mark.parametrize(
    ("mapping", "student_map"),
    [("sum-1", [5, 4]), ("sum-2", [17, 16]), ("sum-4", [257, 256]), ("max-1", [4, 4]), ("max-2", [16, 16])],
)
def test_activation_transfer_by_hand_for_every_mapping(mapping, student_map):
    student = torch.tensor([[[[-4.0, 0.0]], [[1.0, 4.0]]]])  # places (-4, 1) and (0, 4)
    teacher = torch.tensor([[[[0.0, 2.0]]]])  # one channel; its normalised map is (0, 1)
    length = math.hypot(*student_map)
    squared = (student_map[0] / length) ** 2 + (student_map[1] / length - 1) ** 2
    torch.testing.assert_close(activation_transfer([student], [teacher], mapping), torch.tensor(squared / 2))
    paper = activation_transfer([student], [teacher], mapping, form="paper")
    torch.testing.assert_close(paper, torch.tensor(math.sqrt(squared) / 2))


def test_full_activation_transfer_by_hand_in_both_forms():
    # Two channels, two places, length 5: (3, 4, 0, 0)/5 against (1, 0, 0, 0); squared distance 0.8 over two places.
    student = torch.tensor([[[[3.0, 4.0]], [[0.0, 0.0]]]])
    teacher = torch.tensor([[[[7.0, 0.0]], [[0.0, 0.0]]]])
    torch.testing.assert_close(full_activation_transfer([student], [teacher]), torch.tensor(0.8 / 2))
    paper = full_activation_transfer([student], [teacher], form="paper")
    torch.testing.assert_close(paper, torch.tensor(math.sqrt(0.8) / 2))


def test_full_activation_transfer_sees_signs_and_channels_that_maps_do_not():
    student = random((2, 3, 4, 4))
    torch.testing.assert_close(activation_transfer([student], [-student.flip(1)]), torch.tensor(0.0).double())
    # Opposite unit vectors are at distance 2: squared 4, over 16 places.
    torch.testing.assert_close(full_activation_transfer([student], [-student]), torch.tensor(4 / 16).double())


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.sampled_from(["sum-1", "sum-2", "max-1"]))
def test_the_code_form_is_the_squared_distance_over_the_number_of_positions(shape, mapping):
    """Without this beta = 1000 would not mean what it does in the public code."""
    student, teacher = random(shape, 1), random(shape, 2)
    positions = shape[2] * shape[3]
    for transfer, arguments in ((activation_transfer, {"mapping": mapping}), (full_activation_transfer, {})):
        squared = [
            # The paper form of a single sample is half its distance.
            (2 * transfer([student[i : i + 1]], [teacher[i : i + 1]], form="paper", **arguments)) ** 2
            for i in range(shape[0])
        ]
        code = transfer([student], [teacher], form="code", **arguments)
        torch.testing.assert_close(code, torch.stack(squared).mean() / positions)


@settings(max_examples=30, deadline=None)
@given(SHAPES, DTYPES, st.sampled_from(FORMS), st.sampled_from(TRANSFERS), st.booleans())
def test_a_term_is_zero_against_itself_with_finite_gradients(shape, dtype, form, transfer, dead):
    """The unsquared norm has no derivative at 0, and dead activations no direction: neither may give NaN."""
    activations = torch.zeros(shape, dtype=dtype) if dead else random(shape).to(dtype)
    student = activations.clone().requires_grad_()
    value = transfer([student], [activations], form=form)
    value.backward()
    assert value == 0 and value.dtype == torch.float32 and student.grad.isfinite().all()


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.sampled_from(FORMS), st.sampled_from(TRANSFERS), DTYPES)
def test_terms_ignore_a_flip_of_both_and_the_scale_of_either(shape, form, transfer, dtype):
    student, teacher = random(shape, 1).to(dtype), random(shape, 2).to(dtype)
    value = transfer([student], [teacher], form=form)
    torch.testing.assert_close(transfer([student.flip(-1)], [teacher.flip(-1)], form=form), value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(transfer([student * 64], [teacher / 4], form=form), value, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.sampled_from(FORMS), st.sampled_from(TRANSFERS))
def test_large_half_precision_activations_give_finite_terms(shape, form, transfer):
    student = random(shape, 1).clamp(-1, 1).mul(6e4).half().requires_grad_()
    value = transfer([student], [random(shape, 2).half()], form=form)
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all()


def test_a_dead_student_layer_against_a_living_teacher_has_a_finite_gradient():
    for form in FORMS:
        for mapping in ("sum-1", "sum-2", "sum-0.5", "max-1"):
            student = torch.zeros(2, 3, 4, 4, requires_grad=True)
            activation_transfer([student], [random((2, 3, 4, 4), dtype=torch.float32)], mapping, form).backward()
            assert student.grad.isfinite().all(), (form, mapping)


@pytest.mark.parametrize("transfer", [map_transfer, full_activation_transfer])
def test_sizes_are_brought_together_before_normalising_by_hand(transfer):
    """The other order would give whatever is resized a length that is not 1.

    Four places are halved to (3, 4) and divided by 5; divided first they would be (3, 4) over the root of 84.
    """
    large, small = torch.tensor([[[2.0, 4.0, 8.0, 0.0]]]), TEACHER
    if transfer is full_activation_transfer:  # one length for both channels: (3, 0, 0, 4) against (5, 0, 0, 0)
        large = torch.tensor([[[[2.0, 4.0, 0.0, 0.0]], [[0.0, 0.0, 8.0, 0.0]]]])
        small = torch.stack([TEACHER, torch.zeros_like(TEACHER)], dim=1)
    for student, teacher in ((large, small), (small, large)):
        torch.testing.assert_close(transfer([student], [teacher]), torch.tensor(0.8 / 2))
        torch.testing.assert_close(transfer([student], [teacher], form="paper"), torch.tensor(math.sqrt(0.8) / 2))


@pytest.mark.parametrize("transfer", [map_transfer, full_activation_transfer])
def test_of_two_sizes_the_smaller_height_and_the_smaller_width_are_taken(transfer):
    """8x2 and 4x4 meet at 4x2: the size of either would make up places that one of the two does not have."""
    tall, broad = torch.zeros(1, 8, 2), torch.zeros(1, 4, 4)
    tall[0, :2] = torch.tensor([[2.0, 8.0], [4.0, 0.0]])  # the mean of the two rows is (3, 4)
    broad[0, 0] = torch.tensor([5.0, 9.0, 0.0, 0.0])  # the means of two columns are (7, 0)
    if transfer is full_activation_transfer:
        tall, broad = tall[:, None], broad[:, None]
    # (0.6, 0.8) against (1, 0) in the first of four rows, zeros in the others: 0.8 over eight places.
    for student, teacher in ((tall, broad), (broad, tall)):
        torch.testing.assert_close(transfer([student], [teacher]), torch.tensor(0.8 / 8))


def test_terms_are_computed_in_float32_under_autocast():
    student, teacher = (random((2, 3, 4, 4), seed).bfloat16() for seed in (1, 2))
    logits, labels = (random((2, 5), 3).bfloat16(), random((2, 5), 4).bfloat16()), torch.tensor([1, 4])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = [transfer([student], [teacher]) for transfer in TRANSFERS] + [distillation(*logits, labels)]
    outside = [transfer([student], [teacher]) for transfer in TRANSFERS] + [distillation(*logits, labels)]
    assert all(value.dtype == torch.float32 for value in inside) and inside == outside


@pytest.mark.parametrize("form", FORMS)
def test_terms_compile_without_a_graph_break(form):
    """Mapping, resizing and norm of maps included."""
    student, teacher = random((2, 3, 4, 4), 1, torch.float32), random((2, 3, 2, 2), 2, torch.float32)
    for transfer in TRANSFERS:
        term = lambda s, t, transfer=transfer: transfer([s], [t], form=form)  # noqa: E731
        compiled = torch.compile(term, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(student, teacher), term(student, teacher))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("norm", ["l2", "l1", "none"])
@pytest.mark.parametrize("mapping", ["sum-2", "max-1", "sum-1.5"])
def test_activation_transfer_has_the_right_derivative(form, norm, mapping):
    student, teacher = random((2, 3, 2, 4), 1).requires_grad_(), random((2, 2, 2, 2), 2)
    assert gradcheck(lambda s: activation_transfer([s], [teacher], mapping, form, norm), student)


@pytest.mark.parametrize("form", FORMS)
def test_full_activation_transfer_has_the_right_derivative(form):
    student, teacher = random((2, 3, 2, 2), 1).requires_grad_(), random((2, 3, 2, 2), 2)
    assert gradcheck(lambda s: full_activation_transfer([s], [teacher], form), student)


@pytest.mark.parametrize("transfer", [*TRANSFERS, map_transfer])
def test_faulty_pairs_are_refused_in_one_line(transfer):
    groups = [random((2, 3, 4, 4)[: 3 if transfer is map_transfer else 4])]
    for student, teacher, message in (
        ([], [], "^groups: '0 of the student with 0"),
        (groups, groups * 2, "^groups: '1 of the student with 2"),
        (groups, [groups[0][:1]], r"^groups\[0\]: '2 samples of the student with 1"),
    ):
        with pytest.raises(ParameterError, match=message):
            transfer(student, teacher)
    with pytest.raises(ParameterError, match=r"^form: 'papers' is not allowed; allowed: code, paper$"):
        transfer(groups, groups, form="papers")


def test_unequal_channels_of_whole_activations_name_the_group():
    same, wide = random((2, 3, 4, 4)), random((2, 6, 4, 4))
    with pytest.raises(ParameterError, match=r"^student_groups\[1\]: '3 channels' .* 6 channels: put an adapter"):
        full_activation_transfer([same, same], [same, wide])


def test_adapters_match_channels_and_only_where_they_differ():
    layers = adapters([16, 32, 64], [16, 64, 128], torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in layers.parameters()) == 32 * 64 + 64 * 128, "1x1, no bias, none where widths agree"
    outputs = [layer(torch.ones(1, c, 2, 2)) for layer, c in zip(layers, [16, 32, 64], strict=True)]
    assert [o.shape for o in outputs] == [(1, 16, 2, 2), (1, 64, 2, 2), (1, 128, 2, 2)]
    assert torch.equal(outputs[0], torch.ones(1, 16, 2, 2))
    torch.testing.assert_close(layers[2].weight.std().item(), math.sqrt(2 / 64), rtol=0.03, atol=0)


def test_adapters_come_from_their_generator_alone():
    before = torch.get_rng_state()
    one, other = (adapters([4], [8], torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one[0].weight, other[0].weight)
    assert torch.equal(torch.get_rng_state(), before), (
        "a student's other random numbers must not depend on its adapters"
    )


def test_adapters_refuse_unequal_numbers_of_groups():
    with pytest.raises(ParameterError, match=r"^student_channels: \[16\] .*\(2\)$"):
        adapters([16], [16, 32], torch.Generator())


def test_distillation_by_hand():
    # Two classes: softened at T = 4, logits 4 ln 3 and 0 give (3/4, 1/4); equal logits give (1/2, 1/2).
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[4 * math.log(3), 0.0]])
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    torch.testing.assert_close(softened_divergence(student, teacher), torch.tensor(16 * divergence))
    both = distillation(student, teacher, torch.tensor([0]))
    torch.testing.assert_close(both, torch.tensor(0.9 * 16 * divergence + 0.1 * math.log(2)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 10), st.sampled_from([1.0, 4.0]), DTYPES)
def test_the_divergence_sums_over_classes_and_averages_over_the_batch(batch, classes, temperature, dtype):
    """Averaging over classes too, as an old version of the public code did, would weaken KD by their number."""
    student, teacher = random((batch, classes), 1).to(dtype), random((batch, classes), 2).to(dtype)
    p, q = (F.softmax(x.double() / temperature, dim=1) for x in (teacher, student))
    wanted = temperature**2 * (p * (p / q).log()).sum() / batch
    value = softened_divergence(student, teacher, temperature)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), wanted, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(softened_divergence(student, student, temperature), torch.tensor(0.0))


def test_alpha_mixes_divergence_and_cross_entropy():
    student, teacher, labels = random((3, 5), 1), random((3, 5), 2), torch.tensor([0, 4, 2])
    torch.testing.assert_close(distillation(student, teacher, labels, alpha=0), F.cross_entropy(student, labels))
    torch.testing.assert_close(distillation(student, teacher, labels, alpha=1), softened_divergence(student, teacher))


def test_large_logits_in_half_precision_stay_finite():
    student = torch.tensor([[6e4, -6e4]]).half().requires_grad_()
    value = distillation(student, -student.detach(), torch.tensor([1]))
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all()


def test_distillation_has_the_right_derivative():
    student, teacher, labels = random((3, 5), 1).requires_grad_(), random((3, 5), 2), torch.tensor([0, 4, 2])
    assert gradcheck(lambda s: distillation(s, teacher, labels), student)


def test_distillation_refuses_scores_of_pixels():
    """The mean over images alone would weigh them as many times too much as there are pixels."""
    with pytest.raises(ParameterError, match=r"^logits: 'tensor of shape \(2, 5, 4, 4\)' .*\(N, K\)"):
        softened_divergence(torch.zeros(2, 5, 4, 4), torch.zeros(2, 5, 4, 4), 4.0)


def test_distillation_refuses_what_makes_no_sense():
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    for temperature in (0, float("inf")):
        with pytest.raises(ParameterError, match=f"^temperature: {temperature} "):
            distillation(logits, logits, labels, temperature=temperature)
    with pytest.raises(ParameterError, match=r"^alpha: 1\.5 "):
        distillation(logits, logits, labels, alpha=1.5)
    with pytest.raises(ParameterError, match=r"^student_logits: .*\(2, 3\).*\(2, 4\)$"):
        distillation(logits, torch.zeros(2, 4), labels)


@pytest.mark.parametrize(
    ("term", "student", "teacher"),
    [
        (map_transfer, (2, 3, 4, 4), (2, 1, 4, 4)),
        (map_transfer, (2, 4), (2, 4)),
        (map_transfer, (2, 4, 4), (2, 1, 4, 4)),
        (full_activation_transfer, (2, 3, 8), (2, 3, 8)),
        (full_activation_transfer, (2, 3, 4, 4), (2, 3, 4)),
    ],
)
def test_other_shapes_are_refused(term, student, teacher):
    """They would broadcast, or be divided by the wrong number of places, without a word."""
    with pytest.raises(ParameterError, match=r"^groups\[0\]: .*a tensor \(N, "):
        term([torch.rand(student)], [torch.rand(teacher)])


def test_a_mapping_is_a_name_or_a_function():
    with pytest.raises(ParameterError, match=r"^mapping: 3 "):
        activation_transfer([torch.rand(1, 2, 3, 3)], [torch.rand(1, 2, 3, 3)], mapping=3)


def test_the_module_is_the_weighted_term_of_the_named_pairs():
    student, teacher, middle, top = (random((4, 3, 4, 4), seed) for seed in range(4))
    transfer = AttentionTransfer([(1, 0), (2, 2)], "sum-1", beta=10.0, form="paper", norm="l1")
    value = transfer([top, student, middle], [teacher, top, middle])
    expected = 10 * activation_transfer([student, middle], [teacher, middle], "sum-1", "paper", "l1")
    torch.testing.assert_close(value, expected)
    assert transfer.mapping == "sum-1" and not list(transfer.parameters()) and not transfer.state_dict()


@pytest.mark.parametrize(
    "groups", [networks.Output(random((2, 3)), ()), random((2, 3, 4, 4)), [random((2, 3)).numpy()], None]
)
def test_the_module_says_what_it_takes_instead_of_an_output(groups):
    with pytest.raises(ParameterError, match=r"^groups: .* allowed: a list of tensors \(N, C, H, W\), such as output"):
        AttentionTransfer()(groups, groups)


def test_the_module_teaches_the_student_alone():
    student, teacher = (random((2, 3, 4, 4), seed).requires_grad_() for seed in range(2))
    AttentionTransfer()([student], [teacher * 2]).backward()
    assert student.grad.abs().max() > 0 and teacher.grad is None


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"pairs": []}, "^pairs"),
        ({"pairs": 3}, "^pairs"),
        ({"pairs": [0, 1]}, "^pairs"),
        ({"pairs": [(0.0, 1.0)]}, "^pairs"),
        ({"pairs": [(0, -1)]}, "^pairs"),
        ({"mapping": "mean"}, "^mapping"),
        ({"beta": -1.0}, "^beta"),
        ({"form": "book"}, "^form"),
        ({"norm": "l3"}, "^norm"),
    ],
)
def test_the_module_refuses_bad_values_when_it_is_made(values, match):
    with pytest.raises(ParameterError, match=match):
        AttentionTransfer(**values)


def test_the_module_refuses_groups_that_are_not_there():
    with pytest.raises(ParameterError, match=r"^pairs: \(0, 1\).*below 1 and 1"):
        AttentionTransfer([(0, 1)])([random((1, 1, 2, 2))], [random((1, 1, 2, 2))])


def test_the_weight_is_that_of_the_form():
    assert [AttentionTransfer(form=form).beta for form in ("code", "paper")] == [1000.0, 0.1]


def test_a_student_in_the_teachers_place_is_refused():
    """The term would have no gradient, and nobody would see it."""
    student, teacher = (random((2, 3, 4, 4), seed).requires_grad_(seed == 0) for seed in (0, 1))
    with pytest.raises(ParameterError, match=r"^groups: .* the student's groups, then the teacher's$"):
        AttentionTransfer()([teacher], [student])
    AttentionTransfer()([teacher.detach()], [teacher])  # to measure


def test_maps_of_one_position_are_refused_where_they_are_all_alike():
    one, four = random((2, 3, 1, 1)), random((2, 3, 2, 2))
    with pytest.raises(ParameterError, match=r"^groups: 'maps of one position' .* a lower layer"):
        AttentionTransfer()([four, one], [four, four])
    AttentionTransfer(norm="none")([one], [one])
