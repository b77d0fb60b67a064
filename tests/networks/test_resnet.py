"""torchvision's networks with their groups, and its weights when they can be had."""

import os
import urllib.error

import pytest
import torch
import torchvision

from at_repro import networks
from at_repro.errors import DataError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch's, and no connection."""

    def offline(*args, **kwargs):
        raise urllib.error.URLError("no connection")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet101"])
def test_same_network_as_in_torchvision(name):
    network = networks.build(name, num_classes=3).eval()
    reference = torchvision.models.get_model(name, num_classes=3).eval()
    reference.load_state_dict(network.state_dict())
    layers = ["layer1", "layer2", "layer3", "layer4"]
    images = torch.rand(1, 3, 64, 64)
    output, expected = network(images), networks.tap(reference, layers)(images)
    torch.testing.assert_close(output, expected)
    assert [group.shape[-1] for group in output.groups] == [16, 8, 4, 2]
    assert [group.shape[1] for group in output.groups] == [
        width * (4 if name == "resnet101" else 1) for width in (64, 128, 256, 512)
    ]


def test_pretrained_reads_the_cache(cache):
    original = networks.build("resnet18", num_classes=1000)
    cache.mkdir()
    torch.save(original.state_dict(), cache / "resnet18-f37072fd.pth")
    network = networks.pretrained("resnet18")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in original.state_dict().items())


def test_pretrained_without_connection_is_one_clear_line(cache):
    with pytest.raises(DataError, match=r"^resnet34: no weights .*no connection.*checkpoints") as caught:
        networks.pretrained("resnet34")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", b"", b"<!doctype html>", b"version https://git-lfs.github"])
def test_pretrained_damaged_file(content, cache):
    cache.mkdir()
    (cache / "resnet18-f37072fd.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"^resnet18: no weights") as caught:
        networks.pretrained("resnet18")
    assert "no connection" not in str(caught.value) and "\n" not in str(caught.value), "it was not looked at"


def test_pretrained_refuses_another_networks_weights(cache):
    cache.mkdir()
    torch.save(networks.build("resnet34", num_classes=1000).state_dict(), cache / "resnet18-f37072fd.pth")
    with pytest.raises(DataError, match=r"^resnet18: no weights .*state_dict") as caught:
        networks.pretrained("resnet18")
    assert "\n" not in str(caught.value)


def test_code_in_the_cache_is_refused_and_does_not_run(cache):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(cache / "ran"),)

    cache.mkdir()
    torch.save({"conv1.weight": Malicious()}, cache / "resnet18-f37072fd.pth")
    with pytest.raises(DataError, match=r"^resnet18: no weights"):
        networks.pretrained("resnet18")
    assert not (cache / "ran").exists()
