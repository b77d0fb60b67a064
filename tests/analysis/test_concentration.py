"""Statistics of maps, on maps with known answers."""

import math

import pytest
import torch
from torch import nn

from at_repro import data
from at_repro.analysis import concentration, network_maps
from at_repro.errors import ParameterError
from at_repro.networks import Output

EVEN = torch.ones(1, 8, 8)
PEAK = torch.zeros(1, 8, 8)
PEAK[0, 3, 4] = 7.0


def test_entropy_of_even_peaked_and_halved_maps():
    half = torch.zeros(1, 8, 8)
    half[0, :4] = 2.0  # 32 of 64 places: log 32 / log 64
    found = concentration.entropy(torch.cat([EVEN, PEAK, half, torch.zeros(1, 8, 8)]))
    assert found[:3].tolist() == pytest.approx([1, 0, 5 / 6], abs=1e-6) and found[3].isnan()


def test_share_of_the_strongest_places():
    """Of 64 places the strongest tenth are 7."""
    seven = torch.zeros(1, 8, 8)
    seven[0, 0, :7], seven[0, 5:7] = 3.0, 1.0  # 21 of 37
    found = concentration.top_share(torch.cat([EVEN, PEAK, seven]))
    assert found.tolist() == pytest.approx([7 / 64, 1, 21 / 37], rel=1e-6)
    assert concentration.top_share(EVEN, 0.5).item() == pytest.approx(0.5)


def test_neither_depends_on_the_size_of_the_activations():
    maps = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(0))
    for function in (concentration.entropy, concentration.top_share):
        torch.testing.assert_close(function(maps), function(1e6 * maps))


class Fixed(nn.Module):
    """Has the same activations (C, H, W) for each image."""

    def __init__(self, *groups: torch.Tensor):
        super().__init__()
        self.groups = groups

    def forward(self, images):
        return Output(
            torch.zeros(len(images), 10), tuple(group.expand(len(images), -1, -1, -1) for group in self.groups)
        )


@pytest.fixture(scope="module")
def images():
    return data.load("shapes", "test", subset=60)


def test_concentrations_of_every_network_level_and_image(images):
    networks = {"even": Fixed(EVEN, EVEN, EVEN), "mixed": Fixed(EVEN, PEAK, PEAK)}
    frame = concentration.concentrations(networks, images)
    assert list(frame.columns) == ["network", "level", "entropy", "top_share"] and len(frame) == 2 * 3 * 60
    means = frame.groupby(["network", "level"])[["entropy", "top_share"]].mean()
    assert means.loc[("even", "top")].tolist() == pytest.approx([100, 700 / 64], rel=1e-5)
    assert means.loc[("mixed", "low")].tolist() == pytest.approx([100, 700 / 64], rel=1e-5)
    assert means.loc[("mixed", "middle")].tolist() == pytest.approx([0, 100], abs=1e-4)


@pytest.mark.parametrize("networks", [{}, {"one": Fixed(EVEN, EVEN, EVEN)}])
def test_without_images_or_networks_there_are_no_rows(networks, images):
    frame = concentration.concentrations(networks, images if not networks else None)
    assert frame.empty and list(frame.columns) == ["network", "level", "entropy", "top_share"]
    assert concentration.class_rows(None, images) == concentration.class_rows(Fixed(EVEN), None) == {}


def test_average_maps_of_classes_count_every_image_alike(images, monkeypatch):
    """A class whose images have a strong and a weak map at two places averages to half and half."""
    maps = torch.zeros(len(images), 8, 8)
    for label in range(10):
        first, *others = (images.labels == label).nonzero()[:, 0].tolist()
        maps[first, 0, 0] = 1000.0
        maps[others, 7, 7] = 1.0
    monkeypatch.setattr(network_maps, "maps", lambda *_: [maps])
    found = concentration.class_rows(nn.Identity(), images)
    assert list(found) == ["level 1, average", "level 1, minus all"]
    averages, differences = found.values()
    assert averages.shape == differences.shape == (10, 8, 8)
    for label in range(10):
        count = int((images.labels == label).sum())
        assert averages[label, 0, 0].item() == pytest.approx(64 / count), "in units of an even map's 64th"
        assert averages[label, 7, 7].item() == pytest.approx(64 - 64 / count)
    assert differences.sum(0).abs().max() < 1e-4, "of all classes together nothing is left"
    torch.testing.assert_close(averages - differences, averages.mean(0).expand(10, 8, 8))


def test_correlations_of_mapping_functions(images):
    """Two channels at two places: sum-1 and max-1 differ where both fire; a scaled map correlates fully."""
    activations = torch.zeros(2, 2, 2)
    activations[:, 0, 0] = torch.tensor([1.0, 1.0])
    activations[0, 1, 1] = 2.0
    frames = concentration.mapping_correlations(Fixed(*[activations] * 3), images, ["sum-1", "max-1", "sum-2"])
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
        concentration.mapping_correlations(Fixed(activations), images, ["mean"])


def test_an_even_map_counts_for_nothing(images):
    (frame,) = concentration.mapping_correlations(Fixed(torch.ones(2, 2, 2)), images, ["sum-1", "max-1"]).values()
    assert frame.isna().all(axis=None)
    assert concentration.mapping_correlations(None, images, ["sum-1"]) == {}
    assert concentration.mapping_correlations(Fixed(torch.ones(2, 2, 2)), None, ["sum-1"]) == {}
