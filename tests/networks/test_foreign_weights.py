"""The public code's parameter dictionaries and files."""

import os
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from at_repro import networks
from at_repro.errors import DataError


def network_and_params(name="wrn-16-2", num_classes=7):
    network = networks.build(name, num_classes, torch.Generator().manual_seed(0))
    network(torch.rand(2, 3, 8, 8))  # moves the running statistics
    return network, networks.to_authors(network)


def assert_equal(first, second):
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(first.eval()(images).logits, second.eval()(images).logits)


def test_names_are_those_of_the_public_code():
    _, params = network_and_params("wrn-10-2")
    norm = ("weight", "bias", "running_mean", "running_var")
    block = [*(f"bn{i}.{field}" for i in (0, 1) for field in norm), "conv0", "conv1", "convdim"]
    expected = ["conv0", "fc.weight", "fc.bias", *(f"bn.{field}" for field in norm)]
    expected += [f"group{group}.block0.{entry}" for group in range(3) for entry in block]
    assert sorted(params) == sorted(expected)
    assert params["group1.block0.conv0"].shape == (64, 32, 3, 3)


@pytest.mark.parametrize(("name", "num_classes"), [("wrn-10-1", 1), ("wrn-16-2", 10), ("wrn-22-3", 100)])
def test_round_trip_finds_depth_width_and_classes(name, num_classes):
    network, params = network_and_params(name, num_classes)
    again = networks.from_authors(params)
    assert_equal(network, again)
    assert all(torch.equal(value, params[key]) for key, value in networks.to_authors(again).items())


def test_saved_forms():
    network, params = network_and_params()
    assert_equal(network, networks.from_authors({"params": params, "epoch": 200}))
    stats = {name: params.pop(name) for name in list(params) if "running" in name}
    assert_equal(network, networks.from_authors({"params": params, "stats": stats}))


class UsualBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.convShortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images):
        first = F.relu(self.bn1(images))
        shortcut = images if self.convShortcut is None else self.convShortcut(first)
        return shortcut + self.conv2(F.relu(self.bn2(self.conv1(first))))


class UsualWideResNet(nn.Module):
    """WRN-16-2 with the names that most PyTorch code gives its layers."""

    def __init__(self, container):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        for group, (inputs, outputs) in enumerate([(16, 32), (32, 64), (64, 128)], 1):
            blocks = UsualBlock(inputs, outputs, 1 if group == 1 else 2), UsualBlock(outputs, outputs, 1)
            self.add_module(f"block{group}", nn.ModuleDict({container: nn.Sequential(*blocks)}))
        self.bn1, self.fc = nn.BatchNorm2d(128), nn.Linear(128, 7)
        self.container = container

    def forward(self, images):
        groups = self.conv1(images)
        for block in (self.block1, self.block2, self.block3):
            groups = block[self.container](groups)
        return self.fc(F.relu(self.bn1(groups)).mean((2, 3)))


@pytest.mark.parametrize(
    ("container", "wrap"),
    [
        ("layer", lambda state: state),
        ("nblockLayer", lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}}),
        ("layer", lambda state: {f"_orig_mod.{name}": value for name, value in state.items()}),
        ("layer", lambda state: {"model": state, "epoch": 240}),
        ("layer", lambda state: {"model_state_dict": state, "epoch": 240}),
    ],
)
def test_usual_names_of_other_code(container, wrap, tmp_path):
    model = UsualWideResNet(container)
    model(torch.rand(2, 3, 8, 8))  # moves the running statistics
    torch.save(wrap(model.state_dict()), tmp_path / "model.pth")
    network, images = networks.load_authors(tmp_path / "model.pth"), torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(network.eval()(images).logits, model.eval()(images))


def test_nothing_is_shared():
    network, params = network_and_params()
    again = networks.from_authors(params)
    for tensor in params.values():
        tensor.zero_()
    assert_equal(network, again)


def test_missing_unknown_and_misshapen_entries_are_all_listed():
    _, params = network_and_params()
    del params["conv0"], params["group1.block1.bn0.running_mean"]
    params |= {"extra": torch.zeros(1), "fc.bias": torch.zeros(3), "bn.bias": "text"}
    params["fc.weight"] = params["fc.weight"].long()  # it would be read, all of it 0
    with pytest.raises(DataError) as caught:
        networks.from_authors(params)
    message = str(caught.value)
    assert "missing: conv0, group1.block1.bn0.running_mean;" in message
    assert "unknown: extra;" in message
    assert "wrong shape: bn.bias, fc.bias;" in message
    assert "not floating-point: bn.bias, fc.weight" in message


@pytest.mark.parametrize("params", [{}, {"fc.weight": torch.zeros(10, 64)}, {"group0.block0.conv0": torch.zeros(1)}])
def test_other_dictionaries_are_refused(params):
    with pytest.raises(DataError, match=r"not the parameters of a WRN; it needs .* begins with: "):
        networks.from_authors(params)


@pytest.mark.parametrize("shape", [(10, 6400), (0, 64)])
def test_a_wrn_that_cannot_be_built_is_no_fault_of_a_parameter(shape):
    """Its width or number of classes is read from a file, and no parameter of the caller's."""
    _, params = network_and_params()
    with pytest.raises(DataError, match=r"^not the parameters of a WRN; wrn-16-\d+ with \d+ classes is none"):
        networks.from_authors(params | {"fc.weight": torch.zeros(shape)})


def test_code_in_a_file_is_refused_and_does_not_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "model.pt7"
    torch.save({"params": {"conv0": Malicious()}}, path)
    with pytest.raises(DataError, match=re.escape(str(path))):
        networks.load_authors(path)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"none\.pt7: No such file"):
        networks.load_authors(tmp_path / "none.pt7")


def test_a_file_with_something_else(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pt7")
    with pytest.raises(DataError, match="holds a list"):
        networks.load_authors(tmp_path / "list.pt7")


@settings(deadline=None)  # shared machines stall
@given(content=st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: b"\x80\x02}" + tail))
def test_damaged_files_are_one_clear_error(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.pt7"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.pt7: "):
        networks.load_authors(path)


@pytest.mark.parametrize("content", [{"params": torch.zeros(3)}, {"params": [1]}, {"params": {}, "stats": 1}])
def test_params_that_are_no_dictionary_are_refused(content):
    with pytest.raises(DataError, match="no dictionaries"):
        networks.from_authors(content)
