"""What fine-tuning starts from, and what it leaves alone."""

import pytest
import torch
from torch import nn

from at_repro import data, networks
from at_repro.errors import ParameterError
from at_repro.runs import Run, checks
from at_repro.training import Student, engine, train
from at_repro.training.loop import train_epoch


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_imagenet_weights_are_those_of_the_package_but_for_the_last_layer():
    network, other = (networks.build("efficientnet-lite0", 5, seeded(number)) for number in (0, 1))
    for start in (network, other):
        networks.load_pretrained_(start, "efficientnet-lite0", seeded(7))
    known = networks.pretrained("efficientnet-lite0").state_dict()
    own = network.state_dict()
    assert all(torch.equal(own[name], known[name]) for name in own if not name.startswith("fc."))
    assert network.fc.weight.shape == (5, 1280) and torch.equal(network.fc.weight, other.fc.weight)
    assert 0.9 < network.fc.weight.abs().max() * 1280**0.5 <= 1, "a larger layer's first gradients ruin what was learnt"


def test_a_network_without_such_weights_is_refused():
    with pytest.raises(ParameterError, match=r"^network: 'wrn-16-1'"):
        networks.load_pretrained_(networks.build("wrn-16-1"), "wrn-16-1", seeded())


@pytest.mark.parametrize(
    ("name", "groups", "kept"),
    [
        ("resnet18", 1, {"conv1", "bn1", "layer1"}),
        ("resnet18", 2, {"conv1", "bn1", "layer1", "layer2"}),
        ("efficientnet-lite0", 1, {"stem", "stage1", "stage2"}),
        ("wrn-10-1", 0, set()),
    ],
)
def test_a_frozen_group_is_frozen_with_everything_before_it(name, groups, kept):
    network = networks.build(name, generator=seeded())
    norms = networks.freeze_(network, name, groups, norms=False)
    frozen = {key.split(".")[0] for key, parameter in network.named_parameters() if not parameter.requires_grad}
    trained = {key.split(".")[0] for key, parameter in network.named_parameters() if parameter.requires_grad}
    assert frozen == kept and not frozen & trained
    assert {id(norm) for norm in norms} == {
        id(module)
        for key, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and key.split(".")[0] in kept
    }


class TopFirst(nn.Module):
    """Whose children are written down in another order than they run in."""

    def __init__(self, classes):
        super().__init__()
        self.fc, self.top, self.low = nn.Linear(8, classes), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.stem = nn.ModuleList([nn.Conv2d(3, 8, 3)])  # which nobody calls as a whole
        self.ground = self.low  # a second name

    def forward(self, images):
        low = self.ground(self.stem[0](images))
        top = self.top(low.relu())
        return networks.Output(self.fc(top.mean((2, 3))), (low, top))


def test_what_runs_before_a_group_is_frozen_not_what_is_written_before_it(monkeypatch):
    """A classifier that is drawn anew would keep its first weights."""
    monkeypatch.setitem(networks.registry._REGISTERED, "top-first", TopFirst)
    network = networks.build("top-first", 4, seeded())
    networks.freeze_(network, "top-first", 1, norms=False)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen == {"stem.0.weight", "stem.0.bias", "low.weight", "low.bias"}


def test_fixed_norms_are_all_of_them_and_nothing_else():
    network = networks.build("resnet18", generator=seeded())
    norms = networks.freeze_(network, "resnet18", 0, norms=True)
    assert len(norms) == 20  # of ResNet-18: one, four per layer, and one per shortcut of three layers
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    own = {
        f"{name}.{part}" for name, module in network.named_modules() if module in norms for part in ("weight", "bias")
    }
    assert frozen == own


class OneDimensional(nn.Module):
    """A network with a batch norm of vectors before its classifier, as LeViT has."""

    def __init__(self, classes: int):
        super().__init__()
        self.group, self.norm, self.fc = nn.Conv2d(3, 8, 3), nn.BatchNorm1d(8), nn.Linear(8, classes)

    def forward(self, images):
        group = self.group(images)
        return networks.Output(self.fc(self.norm(group.mean((2, 3)))), (group,))


def test_a_norm_of_vectors_is_a_batch_norm_as_well(monkeypatch):
    """It went on training, and stopped at a last batch of one image."""
    monkeypatch.setitem(networks.registry._REGISTERED, "one-dimensional", OneDimensional)
    network = networks.build("one-dimensional", 4, seeded())
    assert networks.freeze_(network, "one-dimensional", 0, norms=True) == [network.norm]
    assert not network.norm.weight.requires_grad and network.fc.weight.requires_grad


def test_training_changes_what_is_not_frozen_and_nothing_else(few_test_images):
    """Statistics of the norms included, which no optimiser touches."""
    run = Run("efficientnet-lite0", 1, "shapes", 32, batch_size=16, start="imagenet", norms="fixed", frozen_groups=1,
              precision="fp32", learning_rate=0.01, augmentation="window-flip")  # fmt: skip
    checks.validate(run)
    student = Student(run, 10, torch.device("cpu"), "fp32")
    before = {name: value.clone() for name, value in student.network.state_dict().items()}
    train_epoch(
        [student], None, data.load("shapes", "train", subset=32), engine.forward("fp32", False), lambda *_: None
    )
    changed = {name for name, value in student.network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in changed} == {"stage3", "stage4", "stage5", "stage6", "stage7", "head", "fc"}
    assert not [name for name in changed if "norm" in name]
    known = networks.pretrained("efficientnet-lite0").state_dict()
    assert torch.equal(before["stage5.0.project.conv.weight"], known["stage5.0.project.conv.weight"])


@pytest.mark.slow
def test_a_fine_tuned_run_is_recorded_stopped_and_continued_like_any_other(few_test_images, store, quiet, tmp_path):
    """Momentum is kept for what is trained only: after a stop it has to go back to the same parameters."""
    run = Run("wrn-10-1", 2, "shapes", 32, batch_size=16, norms="fixed", frozen_groups=1, precision="fp32",
              learning_rate=0.01, augmentation="window-flip")  # fmt: skip
    train([run], store, device="cpu", progress=quiet)
    assert store.load(run).values["parameters"] == sum(p.numel() for p in networks.build("wrn-10-1").parameters())
    images = data.load("shapes", "train", subset=32)
    halves = [Student(run, 10, torch.device("cpu"), "fp32") for _ in range(2)]
    for number, student in enumerate(halves):
        if number:
            student.restore(tmp_path / "half.safetensors", {})
        row = train_epoch([student], None, images, engine.forward("fp32", False), lambda *_: None)[0]
        student.end_epoch(row)
        student.save(tmp_path / "half.safetensors")
    whole = store.load(run).weights()
    stored = {name: value.half().float() for name, value in halves[1].network.state_dict().items() if "num" not in name}
    assert all(torch.equal(whole[name], value) for name, value in stored.items())
