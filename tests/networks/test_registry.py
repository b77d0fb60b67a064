"""Names, sizes and reproducible weights of every network."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from at_repro import networks
from at_repro.errors import ParameterError

NAMES = [
    "wrn-10-1",
    "wrn-16-2",
    "nin-thin",
    "nin-thin-nobn",
    "nin-thin-norelu",
    "nin-wide-nobn-norelu",
    "resnet18",
    "efficientnet-lite0",
]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", NAMES)
def test_output_is_logits_and_groups_from_low_to_top(name):
    network = networks.build(name, num_classes=7, generator=seeded(0))
    logits, groups = network(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 7)
    assert all(group.dim() == 4 and len(group) == 2 for group in groups)
    sides = [group.shape[-1] for group in groups]
    assert sides == sorted(set(sides), reverse=True)


@pytest.mark.parametrize("name", ["wrn-40-2", "nin-wide", "nin-thin-nobn"])
def test_initial_weights_follow_the_authors_code(name):
    """Kaiming normal by fan-in, biases 0; batch norms' weights uniform in [0, 1)."""
    modules = list(networks.build(name, generator=seeded(0)).modules())
    layers = [module for module in modules if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in layers:
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.15)
        assert layer.weight.mean().abs() < 4 * (2 / fan_in / layer.weight.numel()) ** 0.5
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == {"wrn-40-2": 37, "nin-wide": 8, "nin-thin-nobn": 0}[name]
    if norms:
        weights = torch.cat([norm.weight for norm in norms]).detach()
        assert weights.min() >= 0 and weights.max() < 1
        assert weights.mean().item() == pytest.approx(0.5, abs=0.05)
        assert weights.std().item() == pytest.approx((1 / 12) ** 0.5, abs=0.03)
    assert not any(module.bias.any() for module in layers + norms if module.bias is not None)


@pytest.mark.parametrize("name", NAMES)
def test_a_group_sees_more_of_the_image_the_higher_it_is(name):
    """Receptive fields, measured: the pixels that have a gradient at the centre of each group, which must be nested."""
    network = networks.build(name, generator=seeded(0)).eval()
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    areas = []
    for group in network(images).groups:
        side = group.shape[-1]
        (gradient,) = torch.autograd.grad(group[..., side // 2, side // 2].sum(), images, retain_graph=True)
        areas.append((gradient != 0).any(1).sum().item())
    assert areas == sorted(areas)
    assert areas[0] < areas[-1]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("wrn-10-2", ("group0", "group1", "group2")),
        ("nin-thin-nobn", ("block0", "block1", "block2")),
        ("resnet18", ("layer1", "layer2", "layer3", "layer4")),
        ("efficientnet-lite0", ("stage2", "stage3", "stage5", "head")),
    ],
)
def test_groups_have_the_names_of_their_layers(name, layers):
    assert networks.group_layers(name) == layers
    network = networks.build(name, generator=seeded(0)).eval()
    images = torch.rand(1, 3, 32, 32)
    tapped = networks.tap(network, layers)(images).groups
    assert all(torch.equal(one, other) for one, other in zip(tapped, network(images).groups, strict=True))


def test_layers_of_a_network_by_its_name():
    networks.check_layers("wrn-10-1", ("group0.block0.conv0", "bn"))
    for layer in ("group3", "fc"):  # not there; no map
        with pytest.raises(ParameterError, match=rf"^layers: '{layer}' "):
            networks.check_layers("wrn-10-1", (layer,))


@pytest.mark.parametrize("name", NAMES)
def test_equal_generators_give_equal_weights(name):
    first, second, other = (networks.build(name, generator=seeded(seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_a_generator_leaves_the_default_one_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    networks.build("wrn-10-1", generator=seeded(3))
    assert torch.equal(torch.rand(1), expected)


def test_without_a_generator_the_default_one_decides():
    def weight():
        return networks.build("wrn-10-1").fc.weight

    torch.manual_seed(0)
    first, second = weight(), weight()
    torch.manual_seed(0)
    assert torch.equal(weight(), first)
    assert not torch.equal(first, second)


def test_frozen_parameters_count():
    """A trained network is loaded frozen, and has as many as the one that was trained."""
    network = networks.build("wrn-10-1")
    before = networks.parameter_count(network)
    assert networks.parameter_count(network.requires_grad_(False)) == before


@pytest.mark.parametrize(
    "name",
    [
        *("wrn-15-1", "wrn-4-1", "wrn-16-0", "wrn-016-1", "wrn-16", "WRN-16-1", "wrn-16-1\n", "wrn-١٦-1", " wrn-16-1"),
        *(
            "nin",
            "nin-thin-norelu-nobn",
            "nin-thin-nobn-nobn",
            "nin-thin-",
            "resnet",
            "resnet50",
            "",
            None,
            16,
            ["nin"],
        ),
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(ParameterError, match=r"^network: "):
        networks.check_name(name)


@settings(deadline=None)  # shared machines stall
@given(st.text() | st.from_regex(r"wrn-\d+-\d+", fullmatch=True) | st.from_regex(r"(wrn|nin|resnet)(-?\w+){0,3}"))
def test_a_name_is_known_or_refused_in_one_line(name):
    try:
        networks.check_name(name)
    except ParameterError as error:
        assert "\n" not in str(error)
        assert all(pattern in str(error) for pattern in networks.available())
    else:
        if networks.is_function(name):  # of a file of the user's
            return
        kind, *rest = name.split("-")
        assert kind in ("wrn", "nin", "resnet18", "resnet34", "resnet101", "efficientnet")
        if kind == "wrn":
            depth, widen = map(int, rest)
            assert depth % 6 == 4
            assert name == f"wrn-{depth}-{widen}"


@pytest.mark.parametrize("count", [0, 2.5, "10"])
def test_a_number_of_classes_that_is_none_is_refused(count):
    with pytest.raises(ParameterError, match=f"^num_classes: {count!r}"):
        networks.build("wrn-16-1", num_classes=count)
