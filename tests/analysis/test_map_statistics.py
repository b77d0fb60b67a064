"""What maps are like in numbers, on maps, masks and images whose answer is known."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from at_repro import data
from at_repro.analysis import map_statistics
from at_repro.analysis.attention_measurement import means
from at_repro.analysis.map_statistics import correlation, edge_strength, entropy, share, surplus, top_share
from at_repro.data import ImageSet

UNIFORM = torch.ones(1, 8, 8)
PEAK = torch.zeros(1, 8, 8)
PEAK[0, 3, 4] = 7.0


def mask(rows: slice, columns: slice, size: int = 32) -> torch.Tensor:
    one = torch.zeros(1, size, size, dtype=torch.bool)
    one[:, rows, columns] = True
    return one


LEFT_TOP = mask(slice(0, 16), slice(0, 16))


@pytest.fixture(scope="module")
def images():
    return data.load("shapes", "test", subset=60)


def table(maps: dict[str, list[torch.Tensor]], images: ImageSet, taught: list[torch.Tensor] | None = None) -> dict:
    """What the table of attention has of one network's maps, low to top, by mapping function."""
    levels = ("low", "middle", "top")
    networks = {"own": {mapping: dict(zip(levels, of_one, strict=False)) for mapping, of_one in maps.items()}}
    networks |= {"teacher": {"sum-2": dict(zip(levels, taught, strict=False))}} if taught else {}
    rows = map_statistics.tabulate(networks, images, map_statistics.FUNCTIONS, "teacher" if taught else "")
    return means(rows[rows["network"] == "own"]).set_index(["level", "statistic"])["value"].to_dict()


def test_entropy_of_uniform_peaked_and_halved_maps():
    half = torch.zeros(1, 8, 8)
    half[0, :4] = 2.0  # 32 of 64 positions: log 32 / log 64
    found = entropy(torch.cat([UNIFORM, PEAK, half, torch.zeros(1, 8, 8)]))
    assert found[:3].tolist() == pytest.approx([1, 0, 5 / 6], abs=1e-6) and found[3].isnan()


def test_share_of_the_strongest_positions():
    """Of 64 positions the strongest tenth are 7."""
    seven = torch.zeros(1, 8, 8)
    seven[0, 0, :7], seven[0, 5:7] = 3.0, 1.0  # 21 of 37
    found = top_share(torch.cat([UNIFORM, PEAK, seven]))
    assert found.tolist() == pytest.approx([7 / 64, 1, 21 / 37], rel=1e-6)


def test_neither_depends_on_the_size_of_the_activations():
    maps = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(0))
    for function in (entropy, top_share):
        torch.testing.assert_close(function(maps), function(1e6 * maps))


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64])
def test_object_share_at_every_resolution(size):
    half = size // 2
    everything, nothing = torch.zeros(1, size, size), torch.ones(1, size, size)
    everything[:, :half, :half], nothing[:, :half, :half] = 3.0, 0.0
    assert share(everything, LEFT_TOP).item() == 1.0, "all of the map lies on the object"
    assert share(nothing, LEFT_TOP).item() == 0.0, "none of it does"
    assert share(torch.full((1, size, size), 0.7), LEFT_TOP).item() == pytest.approx(0.25), "the object's area"


def test_object_share_by_hand():
    """3 + 1 on the object's upper row, 4 + 0 below it: 4 of 8."""
    maps = torch.tensor([[[3.0, 1.0], [4.0, 0.0]]])
    assert share(maps, mask(slice(0, 16), slice(0, 32))).item() == pytest.approx(0.5)
    assert share(100 * maps, mask(slice(0, 16), slice(0, 32))).item() == pytest.approx(0.5), "a share has no scale"


def test_a_position_half_on_the_object_counts_half():
    """An 8x8 map position covers 4x4 pixels: the object takes two of its four columns."""
    maps = torch.zeros(1, 8, 8)
    maps[0, 0, 0] = 5.0
    assert share(maps, mask(slice(0, 4), slice(0, 2))).item() == pytest.approx(0.5)


def test_every_image_has_its_own_mask():
    maps = torch.zeros(2, 8, 8)
    maps[:, 0, 0] = 1.0
    masks = torch.cat([LEFT_TOP, ~LEFT_TOP])
    assert share(maps, masks).tolist() == [1.0, 0.0]


def test_a_surplus_is_what_another_images_map_does_not_have():
    """The first of two images has all of its mass on its object, the second half; each other's map has none there."""
    maps, masks = torch.zeros(2, 4, 4), torch.cat([LEFT_TOP, ~LEFT_TOP])
    maps[0, 0, 0] = 3.0
    maps[1, 0, 1] = maps[1, 3, 3] = 1.0
    # The second's map has half of its mass on the first's object, the first's none on the second's; and the objects,
    # which have nothing in common, as maps of their own 1 - 0.
    assert surplus(maps, masks).tolist() == pytest.approx([1 - 0.5, 0.5 - 0])
    assert surplus(masks.float(), masks).tolist() == [1, 1]
    near = torch.cat([LEFT_TOP, mask(slice(0, 16), slice(8, 24))])  # half of each is the other's as well
    left = torch.zeros(2, 4, 4)
    left[0, 0, 0] = left[1, 0, 3] = 1.0  # the second's beside its object
    assert surplus(left, near).tolist() == pytest.approx([(1 - 0) / 0.5, (0 - 0) / 0.5])
    assert surplus(maps[:1], masks[:1]).isnan().all(), "there is no other image"
    assert surplus(maps, masks[[0, 0]]).isnan().all(), "nor is it told from one whose object is at the same place"
    middle = torch.zeros(2, 4, 4)
    middle[:, 1:3, 1:3] = torch.tensor([1.0, 7.0]).view(2, 1, 1)
    found = share(middle, masks), surplus(middle, masks)
    assert found[0].tolist() == pytest.approx([0.25, 0.75]) and found[1].tolist() == pytest.approx([0, 0]), (
        "who always looks into the middle looks at no object"
    )


def test_correlation_by_hand():
    coarse = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    assert correlation(7 * coarse + 2, coarse).item() == pytest.approx(1)
    assert correlation(-coarse, coarse).item() == pytest.approx(-1)
    # (0, 1, 2, 3) against (0, 0, 0, 1): covariance 1.5, norms sqrt 5 and sqrt 3 / 2.
    assert correlation(coarse, (coarse == 3).float()).item() == pytest.approx(1.5 / math.sqrt(5 * 0.75))
    assert correlation(torch.ones(1, 2, 2), coarse).isnan().all()


def test_a_box_covers_the_pixels_whose_middle_it_holds(monkeypatch):
    """Of 50 rows those whose middle (i + 0.5) / 50 is between 0.38 and 0.54 are 19 to 26; columns 7 to 42."""
    monkeypatch.setattr(map_statistics, "PARTS", {"eyes": map_statistics.PARTS["eyes"]})
    box = map_statistics.parts_mask(50, 50)
    assert box[19:27, 7:43].all() and box.sum() == 8 * 36


def test_boxes_do_not_overlap_and_make_up_the_parts(monkeypatch):
    whole, alone = map_statistics.parts_mask(50, 50), []
    for part, box in map_statistics.PARTS.items():
        monkeypatch.setattr(map_statistics, "PARTS", {part: box})
        alone.append(map_statistics.parts_mask(50, 50))
    assert torch.stack(alone).sum(0).max() == 1 and torch.equal(torch.stack(alone).any(0), whole)


def test_an_edge_is_where_luminance_jumps():
    """Black left of column 4, white from there on: Sobel's eighth gives 1/2 on both sides of the jump, else nothing."""
    picture = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    picture[..., 4:] = 255
    strength = edge_strength(picture, (8, 8))
    assert strength.dtype == torch.float32
    torch.testing.assert_close(strength[0], torch.tensor([[0, 0, 0, 0.5, 0.5, 0, 0, 0]]).expand(8, 8))
    torch.testing.assert_close(edge_strength(picture, (2, 4))[0], torch.tensor([[0, 0.25, 0.25, 0]]).expand(2, 4))


def test_green_is_brighter_than_blue():
    """BT.601: a jump to pure green counts 0.587, one to pure blue 0.114."""
    for channel, weight in ((0, 0.299), (1, 0.587), (2, 0.114)):
        picture = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
        picture[:, channel, :, 2:] = 255
        assert edge_strength(picture, (4, 4)).max().item() == pytest.approx(weight / 2, abs=1e-6)


def test_statistics_of_maps_that_lie_on_an_edge(images):
    """One position has everything: entropy 0 and all of the mass; a uniform map 100 and a tenth, rounded up."""
    one, even = torch.zeros(2, 4, 4), torch.ones(2, 4, 4)
    one[:, 1, 2] = 5
    two = images.subset(2)
    found = table({"sum-2": [one, even, even], "sum-1": [even, one, one]}, two)
    assert found["low", "entropy"] == 0 and found["low", "top share"] == 100
    assert found["middle", "entropy"] == pytest.approx(100)
    assert found["low", "top share, sum-1"] == pytest.approx(12.5) == found["top", "top share"]
    assert ("top", "edges") not in found, "a uniform map follows nothing"
    strength = edge_strength(two.images, (4, 4))
    assert found["low", "edges"] == pytest.approx(correlation(one, strength).mean().item(), abs=1e-6)


def test_every_mapping_function_has_a_correlation_with_edges(images):
    """By hand: luminance jumps in the middle, so that each row of positions has the edges (0, 1, 1, 0) / 4.

    (1, 3, 1, 1) is (-1, 3, -1, -1) / 2 from its mean and goes with them as 1 to sqrt 3; (1, 0, 0, 0) the other way.
    """
    picture = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    picture[..., 4:] = 255
    one = replace(images.subset(1), images=picture, masks=None)
    rows = {"sum-1": [1.0, 3, 1, 1], "sum-2": [1.0, 0, 0, 0], "sum-4": [0.0, 5, 5, 0]}
    found = table({mapping: [torch.tensor([[row, row]])] for mapping, row in rows.items()}, one)
    assert found["low", "edges, sum-1"] == pytest.approx(1 / math.sqrt(3), abs=1e-6)
    assert found["low", "edges"] == pytest.approx(-1 / math.sqrt(3), abs=1e-6)
    assert found["low", "edges, sum-4"] == pytest.approx(1, abs=1e-6)


def test_the_share_on_the_object_is_measured_where_there_are_masks(images):
    """All of the mass in the middle of a position that the object covers, none of it beside."""
    two = images.subset(2)
    covered = two.masks.float()
    found = table({"sum-2": [covered, 1 - covered, torch.ones(2, 32, 32)]}, two)
    assert found["low", "on object"] == pytest.approx(100) and found["middle", "on object"] == pytest.approx(0)
    assert found["top", "on object"] == pytest.approx(100 * covered.mean().item(), rel=1e-4)
    assert found["low", "on object, surplus"] == pytest.approx(100, rel=1e-4)
    assert found["top", "on object, surplus"] == pytest.approx(0, abs=1e-4)
    assert ("low", "on parts") not in found, "of faces alone"
    bare = table({"sum-2": [covered] * 3}, replace(two, masks=None))
    assert ("low", "on object") not in bare and ("low", "on object, surplus") not in bare


def test_the_share_on_parts_is_measured_on_faces(images):
    pictures = replace(images.subset(2), name="orl_faces@64", masks=None)
    found = table({"sum-2": [torch.ones(2, 32, 32)] * 3}, pictures)
    assert found["middle", "on parts"] == pytest.approx(
        100 * map_statistics.parts_mask(32, 32).float().mean().item(), rel=1e-4
    )


def test_distances_are_those_of_the_loss_also_of_maps_of_unlike_size(images):
    """At the smaller size an even map has 1 / sqrt 2 at both positions: sqrt((1 - 1 / sqrt 2)^2 + 1 / 2)."""
    left, right = torch.tensor([[[1.0, 0]]]), torch.tensor([[[0, 3.0]]])
    found = table({"sum-2": [left] * 3}, images.subset(1), taught=[right, 2 * left, torch.ones(1, 2, 2)])
    distances = {level: value for (level, statistic), value in found.items() if statistic == "distance"}
    even = math.sqrt(2 - math.sqrt(2))
    assert distances == pytest.approx({"low": math.sqrt(2), "middle": 0, "top": even}, abs=1e-6)


def test_every_network_mapping_level_and_image_has_a_row_per_statistic(images):
    maps = {"sum-1": {"low": UNIFORM.expand(60, 8, 8), "top": PEAK.expand(60, 8, 8)}}
    frame = map_statistics.tabulate({"a": maps, "b": maps}, images, ["entropy", "on parts", "top share"])
    assert list(frame) == ["network", "mapping", "level", "image", "statistic", "value"]
    assert len(frame) == 2 * 2 * 60 * 2, "shapes are no faces: a statistic that does not apply has no rows"
    assert frame["image"].tolist() == list(range(60)) * 8 and pd.api.types.is_float_dtype(frame["value"])
    values = frame.groupby(["network", "level", "statistic"])["value"].mean()
    assert values["b", "top"].tolist() == pytest.approx([0, 100], abs=1e-4)
    assert values["a", "low"].tolist() == pytest.approx([100, 700 / 64], rel=1e-5)
    nothing = map_statistics.tabulate({}, images, ["edges"])
    assert nothing.empty and list(nothing) == list(frame)


def test_a_distance_by_hand():
    """Nowhere at one position: sqrt 2. (3, 4) / 5 against (1, 0): sqrt(0.4^2 + 0.8^2) = sqrt 0.8. No scale is seen."""
    maps = torch.tensor([[[0.0, 2]], [[3, 4]], [[9, 0]]])
    taught = torch.tensor([[[5.0, 0]], [[7, 0]], [[1, 0]]])
    assert map_statistics.distance(maps, taught).tolist() == pytest.approx([2**0.5, 0.8**0.5, 0], abs=1e-6)


def test_every_student_is_held_against_the_teacher_at_every_level(images):
    near, far = {"low": PEAK.expand(60, 8, 8)}, {"low": (1 - PEAK / 7).expand(60, 8, 8)}
    networks = {"near": {"max-1": near}, "wrn": {"max-1": near}, "far": {"max-1": far}}
    values = map_statistics.tabulate(networks, images, ["distance"], "wrn").groupby("network")["value"].mean()
    assert values.to_dict() == pytest.approx({"near": 0, "wrn": 0, "far": 2**0.5}, abs=1e-6)
    assert map_statistics.tabulate(networks, images, ["distance"], "absent").empty
