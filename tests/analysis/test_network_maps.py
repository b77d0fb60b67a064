"""Numbers about attention maps, on maps whose answer is known."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from fixed_maps import Fixed
from torch import nn

from at_repro import data, networks
from at_repro.analysis import network_maps
from at_repro.data import ImageSet
from at_repro.errors import ParameterError, check_count


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


def test_rows_of_one_level_are_named_by_the_rest():
    given = {"low, AT": torch.zeros(1), "top, WRN-16-1 from WRN-16-2, AT": torch.ones(1)}
    assert network_maps.of_level(given, "top") == {
        "WRN-16-1 from WRN-16-2, AT": given["top, WRN-16-1 from WRN-16-2, AT"]
    }
    assert network_maps.of_level(given, "middle") == {}


def corner(row: int, column: int) -> torch.Tensor:
    one = torch.zeros(8, 8)
    one[row, column] = 2.0
    return one


@pytest.mark.parametrize("count", [1, 2])
def test_one_per_class_takes_the_first(images, count):
    chosen = network_maps.one_per_class(images, count)
    assert chosen.labels.tolist() == [label for label in range(10) for _ in range(count)]
    for label in range(10):
        first = (images.labels == label).nonzero()[:count, 0]
        assert torch.equal(chosen.images[chosen.labels == label], images.images[first])
        assert torch.equal(chosen.masks[chosen.labels == label], images.masks[first]), "masks went astray"


def test_rows_go_level_by_level(images):
    low, top = torch.rand(8, 8), torch.rand(4, 4)
    found = network_maps.rows({"teacher": Fixed(low, low, top), "AT": Fixed(low, low, top)}, images)
    assert list(found) == ["low, teacher", "low, AT", "middle, teacher", "middle, AT", "top, teacher", "top, AT"]
    assert found["top, AT"].shape == (20, 4, 4)
    assert network_maps.rows({}, images) == {}


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
    assert network_maps.rows({}, None) == {}, "a report without its data has no rows"


def test_mapping_rows_are_the_mappings_of_one_level(images):
    """Of a level whose F_sum^2 is m, with one channel: F_sum is sqrt m and F_sum^4 is m squared."""
    low, middle, other = torch.rand(8, 8), torch.rand(4, 4), torch.rand(4, 4)
    two = {"teacher": Fixed(low, middle, low), "AT": Fixed(low, other, low)}
    found = network_maps.mapping_rows(two, images, ["sum-1", "sum-2", "max-2", "sum-4"], 1)
    assert list(found) == [
        f"{mapping}, {name}" for mapping in ("sum-1", "sum-2", "max-2", "sum-4") for name in ("teacher", "AT")
    ]
    for name, one in (("teacher", middle), ("AT", other)):
        wanted = {"sum-1": one.sqrt(), "sum-2": one, "max-2": one, "sum-4": one.square()}
        for mapping, wanted_map in wanted.items():
            torch.testing.assert_close(found[f"{mapping}, {name}"], wanted_map.expand(20, 4, 4))
    assert network_maps.mapping_rows({}, None, ["sum-1"], 1) == {}
    assert network_maps.mapping_rows(two, images, [], 1) == {}
    with pytest.raises(ParameterError, match=r"^mapping: 'sum' is not allowed"):
        network_maps.mapping_rows(two, images, ["sum-1", "sum"], 1)


def test_sums_and_maxima_differ_where_there_are_several_channels(images, wrn):
    found = network_maps.mapping_rows({"a": wrn}, images, ["sum-1", "max-1"], 2)
    group = wrn(normalized(images)).groups[2]
    torch.testing.assert_close(found["sum-1, a"], group.abs().sum(1))
    torch.testing.assert_close(found["max-1, a"], group.abs().amax(1))


def normalized(images: ImageSet) -> torch.Tensor:
    mean, std = (torch.tensor(constants).view(1, 3, 1, 1) for constants in data.normalization(images.name))
    return (images.images.float() - mean) / std


class Linear(nn.Module):
    """Logits W x, whose gradient is known: of the cross entropy with respect to x it is W' (softmax - one-hot)."""

    def __init__(self):
        super().__init__()
        self.weight = torch.randn(10, 3 * 32 * 32, generator=torch.Generator().manual_seed(1)) / 100

    def forward(self, batch):
        return SimpleNamespace(logits=batch.flatten(1) @ self.weight.T, groups=())


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


def test_one_unknown_mapping_is_refused_everywhere(images):
    one = {"teacher": Fixed(corner(0, 0)), "s": Fixed(corner(0, 0))}
    for function in (network_maps.rows, network_maps.norms):
        with pytest.raises(ParameterError, match=r"^mapping: 'mean' is not allowed"):
            function(one, images, "mean")
    with pytest.raises(ParameterError, match=r"^mapping: 'mean' is not allowed"):
        network_maps.resized_rows(one, images, 0, "mean")


def test_levels_are_counted_from_low_to_top():
    assert [network_maps.level(name) for name in ("low", "middle", "top")] == [0, 1, 2]


@pytest.mark.parametrize("name", ["", "Low", 1, None])
def test_an_unknown_level_is_refused(name):
    with pytest.raises(ParameterError) as raised:
        network_maps.level(name)
    assert str(raised.value) == f"level: {name!r} is not allowed; allowed: low, middle, top"


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


@pytest.mark.parametrize("batch", [0, -1, 2.0, True, "8", None])
def test_a_number_of_images_is_an_integer_from_1(batch):
    check_count("batch", 10**6)  # how many there are is not known yet
    with pytest.raises(ParameterError) as raised:
        check_count("batch", batch)
    assert str(raised.value) == f"batch: {batch!r} is not allowed; allowed: an integer from 1"


def test_norms_by_hand(images):
    """3 and 4 have the norm 5, and with sum-4, which squares these maps, 9 and 16 that of 337; 64 ones have 8."""
    both, ones = 3 / 2 * corner(0, 0) + 4 / 2 * corner(5, 5), torch.ones(8, 8)
    given = {"student": Fixed(both, ones, 10 * ones), "teacher": Fixed(ones, ones, both)}
    wanted = {"student": [5, 8, 80], "teacher": [8, 8, 5]}
    found = network_maps.norms(given, images)
    assert list(found.columns) == ["network", "level", "norm"] and len(found) == 2 * 3 * 20
    assert list(found.drop_duplicates(["network", "level"])["level"]) == ["low", "middle", "top"] * 2
    for name, norms in wanted.items():
        for level, norm in zip(network_maps.LEVELS, norms, strict=True):
            chosen = found[(found["network"] == name) & (found["level"] == level)]
            assert chosen["norm"].tolist() == pytest.approx([norm] * 20)
    powers = network_maps.norms({"student": Fixed(both)}, images, "sum-4")
    assert powers["norm"].tolist() == pytest.approx([math.sqrt(337)] * 20)
    assert powers["level"].unique().tolist() == ["level 1"]


def test_every_image_has_its_own_norm(images, wrn):
    found = network_maps.norms({"teacher": wrn.train()}, images).set_index("level")["norm"]
    groups = wrn.eval()(normalized(images)).groups
    for level, group in zip(network_maps.LEVELS, groups, strict=True):
        wanted = group.double().square().sum(1).square().sum((1, 2)).sqrt()
        assert wanted.std() > 1e-3, "images must differ for this test to see which is which"
        assert found[level].tolist() == pytest.approx(wanted.tolist(), rel=1e-5)


def test_resized_rows_by_hand(images):
    """At half every place is the mean of four; at a quarter that of the middle four of sixteen."""
    low, middle = torch.rand(16, 16), torch.rand(8, 8)
    found = network_maps.resized_rows({"teacher": Fixed(low, middle), "AT": Fixed(low, low)}, images, 1)
    assert list(found) == [
        "8x8, teacher", "4x4, teacher", "2x2, teacher", "16x16, AT", "8x8, AT", "4x4, AT",
    ]  # fmt: skip
    for name, own in (("teacher", middle), ("AT", low)):
        size = len(own)
        half = own.view(size // 2, 2, size // 2, 2).mean((1, 3))
        quarter = own.view(size // 4, 4, size // 4, 4)[:, 1:3, :, 1:3].mean((1, 3))
        for resized in (own, half, quarter):
            maps = found[f"{len(resized)}x{len(resized)}, {name}"]
            torch.testing.assert_close(maps, resized.expand(20, *resized.shape))
    powers = network_maps.resized_rows({"teacher": Fixed(low, middle)}, images, 1, "sum-4")
    torch.testing.assert_close(powers["8x8, teacher"][3], middle**2)


def test_a_flat_map_stays_flat_when_resized(images):
    """Height and width are not exchanged."""
    flat = torch.rand(4, 8)
    found = network_maps.resized_rows({"teacher": Fixed(flat)}, images, 0)
    assert [(label, tuple(maps.shape[1:])) for label, maps in found.items()] == [
        ("4x8, teacher", (4, 8)), ("2x4, teacher", (2, 4)), ("1x2, teacher", (1, 2)),
    ]  # fmt: skip


class Channels(nn.Module):
    """One group, of three channels on 2x2 places: one negative, one even, one that fires on white images alone."""

    def forward(self, batch):
        group = torch.zeros(len(batch), 3, 2, 2)
        group[:, 0, 0, 0] = -3.0
        group[:, 1] = 1.0
        group[:, 2, 1, 1] = torch.where(batch.mean((1, 2, 3)) > 1, 10.0, 0.0)
        return SimpleNamespace(logits=torch.zeros(len(batch), 10), groups=(group,))


def test_channel_rows_by_hand(images, monkeypatch):
    """Of 20 images, one of them white, the channels have the energies 20 * 9, 20 * 4 and 100."""
    black = torch.zeros_like(images.images)
    black[7] = 255
    images = replace(images, images=black)
    monkeypatch.setattr(network_maps, "BATCH", 3)  # energy is that of all images, not of a batch
    found = network_maps.channel_rows({"teacher": Channels()}, images, 0)
    assert list(found) == ["channel 0, teacher", "channel 2, teacher", "channel 1, teacher", "sum-2, teacher"]
    for image in (0, 7):
        white = 10.0 if image == 7 else 0.0
        assert found["channel 0, teacher"][image].tolist() == [[3, 0], [0, 0]]
        assert found["channel 1, teacher"][image].tolist() == [[1, 1], [1, 1]]
        assert found["channel 2, teacher"][image].tolist() == [[0, 0], [0, white]]
        assert found["sum-2, teacher"][image].tolist() == [[10, 1], [1, 1 + white**2]]
    few = network_maps.channel_rows({"teacher": Channels(), "AT": Channels()}, images, 0, 1)
    assert list(few) == ["channel 0, teacher", "sum-2, teacher", "channel 0, AT", "sum-2, AT"]


def test_channel_rows_are_of_the_level_they_name(images, wrn):
    found = network_maps.channel_rows({"a": wrn.train()}, images, 2, 3)
    group = wrn.eval()(normalized(images)).groups[2]
    energies = [(channel.double() ** 2).sum().item() for channel in group.unbind(1)]
    strongest = sorted(range(len(energies)), key=energies.__getitem__, reverse=True)[:3]
    assert list(found) == [*(f"channel {channel}, a" for channel in strongest), "sum-2, a"]
    for channel in strongest:
        torch.testing.assert_close(found[f"channel {channel}, a"], group[:, channel].abs())
    torch.testing.assert_close(found["sum-2, a"], (group**2).sum(1))
    assert all(maps.dtype == torch.float32 and not maps.requires_grad for maps in found.values())


class Odds(nn.Module):
    """Logits log 1 to log 10: at temperature 1 the probabilities are as 1 to 10, at 1/2 as their squares."""

    def forward(self, batch):
        return SimpleNamespace(logits=torch.arange(1.0, 11).log().expand(len(batch), 10), groups=())


def test_softened_by_hand(images):
    found = network_maps.softened({"teacher": Odds(), "student": Odds()}, images, [1, 0.5], 3)
    assert list(found.columns) == ["image", "network", "temperature", "class", "probability"]
    assert len(found) == 3 * 2 * 2 * 10
    assert list(found["network"].unique()) == ["teacher", "student"], "in the order that they are given"
    cells = found.groupby(["network", "temperature", "image"])
    assert set(cells.groups) == {
        (name, t, image) for name in ("teacher", "student") for t in (1, 0.5) for image in range(3)
    }
    for (_, temperature, _), cell in cells:
        assert tuple(cell["class"]) == images.classes
        wanted = [k / 55 for k in range(1, 11)] if temperature == 1 else [k * k / 385 for k in range(1, 11)]
        assert cell["probability"].tolist() == pytest.approx(wanted)


def test_softened_are_those_of_each_image(images, monkeypatch):
    monkeypatch.setattr(network_maps, "BATCH", 3)
    network = Linear()
    found = network_maps.softened({"teacher": network}, images, [4])
    powers = (normalized(images)[:4].flatten(1) @ network.weight.T / 4).double().exp()
    wanted = powers / powers.sum(1, keepdim=True)
    assert wanted.std(0).min() > 1e-3, "images must differ for this test to see which is which"
    assert found["image"].tolist() == [image for image in range(4) for _ in range(10)]
    assert found["probability"].tolist() == pytest.approx(wanted.flatten().tolist(), rel=1e-4)
    alone = network_maps.softened({"teacher": network}, images.subset(1), [4])
    pd.testing.assert_frame_equal(alone, found[found["image"] == 0])


@pytest.mark.parametrize("temperature", [0, -1, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(images, temperature):
    with pytest.raises(ParameterError) as raised:
        network_maps.softened({"teacher": Odds()}, images, [1, temperature])
    assert str(raised.value) == f"temperature: {temperature!r} is not allowed; allowed: a positive number"


def test_nothing_is_made_of_no_networks_or_no_images(images):
    """As of records that are missing, and of a data set that is not here."""
    for networks_, images_ in (({}, images), ({}, None), ({"teacher": Fixed(torch.ones(8, 8))}, None)):
        assert network_maps.resized_rows(networks_, images_, 0) == {}
        assert network_maps.channel_rows(networks_, images_, 0) == {}
        norms, probabilities = network_maps.norms(networks_, images_), network_maps.softened(networks_, images_, [1, 4])
        assert norms.empty and list(norms.columns) == ["network", "level", "norm"]
        assert probabilities.empty
        assert list(probabilities.columns) == ["image", "network", "temperature", "class", "probability"]


def test_difference_rows_by_hand(images):
    """Unit vectors (0.6, 0.8) and (0.8, 0.6): both places differ by 0.2, however large the activations are."""
    student, teacher = Fixed(torch.tensor([[3.0, 4.0]])), Fixed(torch.tensor([[80.0, 60.0]]))
    found = network_maps.difference_rows({"AT": student, "teacher": teacher}, images)
    assert list(found) == ["level 1, AT"]
    torch.testing.assert_close(found["level 1, AT"], torch.full((20, 1, 2), 0.2))
    assert network_maps.difference_rows({"AT": student}, images) == {}
    assert network_maps.difference_rows({"AT": student, "teacher": teacher}, None) == {}


class Mirrored(nn.Module):
    """A network whose logits do not change when the image is mirrored."""

    def __init__(self):
        super().__init__()
        self.inner = Linear()

    def forward(self, batch):
        return SimpleNamespace(logits=self.inner(batch).logits + self.inner(batch.flip(-1)).logits, groups=())


def test_mirrored_rows_are_both_sides_of_the_symmetry_norm(images):
    found = network_maps.mirrored_rows({"AT": Linear()}, images)
    assert list(found) == ["J(x), AT", "mirrored, AT", "difference, AT"]
    torch.testing.assert_close(found["J(x), AT"], network_maps.gradient_rows({"AT": Linear()}, images)["J, AT"])
    assert found["difference, AT"].max() > 0.1 * found["J(x), AT"].max()
    symmetric = network_maps.mirrored_rows({"AT": Mirrored()}, images)
    torch.testing.assert_close(symmetric["J(x), AT"], symmetric["mirrored, AT"])
    assert symmetric["difference, AT"].max() < 1e-4 * symmetric["J(x), AT"].max()
    assert network_maps.mirrored_rows({}, None) == {}


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
    of_student = network_maps._gradient(Mirrored(), images, mirrored=False).flatten(1)
    assert found.loc["AT", "distance"] == pytest.approx((of_student - own).norm(dim=1).mean().item(), rel=1e-4)
    cosines = torch.nn.functional.cosine_similarity(of_student, own)
    assert found.loc["AT", "cosine"] == pytest.approx(cosines.mean().item(), abs=1e-4)


def test_gradients_without_teacher_images_or_networks(images, monkeypatch):
    whole = network_maps.gradients({"AT": Linear()}, images)
    assert whole[["distance", "cosine"]].isna().all(axis=None), "there is no teacher"
    monkeypatch.setattr(network_maps, "BATCH", 7)
    parts = network_maps.gradients({"AT": Linear()}, images)
    assert parts["norm"].item() == pytest.approx(whole["norm"].item(), rel=1e-5), "whatever the batch"
    assert network_maps.gradients({}, images).empty and network_maps.gradients({"AT": Linear()}, None).empty


@pytest.mark.parametrize(("resolution", "sizes"), [(None, [20]), (128, [15, 5]), (224, [5] * 4), (2000, [1] * 20)])
def test_fewer_images_at_a_time_where_a_network_sees_larger_ones(images, resolution, sizes):
    """250 of 32 x 32 pixels are as many as 15 of 128 x 128."""
    network = Fixed(torch.rand(8, 8))
    if resolution:
        network.resolution = resolution
    assert [len(batch) for batch in network_maps.batches(network, images)] == sizes
    assert torch.equal(torch.cat([batch.labels for batch in network_maps.batches(network, images)]), images.labels)


def test_level_names():
    assert list(network_maps.level_names(3)) == ["low", "middle", "top"]
    assert list(network_maps.level_names(4)) == ["level 1", "level 2", "level 3", "level 4"]


class Activations(nn.Module):
    """Has the same activations (C, H, W) for each image."""

    def __init__(self, *groups: torch.Tensor):
        super().__init__()
        self.groups = groups

    def forward(self, images):
        groups = tuple(group.expand(len(images), -1, -1, -1) for group in self.groups)
        return SimpleNamespace(logits=torch.zeros(len(images), 10), groups=groups)


def test_correlations_of_mapping_functions(images):
    """Two channels at two places: sum-1 and max-1 differ where both fire; a scaled map correlates fully."""
    activations = torch.zeros(2, 2, 2)
    activations[:, 0, 0] = torch.tensor([1.0, 1.0])
    activations[0, 1, 1] = 2.0
    frames = network_maps.mapping_correlations(Activations(*[activations] * 3), images, ["sum-1", "max-1", "sum-2"])
    assert list(frames) == ["low", "middle", "top"]
    frame = frames["middle"]
    assert list(frame.index) == list(frame.columns) == ["sum-1", "max-1", "sum-2"]
    assert [frame.loc[name, name] for name in frame] == pytest.approx([1, 1, 1])
    # sum-1 is (2, 0, 0, 2), max-1 is (1, 0, 0, 2): covariance 3 / 4, deviations 1 and sqrt 11 / 4.
    assert frame.loc["sum-1", "max-1"] == pytest.approx((3 / 4) / math.sqrt(11) * 4)
    # sum-2 is (2, 0, 0, 4).
    assert (
        frame.loc["max-1", "sum-2"] == pytest.approx(1) and frame.loc["sum-2", "sum-1"] == frame.loc["sum-1", "sum-2"]
    )
    with pytest.raises(ParameterError, match=r"^mapping: "):
        network_maps.mapping_correlations(Activations(activations), images, ["mean"])


def test_a_uniform_map_counts_for_nothing(images):
    (frame,) = network_maps.mapping_correlations(Activations(torch.ones(2, 2, 2)), images, ["sum-1", "max-1"]).values()
    assert frame.isna().all(axis=None)
    assert network_maps.mapping_correlations(None, images, ["sum-1"]) == {}
    assert network_maps.mapping_correlations(Activations(torch.ones(2, 2, 2)), None, ["sum-1"]) == {}
