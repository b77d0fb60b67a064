"""The wide residual network against the paper's sizes, the public code's initialisation and a second implementation."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from at_repro import networks
from at_repro.errors import ParameterError


def build(name, num_classes=10):
    return networks.build(name, num_classes, torch.Generator().manual_seed(0))


def count_by_formula(depth, k, classes):
    """Weights of convolutions, two per channel of each batch norm, and the linear layer."""
    widths = [16, 16 * k, 32 * k, 64 * k]
    total = 3 * 9 * 16
    for inputs, outputs in itertools.pairwise(widths):
        for block in range((depth - 4) // 6):
            entry = inputs if block == 0 else outputs
            total += 9 * entry * outputs + 9 * outputs * outputs + 2 * entry + 2 * outputs
            total += entry * outputs if entry != outputs else 0
    return total + 2 * widths[-1] + widths[-1] * classes + classes


@pytest.mark.parametrize(
    ("depth", "k", "millions"), [(16, 1, 0.2), (16, 2, 0.7), (40, 1, 0.6), (40, 2, 2.2)], ids=lambda value: str(value)
)
def test_sizes_are_those_of_table_1(depth, k, millions):
    count = networks.parameter_count(build(f"wrn-{depth}-{k}"))
    assert count == count_by_formula(depth, k, 10)
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize("height,width", [(8, 8), (32, 32), (16, 40)])
def test_shapes(height, width):
    output = build("wrn-10-3", num_classes=5)(torch.rand(2, 3, height, width))
    assert output.logits.shape == (2, 5)
    assert [tuple(group.shape) for group in output.groups] == [
        (2, 48, height, width),
        (2, 96, height // 2, width // 2),
        (2, 192, height // 4, width // 4),
    ]


def evaluate(params, images, blocks, training):
    """The network of the paper and its public code as one plain function of a dictionary of parameters."""

    def norm_relu(x, base):
        mean, var = params[f"{base}.running_mean"].clone(), params[f"{base}.running_var"].clone()
        return F.relu(F.batch_norm(x, mean, var, params[f"{base}.weight"], params[f"{base}.bias"], training))

    x = F.conv2d(images, params["conv0"], padding=1)
    groups = []
    for group, stride in enumerate((1, 2, 2)):
        for block in range(blocks):
            base = f"group{group}.block{block}"
            step = stride if block == 0 else 1
            o1 = norm_relu(x, f"{base}.bn0")
            y = F.conv2d(o1, params[f"{base}.conv0"], stride=step, padding=1)
            z = F.conv2d(norm_relu(y, f"{base}.bn1"), params[f"{base}.conv1"], padding=1)
            has_convdim = f"{base}.convdim" in params
            x = z + (F.conv2d(o1, params[f"{base}.convdim"], stride=step) if has_convdim else x)
        groups.append(x)
    features = F.avg_pool2d(norm_relu(x, "bn"), 8).flatten(1)
    return F.linear(features, params["fc.weight"], params["fc.bias"]), groups


@pytest.mark.parametrize("name,blocks", [("wrn-16-1", 2), ("wrn-10-2", 1)])
@pytest.mark.parametrize("training", [True, False])
def test_forward_equals_the_public_code(name, blocks, training):
    network = build(name).double().train(training)
    with torch.no_grad():
        for module in network.modules():  # statistics as after training: the fresh ones hide a mistake
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                module.bias.normal_()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    logits, groups = evaluate(networks.to_authors(network), images, blocks, training)
    output = network(images)
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(list(output.groups), groups)


@pytest.mark.parametrize("depth,widen", [(15, 1), (4, 1), (-2, 1), (16, 0)])
def test_other_depths_and_widths_are_refused(depth, widen):
    with pytest.raises(ParameterError):
        networks.WideResNet(depth, widen, 10)


def test_fast_path_keeps_float32_accuracy_within_bfloat16():
    """channels_last, autocast and tracing for compilation in one graph, forward and backward."""
    network = build("wrn-10-1").to(memory_format=torch.channels_last)
    images = torch.rand(4, 3, 32, 32)
    expected = network(images)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        output = compiled(images.to(memory_format=torch.channels_last))
    output.logits.float().sum().backward()
    assert all(group.is_contiguous(memory_format=torch.channels_last) for group in output.groups)
    for group, reference in zip(output.groups, expected.groups, strict=True):
        assert (group.float() - reference).norm() < 0.02 * reference.norm()
