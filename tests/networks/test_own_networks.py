"""Networks of one's own, by a name of one's own."""

import pytest
import torch
import torchvision
from torch import nn

from at_repro import networks
from at_repro.analysis import verification
from at_repro.errors import ParameterError
from at_repro.networks import registry
from at_repro.runs import ActivationTransfer, Run
from at_repro.training import train

TINY = {"dataset": "shapes", "subset": 96, "batch_size": 64, "precision": "fp32"}


class Two(nn.Module):
    """Two convolutions, both of them groups."""

    def __init__(self, classes):
        super().__init__()
        self.low, self.top = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.fc = nn.Linear(8, classes)

    def forward(self, images):
        low = self.low(images)
        top = self.top(low.relu())
        return networks.Output(self.fc(top.mean((2, 3))), (low, top))


def tapped(classes):
    """A model of torchvision, of which two layers are groups."""
    return networks.tap(torchvision.models.squeezenet1_1(num_classes=classes), ["features.2", "features.7"])


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})
    networks.register("own-two", Two)
    networks.register("own-squeezenet", tapped)
    yield
    registry._outline.cache_clear()


def test_it_is_built_by_its_name_from_the_given_generator(registered):
    first, again = (networks.build("own-two", 4, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.low.weight, again.low.weight) and first.fc.out_features == 4
    assert networks.group_layers("own-two") == ("low", "top") and networks.group_channels("own-two") == (8, 8)
    assert networks.group_layers("own-squeezenet") == ("model.features.2", "model.features.7")
    assert "own-two" in networks.available()


def test_it_trains_is_recorded_with_its_source_and_verifies(registered, store, quiet, few_test_images):
    """As student, taught by another network of one's own, whose layers are named."""
    teacher = Run("own-squeezenet", epochs=1, learning_rate=0.01, **TINY)
    pairs = (("low", "model.features.2"), ("top", "model.features.7"))
    run = Run("own-two", epochs=1, teacher=teacher, terms=(ActivationTransfer(layers=pairs),), **TINY)
    train([run], store, device="cpu", progress=quiet)
    assert run.run_id.startswith("shapes-own-two-at-s0-")
    network = store.load(run).values["environment"]["network"]
    assert network["factory"].endswith(":Two") and "self.low, self.top" in network["text"]
    assert verification.verify(store, device="cpu") == 0


@pytest.mark.parametrize(
    ("name", "factory", "match"),
    [
        ("wrn-16-1", Two, "^name: 'wrn-16-1'"),
        ("own-two", Two, "^name: 'own-two'"),
        ("a/b", Two, "^name: 'a/b'"),
        ("own-linear", lambda classes: nn.Conv2d(3, classes, 1), r"^factory: .*returns an Output"),
        ("own-none", dict, r"^factory: 'dict'"),
    ],
)
def test_what_cannot_be_registered(registered, name, factory, match):
    with pytest.raises(ParameterError, match=match):
        networks.register(name, factory)
    assert name in ("own-two", "wrn-16-1") or name not in networks.available()


def test_a_record_of_a_network_that_is_not_registered_is_one_clear_error(registered, store, quiet, few_test_images):
    run = Run("own-two", epochs=1, **TINY)
    train([run], store, device="cpu", progress=quiet)
    registry._REGISTERED.clear()
    with pytest.raises(ParameterError, match=r"^network: 'own-two' "):
        run.validate()
