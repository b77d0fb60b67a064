"""Mapping functions, normalisation, resizing and the input gradient, against values worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from at_repro import attention, networks
from at_repro.attention import input_gradient, mapping, normalize, power_max, power_sum, resize
from at_repro.errors import ParameterError

# Two channels of 1x3 places. Per place (a, b): (3, -4), (-1, 2), (0, 0).
SIGNED = torch.tensor([[[[3.0, -1.0, 0.0]], [[-4.0, 2.0, 0.0]]]])

DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])
SHAPES = st.tuples(*(st.integers(1, largest) for largest in (3, 5, 6, 6)))


def random_activations(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sum-1", [3 + 4, 1 + 2, 0]),
        ("sum-2", [9 + 16, 1 + 4, 0]),
        ("sum-3", [27 + 64, 1 + 8, 0]),
        ("sum-4", [81 + 256, 1 + 16, 0]),
        ("sum-0.5", [math.sqrt(3) + 2, 1 + math.sqrt(2), 0]),
        ("max-1", [4, 2, 0]),
        ("max-2", [16, 4, 0]),
        ("max-3", [64, 8, 0]),
    ],
)
def test_a_mapping_function_is_its_formula_on_signed_activations(name, expected):
    torch.testing.assert_close(mapping(name)(SIGNED), torch.tensor([[expected]], dtype=torch.float32))


def test_the_default_powers_are_the_papers():
    assert power_sum(SIGNED)[0, 0, 0] == 25, "F_sum^2 is what the paper uses everywhere outside Table 2"
    assert power_max(SIGNED)[0, 0, 0] == 4


@pytest.mark.parametrize(
    "name",
    [
        "sum",
        "sum-",
        "sum-0",
        "sum-0.0",
        "sum--2",
        "sum-nan",
        "sum-inf",
        "mean-2",
        "sum-2 ",
        "",
        "sum-02",
        "sum-2.0",
        "sum-1000",
        "sum-٢",
        3,
    ],
)
def test_an_unknown_mapping_is_refused_in_one_line(name):
    with pytest.raises(ParameterError, match=r"^mapping: .* allowed: sum-1, .*") as error:
        mapping(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("p", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("function", [power_sum, power_max])
def test_a_power_that_is_not_positive_is_refused(function, p):
    with pytest.raises(ParameterError, match=r"^p: "):
        function(SIGNED, p)


@pytest.mark.parametrize("function", [power_sum, power_max])
def test_a_tensor_that_is_not_a_batch_of_activations_is_refused(function):
    with pytest.raises(ParameterError, match=r"^activations: .*\(2, 1, 3\).* \(N, C, H, W\)$"):
        function(SIGNED[0])


@pytest.mark.parametrize("name", [*attention.MAPPINGS, "sum-3", "sum-1.5", "max-3"])
def test_mappings_have_the_right_first_and_second_derivatives(name):
    activations = random_activations((2, 3, 2, 2)).requires_grad_()
    assert gradcheck(mapping(name), activations)
    assert gradgradcheck(mapping(name), activations), "gradient terms differentiate maps twice"


@pytest.mark.parametrize(
    ("p", "first", "second"),
    [
        (1, [0.5, -0.5, 0.0], [1 / 3, 1 / 3, -1 / 3]),
        (2, [2.0, -2.0, 0.0], [2.0, 2.0, -2.0]),  # 2 * 2, halved; 2 * 3, in three
        (3, [6.0, -6.0, 0.0], [9.0, 9.0, -9.0]),  # 3 * 4, halved; 3 * 9, in three
    ],
)
def test_channels_that_share_the_maximum_share_its_gradient(p, first, second):
    """Given to one of them, it would depend on the order of the channels; given to each, it would count twice."""
    activations = torch.tensor([[[[2.0, 3.0]], [[-2.0, 3.0]], [[1.0, -3.0]]]], requires_grad=True)
    power_max(activations, p).sum().backward()
    torch.testing.assert_close(activations.grad[0, :, 0], torch.tensor([first, second]).T)


@pytest.mark.parametrize("name", [*attention.MAPPINGS, "sum-0.5", "sum-1.5", "max-0.5"])
def test_exact_zeros_as_after_a_relu_have_finite_derivatives(name):
    activations = F.relu(SIGNED).requires_grad_()
    maps = normalize(mapping(name)(activations))
    (first,) = torch.autograd.grad((maps * torch.tensor([1.0, 2.0, 3.0])).sum(), activations, create_graph=True)
    assert first.isfinite().all()
    (second,) = torch.autograd.grad(first.square().sum(), activations)
    assert second.isfinite().all()


@settings(max_examples=40, deadline=None)
@given(SHAPES, DTYPES, st.floats(0.25, 4), st.sampled_from(["sum", "max"]), st.booleans())
def test_maps_are_float32_finite_and_of_the_right_shape(shape, dtype, p, kind, large):
    """Half-precision activations at the top of their range would overflow if they were not converted first."""
    peak = 6e4 if large else 1e-3
    activations = random_activations(shape).clamp(-1, 1).mul(peak).to(dtype)
    maps = mapping(f"{kind}-{p:.6f}".rstrip("0").rstrip("."))(activations)
    assert maps.shape == (shape[0], *shape[2:]) and maps.dtype == torch.float32
    wanted = activations.double().abs().pow(float(f"{p:.6f}"))
    wanted = wanted.sum(1) if kind == "sum" else wanted.amax(1)
    torch.testing.assert_close(maps.double(), wanted, rtol=1e-4, atol=0)
    for norm in ("l2", "l1"):
        assert normalize(maps, norm).isfinite().all()


@pytest.mark.parametrize("name", attention.MAPPINGS)
def test_maps_stay_in_float32_under_autocast(name):
    activations = random_activations((2, 3, 4, 4), dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = normalize(resize(mapping(name)(activations), (2, 2)))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, normalize(resize(mapping(name)(activations), (2, 2))))


def test_normalised_maps_by_hand():
    maps = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]], [[0.0, 0.0]]])
    torch.testing.assert_close(normalize(maps), torch.tensor([[[0.6, 0.8]], [[0.0, 1.0]], [[0.0, 0.0]]]))
    torch.testing.assert_close(normalize(maps, "l1"), torch.tensor([[[3 / 7, 4 / 7]], [[0.0, 1.0]], [[0.0, 0.0]]]))
    assert torch.equal(normalize(maps, "none"), maps)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ParameterError, match=r"^norm: 'l3' .* l2, l1, none$"):
        normalize(torch.ones(1, 2, 2), "l3")


def test_one_map_without_a_batch_of_them_is_refused():
    with pytest.raises(ParameterError, match=r"^maps: 'tensor of shape \(3,\)' is not allowed; .* one map per sample"):
        normalize(torch.ones(3))


@pytest.mark.parametrize("norm", attention.NORMS)
def test_normalisation_has_the_right_first_and_second_derivatives(norm):
    """The constant it divides by before squaring must cancel out of every derivative."""
    maps = random_activations((2, 2, 3)).requires_grad_()
    assert gradcheck(lambda m: normalize(m, norm), maps)
    assert gradgradcheck(lambda m: normalize(m, norm), maps)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_an_all_zero_map_stays_zero_with_a_finite_gradient(norm):
    maps = torch.zeros(2, 3, 3, requires_grad=True)
    out = normalize(maps, norm)
    out.sum().backward()
    assert torch.equal(out, torch.zeros(2, 3, 3)) and maps.grad.isfinite().all()


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.sampled_from([*attention.MAPPINGS, "sum-0.5"]), st.sampled_from(["l2", "l1"]), st.floats(-3, 3))
def test_normalised_maps_do_not_change_when_activations_are_scaled(shape, name, norm, exponent):
    """Squares of F_sum^4 maps leave float32's range long before the maps do."""
    activations = random_activations(shape, dtype=torch.float32)
    scaled = activations * 10**exponent
    one, other = (normalize(mapping(name)(a), norm) for a in (activations, scaled))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(SHAPES)
def test_channel_sum_and_channel_mean_agree_after_normalising(shape):
    """The public code averages over channels, the paper sums."""
    activations = random_activations(shape, dtype=torch.float32)
    torch.testing.assert_close(normalize(power_sum(activations)), normalize(activations.square().mean(1)))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.floats(0.1, 1e4), st.sampled_from(["l2", "l1"]))
@example(1, 41.0, "l2")  # times the reciprocal of 41, in float32, it is a little less
def test_a_normalised_1x1_map_is_one_whatever_it_was(batch, value, norm):
    maps = torch.full((batch, 1, 1), value, requires_grad=True)
    normalised = normalize(maps, norm)
    assert torch.equal(normalised, torch.ones(batch, 1, 1))
    normalised.sum().backward()
    assert not maps.grad.any(), "else two maps that cannot differ would be taught"


def test_resizing_is_bilinear_between_pixel_centres():
    # Halving a row averages neighbours; doubling puts new centres a quarter pixel off the old, repeated at the border.
    row = torch.tensor([[[1.0, 3.0, 5.0, 9.0]]])
    torch.testing.assert_close(resize(row, (1, 2)), torch.tensor([[[2.0, 7.0]]]))
    torch.testing.assert_close(resize(torch.tensor([[[0.0, 4.0]]]), (1, 4)), torch.tensor([[[0.0, 1.0, 3.0, 4.0]]]))
    assert resize(torch.ones(2, 3, 4, 4), (2, 3)).shape == (2, 3, 2, 3)
    assert resize(torch.ones(3, 4, 4, dtype=torch.bfloat16), (2, 2)).dtype == torch.float32
    assert gradcheck(lambda m: resize(m, (2, 3)), random_activations((2, 4, 5)).requires_grad_())


def test_the_input_gradient_by_hand():
    # L_i = (w . x_i)^2 gives J_i = 2 (w . x_i) w for each image, whatever the size of the batch.
    images = torch.tensor([[[[1.0, 2.0]]], [[[0.0, -1.0]]]], requires_grad=True)
    weights = torch.tensor([[[3.0, 1.0]]])
    losses = (images * weights).sum((1, 2, 3)).square()
    torch.testing.assert_close(
        input_gradient(losses, images), torch.tensor([[[[30.0, 10.0]]], [[[-6.0, -2.0]]]]), rtol=0, atol=0
    )
    losses.mean().backward()  # the graph must be kept for the task loss


def test_the_input_gradient_of_an_image_does_not_depend_on_the_batch():
    images, labels, network = random_activations((4, 3, 6, 6)), torch.tensor([0, 1, 2, 3]), small_network()
    together = gradient_of(network, images, labels)
    alone = torch.cat([gradient_of(network, images[i : i + 1], labels[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone)


def test_the_input_gradient_agrees_with_finite_differences():
    images, labels, network = random_activations((2, 3, 6, 6)), torch.tensor([0, 3]), small_network()
    gradient = gradient_of(network, images, labels)
    step = 1e-6
    for seed in range(5):
        direction = random_activations(images.shape, seed)
        losses = [
            F.cross_entropy(network(images + s * direction), labels, reduction="none").sum() for s in (step, -step)
        ]
        slope = (losses[0] - losses[1]) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-9)


def test_the_input_gradient_refuses_a_mean_loss_and_images_without_grad():
    images = torch.ones(2, 1, 1, 1, requires_grad=True)
    with pytest.raises(ParameterError, match=r"^losses: .*one loss per image \(2,\)$"):
        input_gradient(images.mean(), images)
    with pytest.raises(ParameterError, match=r"^images: "):
        input_gradient(torch.ones(2, requires_grad=True), images.detach())
    for losses in (torch.ones(2), torch.ones(2, requires_grad=True)):
        with pytest.raises(ParameterError, match=r"^images: .*from which the losses were computed"):
            input_gradient(losses, images)


def small_network():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(64, 5)]
    return torch.nn.Sequential(*layers).double()


def gradient_of(network, images, labels):
    images = images.clone().requires_grad_()
    return input_gradient(F.cross_entropy(network(images), labels, reduction="none"), images)


def test_grad_cam_by_hand():
    """The score is 3 mean(A_0) - mean(A_1) over four places: weights 3/4 and -1/4."""
    activations = torch.tensor([[[[4.0, 0.0], [0.0, 8.0]], [[4.0, 4.0], [0.0, 16.0]]]]).requires_grad_()
    scores = activations.mean((2, 3)) @ torch.tensor([3.0, -1.0])
    found = attention.grad_cam(scores, activations)
    assert found.tolist() == [[[2, 0], [0, 2]]]
    assert not found.requires_grad
    assert attention.grad_cam(-scores, activations).tolist() == [[[0, 1], [0, 0]]], "what spoke against it speaks for"


def test_grad_cam_of_a_mean_and_a_linear_layer_is_cam():
    """Zhou et al. 2016: the channels summed with the weights of the class; Grad-CAM divides by the number of places."""
    network = networks.build("resnet18", num_classes=5, generator=torch.Generator().manual_seed(0)).eval()
    output = network(torch.rand(3, 3, 64, 64))
    labels = output.logits.argmax(1)
    cam = torch.einsum("nc,nchw->nhw", network.fc.weight[labels], output.groups[-1]).relu() / 4
    torch.testing.assert_close(attention.grad_cam(output.logits.amax(1), output.groups[-1]), cam.detach())


def test_grad_cam_of_what_is_not_on_the_way_to_the_scores_is_refused():
    tapped = networks.tap(networks.build("resnet18").eval(), ["layer4"])(torch.rand(2, 3, 32, 32))
    with pytest.raises(ParameterError, match="the scores do not depend on"):
        attention.grad_cam(tapped.logits.amax(1), tapped.groups[0].clone())
    with pytest.raises(ParameterError, match="without gradient"):
        attention.grad_cam(torch.ones(2), tapped.groups[0])
    with pytest.raises(ParameterError, match=r"^scores: .* one per image"):
        attention.grad_cam(tapped.logits, tapped.groups[0])
    with pytest.raises(ParameterError, match=r"^activations: "):
        attention.grad_cam(tapped.logits.amax(1), tapped.groups[0].flatten(2))


def test_grad_cam_of_a_last_block_of_which_the_class_token_alone_is_read_is_no_empty_map():
    """Every gradient at its patches is 0; inside it attention mixes them into the class token."""
    torch.manual_seed(0)  # with one seed in ten every class is evidence against all of these few patches
    model = torchvision.models.VisionTransformer(32, 16, 2, 2, 32, 64).eval()
    torch.nn.init.normal_(model.heads.head.weight)  # which is 0 at first
    last = "encoder.layers.encoder_layer_1"
    output = networks.tap(model, [last, f"{last}.ln_1"])(torch.rand(2, 3, 32, 32))
    with pytest.raises(ParameterError, match=r"^layers: .*name an earlier block, or the norm inside"):
        attention.grad_cam(output.logits.amax(1), output.groups[0])
    assert attention.grad_cam(output.logits.amax(1), output.groups[1]).any()


def test_grad_cam_of_a_frozen_network_says_how_to_call_it():
    network = networks.build("resnet18").eval().requires_grad_(False)
    with pytest.raises(ParameterError, match=r"call the network with images\.requires_grad_\(\)"):
        attention.grad_cam((output := network(torch.rand(2, 3, 32, 32))).logits.amax(1), output.groups[-1])
