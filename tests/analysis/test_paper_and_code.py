"""Sizes of the differences between paper and public code, against the same numbers computed another way."""

import numpy as np
import pytest
import torch
from torch import nn

from at_repro import data, networks
from at_repro.analysis import paper_and_code
from at_repro.analysis.study import open_study
from at_repro.training import missing_runs

NAME = "wrn-16-2-to-16-1"


@pytest.fixture(scope="module")
def images():
    return data.load("shapes", "test", subset=6)


def random_wrn(name: str, seed: int) -> nn.Module:
    """With batch norms as after training: of statistics, scales and shifts that all differ."""
    generator = torch.Generator().manual_seed(seed)
    network = networks.build(name, generator=generator).eval()
    with torch.no_grad():
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.5, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(0, 0.5, generator=generator)
    return network


@pytest.fixture(scope="module")
def student():
    return random_wrn("wrn-10-1", 0)


@pytest.fixture(scope="module")
def teacher():
    return random_wrn("wrn-10-2", 1)


@pytest.fixture(scope="module")
def sizes(student, teacher, images):
    return paper_and_code.sizes(student, teacher, images)


@pytest.fixture(scope="module")
def seen(student, teacher, images):
    """What both networks make of the images, and what their next layers see of their groups, in float64."""
    mean, std = (torch.tensor(constants).view(1, 3, 1, 1) for constants in data.normalization("shapes"))
    batch = (images.images.float() - mean) / std
    both = {}
    for name, network in (("student", student), ("teacher", teacher)):
        both[name], both[f"{name}, read"] = groups_as_taken_and_read(network, batch)
    return both


def groups_as_taken_and_read(network, batch) -> tuple[list[np.ndarray], list[np.ndarray]]:
    following = {}

    def keep(name):
        return lambda module, inputs: following.update({name: array(inputs[0])})

    # A convolution takes what the batch norm and ReLU before it leave; behind the top group is a mean over places.
    hooks = [
        network.group1.block0.conv0.register_forward_pre_hook(keep("low")),
        network.group2.block0.conv0.register_forward_pre_hook(keep("middle")),
        network.bn.register_forward_hook(lambda module, inputs, output: following.update(top=array(output.relu()))),
        network.fc.register_forward_pre_hook(keep("features")),
    ]
    with torch.no_grad():
        groups = network(batch).groups
    for hook in hooks:
        hook.remove()
    np.testing.assert_allclose(following["top"].mean((2, 3)), following.pop("features"), rtol=1e-4, atol=1e-6)
    return [array(group) for group in groups], list(following.values())


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def unit(maps: np.ndarray) -> np.ndarray:
    """Maps (N, H, W) as vectors of length 1."""
    flat = maps.reshape(len(maps), -1)
    return flat / np.sqrt((flat**2).sum(1, keepdims=True))


def distance(ours: list[np.ndarray], others: list[np.ndarray]) -> float:
    """The mean over levels of the mean over images of the l2 distance of the normalised maps."""
    pairs = zip(ours, others, strict=True)
    return float(np.mean([np.sqrt(((unit(one) - unit(other)) ** 2).sum(1)).mean() for one, other in pairs]))


def energy(groups: list[np.ndarray]) -> list[np.ndarray]:
    return [(group**2).sum(1) for group in groups]


def test_the_table_shows_no_more_digits_than_there_are(sizes):
    """Another processor rounds float32 otherwise: the committed notebook is compared with what it finds."""
    table = paper_and_code.table(sizes | {"form": 175.5134, "position": 0.39567})
    assert table.loc["distance of maps", "size"] == "176" and table.loc["where maps are taken", "size"] == "0.396"
    assert table.loc["β", "size"] == "0.977, 3.91, 15.6"
    assert (paper_and_code.table({})["size"] == "").all(), "nothing was measured"


def test_distances_are_those_of_both_places(student, teacher, images, seen):
    found = paper_and_code.distances_before_and_after({"student": student, "teacher": teacher}, images)
    assert list(found.index) == ["student"] and found.columns.tolist() == [
        (place, level) for place in ("before", "after") for level in ("low", "middle", "top")
    ]
    for place, groups in (("before", ("student", "teacher")), ("after", ("student, read", "teacher, read"))):
        pairs = zip(*(energy(seen[name]) for name in groups), strict=True)
        wanted = [distance([one], [other]) for one, other in pairs]
        assert found.loc["student", place].tolist() == pytest.approx(wanted, rel=1e-4)


def test_distances_of_networks_without_such_places_are_none(student, images):
    nin = networks.build("nin-thin", 10, torch.Generator().manual_seed(0)).eval()
    for given in ({}, {"student": student}, {"student": nin, "teacher": student}):
        assert paper_and_code.distances_before_and_after(given, images).empty


def test_a_network_whose_groups_are_activated_has_all_other_sizes(images, sizes):
    """The notebook can be given any student: NIN's groups come after its batch norms and ReLUs."""
    student, teacher = (networks.build(name, 10, torch.Generator().manual_seed(0)).eval() for name in ("nin-thin",) * 2)
    found = paper_and_code.sizes(student, teacher, images)
    assert sizes.keys() - found.keys() == {"position"}
    assert paper_and_code.table(found).loc["where maps are taken", "size"] == ""


def test_the_ratio_of_gradients_by_the_chain_rule(sizes, seen):
    """With d the distance of an image's unit maps q and t, the code form pulls with 2 d times 1000 / (N H W) along the
    gradient of d, the paper form with 0.1 / (2 N). That gradient is (q - t) / d through q = Q / |Q| and Q = sum A^2.
    """
    code = paper = 0.0
    for own, taught in zip(seen["student"], seen["teacher"], strict=True):
        count, _, height, width = own.shape
        for activations, other in zip(own, unit(energy([taught])[0]), strict=True):
            raw = (activations**2).sum(0).ravel()
            length = np.sqrt((raw**2).sum())
            q = raw / length
            d = np.sqrt(((q - other) ** 2).sum())
            along = (q - other) / d
            to_map = (along - q * (q @ along)) / length
            squared = ((2 * activations * to_map.reshape(height, width)) ** 2).sum()
            code += (2 * d * 1000 / (count * height * width)) ** 2 * squared
            paper += (0.1 / (2 * count)) ** 2 * squared
    assert sizes["form"] == pytest.approx(np.sqrt(code / paper), rel=1e-3)


def test_means_and_sums_of_channels_make_the_same_maps(sizes):
    assert sizes["channels"] == pytest.approx(0, abs=1e-6)


def test_signs_matter_in_a_sum(sizes, seen):
    signed = [group.sum(1) for group in seen["student"]]
    absolute = [np.abs(group).sum(1) for group in seen["student"]]
    assert sizes["signs"] == pytest.approx(distance(signed, absolute), rel=1e-4)
    assert sizes["signs"] > 0.1, "the groups of these networks are signed"


def test_the_place_of_the_maps(sizes, seen):
    """Against what the layers behind each group were really given."""
    wanted = distance(energy(seen["student, read"]), energy(seen["student"]))
    assert sizes["position"] == pytest.approx(wanted, rel=1e-4)
    assert wanted > 0.1


def test_the_older_distillation_keeps_a_fifth(sizes):
    """Averaged over ten classes and doubled: 2 / 10, whatever the logits."""
    assert sizes["distillation"] == pytest.approx(0.2, rel=1e-4)


def test_the_weight_on_the_squared_distance(sizes):
    """1000 over the places of a map: 32 x 32, 16 x 16, 8 x 8."""
    weights = [sizes[level] for level in ("low", "middle", "top")]
    assert weights == pytest.approx([0.9766, 3.906, 15.625], rel=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
def test_networks_are_left_as_they_are(images, frozen):
    pair = [random_wrn("wrn-10-1", seed).requires_grad_(not frozen) for seed in (2, 3)]
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in pair]
    pixels = images.images.clone()
    paper_and_code.sizes(*pair, images)
    for network, state in zip(pair, before, strict=True):
        assert all(weight.requires_grad is not frozen for weight in network.parameters())
        assert all(weight.grad is None for weight in network.parameters())
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        assert not network.training
    assert torch.equal(images.images, pixels)


def test_a_student_that_is_its_teacher(student, images):
    """As in a store whose networks share seed and weights: no distance, and no ratio of nothing to nothing."""
    sizes = paper_and_code.sizes(student, student, images)
    assert np.isnan(sizes["form"]) and sizes["signs"] > 0.1


@pytest.fixture
def runs(tiny_experiment, monkeypatch):
    monkeypatch.setenv("AT_REPRO_TRAIN", "never")
    monkeypatch.setattr(missing_runs, "train_cohort", None)
    return tiny_experiment.runs("smoke")[0]


def study(store):
    return open_study(NAME, "smoke", device="cpu", results=str(store.folder))


def test_of_a_study_are_those_of_its_first_images(store, runs, hand_made):
    for column in ("student", "AT", "teacher"):
        hand_made(runs[column])
    opened = study(store)
    pair = opened.networks("student", "teacher")
    found = paper_and_code.of_study(opened, 7)
    wanted = paper_and_code.sizes(pair["student"], pair["teacher"], opened.images.select(slice(7)))
    np.testing.assert_equal(found, wanted)  # to which no number of two equal networks is itself
    assert found["signs"] != paper_and_code.of_study(opened, 8)["signs"]


@pytest.mark.parametrize("recorded", [(), ("student",), ("teacher", "AT")])
def test_of_a_study_without_both_networks_is_nothing(store, runs, hand_made, recorded):
    for column in recorded:
        hand_made(runs[column])
    assert paper_and_code.of_study(study(store), 7) == {}


def test_of_a_study_without_its_data_is_nothing(store, runs, hand_made):
    from dataclasses import replace

    for column in ("student", "teacher"):
        hand_made(runs[column])
    assert paper_and_code.of_study(replace(study(store), images=None), 128) == {}
