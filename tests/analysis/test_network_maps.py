"""Numbers about attention maps, on maps whose answer is known."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fixed_maps import Fixed
from torch import nn

from at_repro import data, networks
from at_repro.analysis import network_maps
from at_repro.data import ImageSet
from at_repro.errors import ParameterError


@pytest.fixture
def images():
    return data.load("shapes", "test", subset=20)


def test_maps_are_the_mapping_of_each_group(images):
    low, top = torch.rand(8, 8), torch.rand(4, 4)
    found = network_maps.maps(Fixed(low, top), images)
    assert [tuple(level.shape) for level in found] == [(20, 8, 8), (20, 4, 4)]
    torch.testing.assert_close(found[0], low.expand(20, 8, 8))
    torch.testing.assert_close(network_maps.maps(Fixed(low, top), images, "sum-4")[1][7], top**2)
    with pytest.raises(ParameterError, match="mapping"):
        network_maps.maps(Fixed(low), images, "mean")


def test_maps_do_not_depend_on_how_images_are_batched(images, monkeypatch):
    """In evaluation mode and batch by batch: no map may depend on the other images."""
    network = networks.build("wrn-10-1", generator=torch.Generator().manual_seed(0)).train()
    whole = network_maps.maps(network, images)
    monkeypatch.setattr(network_maps, "BATCH", 7)
    for level, again in zip(whole, network_maps.maps(network, images), strict=True):
        torch.testing.assert_close(level, again)
        assert level.dtype == torch.float32 and not level.requires_grad


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_of_each_class_are_taken(images, count):
    chosen = network_maps.first_of_classes(images, count)
    assert chosen.labels.tolist() == [label for label in range(10) for _ in range(count)]
    for label in range(10):
        first = (images.labels == label).nonzero()[:count, 0]
        assert torch.equal(chosen.images[chosen.labels == label], images.images[first])
        assert torch.equal(chosen.masks[chosen.labels == label], images.masks[first]), "masks went astray"


def test_a_class_with_few_images_lets_no_other_class_in(images):
    """Asked for two of each of three classes, of which the second has one."""
    few = images.select(torch.cat([(images.labels != 1).nonzero(), (images.labels == 1).nonzero()[:1]]).flatten())
    assert network_maps.first_of_classes(few, 2, classes=3).labels.tolist() == [0, 0, 1, 2, 2]


def test_rows_go_level_by_level(images):
    low, top = torch.rand(8, 8), torch.rand(4, 4)
    found = network_maps.rows({"teacher": Fixed(low, low, top), "AT": Fixed(low, low, top)}, images)
    assert list(found) == ["low, teacher", "low, AT", "middle, teacher", "middle, AT", "top, teacher", "top, AT"]
    assert found["top, AT"].shape == (20, 4, 4)
    assert network_maps.rows({}, images) == {}
    own = {"one": {"level 1": low, "level 2": top}, "two": {"level 2": low}}
    chosen = network_maps.by_label(own, "level 2")
    assert list(chosen) == ["level 2, one", "level 2, two"] and chosen["level 2, one"] is top


@pytest.fixture
def wrn():
    """A frozen network in evaluation mode, as a study gives them."""
    return networks.build("wrn-10-1", generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)


def test_rows_hold_the_maps_of_the_network_and_level_they_name(images):
    """A label on another network's map would pass unseen in a figure."""
    names = [(network, level) for network in ("teacher", "AT") for level in ("low", "middle", "top")]
    given = {name: torch.rand(8, 8) for name in names}
    two = {network: Fixed(*(given[network, level] for level in network_maps.LEVELS)) for network in ("teacher", "AT")}
    found = network_maps.rows(two, images)
    for (network, level), one in given.items():
        torch.testing.assert_close(found[f"{level}, {network}"], one.expand(20, 8, 8))
    powers = network_maps.rows(two, images, "sum-4")
    torch.testing.assert_close(powers["top, AT"][3], given["AT", "top"] ** 2)
    torch.testing.assert_close(network_maps.top(two, images)["teacher"], given["teacher", "top"].expand(20, 8, 8))
    assert network_maps.rows({}, None) == {} == network_maps.top({}, None), "a report without its data has no rows"


def normalized(images: ImageSet) -> torch.Tensor:
    mean, std = (torch.tensor(constants).view(1, 3, 1, 1) for constants in data.normalization(images.name))
    return (images.images.float() - mean) / std


class Linear(nn.Module):
    """Logits W x, whose gradient is known: of the cross entropy with respect to x it is W' (softmax - one-hot)."""

    def __init__(self):
        super().__init__()
        self.weight = torch.randn(10, 3 * 32 * 32, generator=torch.Generator().manual_seed(1)) / 100

    def forward(self, batch):
        return SimpleNamespace(logits=batch.flatten(1) @ self.weight.T.to(batch.dtype), groups=())


def test_gradient_rows_by_the_formula(images):
    """Each image's map is the gradient of its own loss, whatever the batch: not of a mean over images."""
    network = Linear()
    error = (normalized(images).flatten(1) @ network.weight.T).softmax(1)
    error[range(20), images.labels] -= 1
    wanted = (error @ network.weight).view(20, 3, 32, 32).abs().sum(1)
    found = network_maps.gradient_rows({"teacher": network, "AT": network}, images)
    assert list(found) == ["J, teacher", "J, AT"]
    for maps in found.values():
        assert maps.shape == (20, 32, 32) and not maps.requires_grad
        torch.testing.assert_close(maps, wanted, rtol=1e-4, atol=1e-6)
    alone = network_maps.gradient_rows({"AT": network}, images.select(slice(5, 6)))["J, AT"]
    torch.testing.assert_close(alone[0], wanted[5], rtol=1e-4, atol=1e-6)


def test_where_a_network_is_sure_its_gradient_points_where_it_should(images):
    """In float32 a softmax of 1 - 1e-9 is 1, and J is 0 or rounding: figures of two machines would differ."""
    network, one = Linear(), images.select(slice(0, 1))
    logits = network(normalized(one)).logits
    best, second = logits.topk(2).values[0]
    network.weight *= 21 / (best - second)  # e^-21 is 8e-10
    one, weight = replace(one, labels=logits.argmax(1)), network.weight.double()
    others = (normalized(one).double().flatten(1) @ weight.T).softmax(1).index_fill(1, one.labels, 0)
    assert 1e-10 < others.sum() < 1e-8
    wanted = (others @ weight - others.sum() * weight[one.labels]).view(1, 3, 32, 32).abs().sum(1).float()
    torch.testing.assert_close(network_maps.gradient_rows({"a": network}, one)["J, a"], wanted, rtol=1e-4, atol=0)


def test_gradient_rows_leave_network_and_images_alone(images, wrn):
    state = {name: value.clone() for name, value in wrn.state_dict().items()}
    pixels = images.images.clone()
    frozen = network_maps.gradient_rows({"a": wrn}, images)["J, a"]
    measured_in_training_mode = network_maps.gradient_rows({"a": wrn.train()}, images)["J, a"]
    torch.testing.assert_close(measured_in_training_mode, frozen)
    assert all(torch.equal(value, state[name]) for name, value in wrn.state_dict().items()), "statistics moved"
    assert all(weight.grad is None and not weight.requires_grad for weight in wrn.parameters())
    assert torch.equal(images.images, pixels)
    assert frozen.min() >= 0 and frozen.max() > 0
    assert network_maps.gradient_rows({}, None) == {}


@pytest.mark.parametrize("mappings", [[], "sum-2", ("sum-2",), None, {"sum-2": 1}])
def test_what_is_no_list_of_mappings_is_refused(mappings):
    """A name alone would be read letter by letter."""
    with pytest.raises(ParameterError) as raised:
        network_maps.check_mappings(mappings)
    wanted = "a list of one or more mapping functions, such as ['sum-2']"
    assert str(raised.value) == f"mappings: {mappings!r} is not allowed; allowed: {wanted}"


@pytest.mark.parametrize("name", ["mean", "sum-0", "sum", 2, None])
def test_a_list_with_an_unknown_mapping_is_refused(name):
    network_maps.check_mappings(["sum-1", "max-2", "sum-2.5"])
    with pytest.raises(ParameterError) as raised:
        network_maps.check_mappings(["sum-2", name])
    assert str(raised.value).startswith(f"mapping: {name!r} is not allowed; allowed: sum-1, ")


class Mirrored(nn.Module):
    """A network whose logits do not change when the image is mirrored."""

    def __init__(self):
        super().__init__()
        self.inner = Linear()

    def forward(self, batch):
        return SimpleNamespace(logits=self.inner(batch).logits + self.inner(batch.flip(-1)).logits, groups=())


def test_gradients_are_measured_by_the_formula(images):
    """J of a linear network is (softmax - label) W."""
    network, plain = Linear(), normalized(images).flatten(1)
    found = network_maps.gradients({"AT": Mirrored(), "teacher": network}, images).set_index("network")

    def gradient(pixels):
        error = (pixels @ network.weight.T).softmax(1)
        error[range(20), images.labels] -= 1
        return error @ network.weight

    own = gradient(plain)
    other = gradient(normalized(images).flip(-1).flatten(1)).view(20, 3, 32, 32).flip(-1).flatten(1)
    row = found.loc["teacher"]
    assert row["norm"] == pytest.approx(own.norm(dim=1).mean().item(), rel=1e-4)
    wanted = torch.nn.functional.cosine_similarity(own, other).mean().item()
    assert row["symmetry"] == pytest.approx(wanted, abs=1e-4) and abs(wanted) < 0.9
    assert row["distance"] == 0 and row["cosine"] == pytest.approx(1, abs=1e-5)
    assert found.loc["AT", "symmetry"] == pytest.approx(1, abs=1e-4), "an image and its mirror image are alike to it"
    half = gradient(plain + normalized(images).flip(-1).flatten(1)).view(20, 3, 32, 32)
    of_student = (half + half.flip(-1)).flatten(1)
    assert found.loc["AT", "distance"] == pytest.approx((of_student - own).norm(dim=1).mean().item(), rel=1e-4)
    cosines = torch.nn.functional.cosine_similarity(of_student, own)
    assert found.loc["AT", "cosine"] == pytest.approx(cosines.mean().item(), abs=1e-4)


def test_gradients_without_teacher_images_or_networks(images, monkeypatch):
    whole = network_maps.gradients({"AT": Linear()}, images)
    assert whole[["distance", "cosine"]].isna().all(axis=None), "there is no teacher"
    monkeypatch.setattr(network_maps, "BATCH", 7)
    parts = network_maps.gradients({"AT": Linear()}, images)
    assert parts["norm"].item() == pytest.approx(whole["norm"].item(), rel=1e-5), "whatever the batch"
    assert network_maps.gradients({}, None).empty


@pytest.mark.parametrize(("resolution", "sizes"), [(None, [20]), (128, [15, 5]), (224, [5] * 4), (512, [1] * 20)])
def test_fewer_images_at_a_time_where_a_network_sees_larger_ones(images, resolution, sizes):
    """250 of 32 x 32 pixels are as many as 15 of 128 x 128."""
    network = Fixed(torch.rand(8, 8))
    network.resolution = "of a user's own"
    if resolution:
        network = networks.ResizeInput(network, resolution)
    assert [len(output.logits) for output in network_maps.outputs(network, images)] == sizes


def test_gradients_are_of_fewer_images_at_a_time_where_these_are_larger(monkeypatch):
    large = ImageSet("shapes", "test", torch.zeros(20, 3, 128, 128, dtype=torch.uint8), torch.zeros(20).long(), ("a",))
    seen = []

    def gradient(network, batch, mirrored):
        seen.append(len(batch))
        return torch.ones(len(batch), 3, 2, 2)

    monkeypatch.setattr(network_maps, "_gradient", gradient)
    network_maps.gradients({"AT": None}, large)
    assert seen == [15, 15, 5, 5]


def test_level_names():
    assert list(network_maps.level_names(3)) == ["low", "middle", "top"]
    assert list(network_maps.level_names(4)) == ["level 1", "level 2", "level 3", "level 4"]


def test_groups_are_what_the_network_gives(images, wrn, monkeypatch):
    wanted = wrn(normalized(images)).groups
    monkeypatch.setattr(network_maps, "BATCH", 7)
    (found,) = network_maps.groups({"a": wrn.train()}, images).values()
    for own, group in zip(found, wanted, strict=True):
        torch.testing.assert_close(own, group)
    assert network_maps.groups({}, None) == {}


def test_maps_of_blocks_end_with_those_of_their_group(images):
    """Of WRN-22 with three blocks a group; the first block has another map than the last."""
    network = networks.build("wrn-22-1", generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    (found,) = network_maps.of_blocks({"a": network}, images).values()
    assert [len(group) for group in found] == [3, 3, 3]
    for maps, whole in zip(found, network_maps.maps(network, images), strict=True):
        torch.testing.assert_close(maps[-1], whole)
        assert not torch.allclose(maps[0], whole)
    assert network_maps.of_blocks({}, None) == {}
