"""Network in network: sizes, shapes, and what the two suffixes leave out."""

import pytest
import torch
import torch.nn.functional as F

from at_repro import networks


def build(name):
    return networks.build(name, generator=torch.Generator().manual_seed(0))


def count_by_formula(blocks, batch_norm):
    """A bias, or a weight and a bias of batch norm, per channel; the classifier always has a bias."""
    total, inputs = 0, 3
    for first, widths in zip((5, 5, 3), blocks, strict=True):
        for size, outputs in zip((first, 1, 1), widths, strict=False):
            total += size * size * inputs * outputs + (2 if batch_norm else 1) * outputs
            inputs = outputs
    return total + inputs * 10 + 10


@pytest.mark.parametrize("suffix", ["", "-nobn", "-norelu", "-nobn-norelu"])
def test_sizes_are_those_of_table_1(suffix):
    wide, thin = (networks.parameter_count(build(f"nin-{size}{suffix}")) for size in ("wide", "thin"))
    batch_norm = "nobn" not in suffix
    assert wide == count_by_formula([(192, 160, 96), (192, 192, 192), (192, 192)], batch_norm)
    assert thin == count_by_formula([(96, 80, 48), (96, 96, 96), (96, 96)], batch_norm)
    assert (round(wide / 1e6), round(thin / 1e6, 1)) == (1, 0.2)


def test_without_batch_norm_the_wide_one_is_the_usual_network_in_network():
    """966,986 parameters: the count of the Caffe model for CIFAR-10."""
    assert networks.parameter_count(build("nin-wide-nobn")) == 966_986


@pytest.mark.parametrize("side", [8, 32])
def test_shapes(side):
    groups = build("nin-thin")(torch.rand(2, 3, side, side)).groups
    assert [tuple(group.shape) for group in groups] == [
        (2, 48, side, side),
        (2, 96, side // 2, side // 2),
        (2, 96, side // 4, side // 4),
    ]


@pytest.mark.parametrize("suffix", ["", "-nobn", "-norelu", "-nobn-norelu"])
def test_forward_equals_its_description(suffix):
    """A second evaluation: batch norm before every ReLU, the maximum first and the mean second, with every suffix.

    No parameter or running statistic is at its initial value, where some of them would change nothing.
    """
    network = build(f"nin-thin{suffix}").double().eval()
    weights = network.state_dict()
    for name, values in weights.items():
        if name.endswith("running_var"):
            values.uniform_(0.2, 2)
        elif name.endswith(("bias", "running_mean")):
            values.normal_(0, 0.2)

    def layer(x, name, number):
        weight = weights[f"{name}.conv{number}.weight"]
        x = F.conv2d(x, weight, weights.get(f"{name}.conv{number}.bias"), padding=weight.shape[-1] // 2)
        if "-nobn" in suffix:
            return x
        weight, bias, mean, variance = (
            weights[f"{name}.bn{number}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def block(x, name, convolutions):
        for i in range(convolutions - 1):
            x = F.relu(layer(x, name, i))
        x = layer(x, name, convolutions - 1)
        return x if "-norelu" in suffix else F.relu(x)

    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    low = block(images, "block0", 3)
    middle = block(F.max_pool2d(F.pad(low, (0, 1, 0, 1), value=-torch.inf), 3, 2), "block1", 3)
    inside = F.avg_pool2d(F.pad(torch.ones_like(middle), (0, 1, 0, 1)), 3, 2)  # windows at the rim hold fewer places
    top = block(F.avg_pool2d(F.pad(middle, (0, 1, 0, 1)), 3, 2) / inside, "block2", 2)
    output = network(images)
    torch.testing.assert_close(list(output.groups), [low, middle, top])
    classes = F.conv2d(F.relu(top), weights["classifier.weight"], weights["classifier.bias"])
    torch.testing.assert_close(output.logits, classes.mean((2, 3)))


def test_second_derivatives_exist():
    """Gradient-based attention is trained through this network (Table 3)."""
    network = build("nin-thin-nobn")
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    (attention,) = torch.autograd.grad(network(images).logits[:, 0].sum(), images, create_graph=True)
    attention.norm().backward()
    assert network.block0.conv0.weight.grad.norm() > 0
