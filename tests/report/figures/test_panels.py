"""Maps beside and over their images."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from figure_inputs import STAMP, texts
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from at_repro.report import figures
from at_repro.report.figures import theme


def cells(figure: Figure, columns: int) -> np.ndarray:
    """The axes of a panel, a row per image, without its colour bars."""
    grid = [axis for axis in figure.axes if axis.get_subplotspec() is not None]
    return np.array(grid).reshape(-1, columns)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("labels", [["low"], ["low, teacher", "low, AT", "top, teacher", "top, AT"]])
def test_a_panel_has_a_cell_for_every_image_and_every_map(images, count, labels):
    chosen = images.subset(count)
    figure = figures.map_panel(chosen, {label: torch.rand(count, 8, 8) for label in labels}, STAMP)
    grid = cells(figure, 1 + len(labels))
    assert len(grid) == count
    assert all(len(axis.images) == 1 for axis in grid.flat), "a cell without its picture"
    assert [axis.get_ylabel() for axis in grid[:, 0]] == [images.classes[label] for label in chosen.labels]
    assert [axis.get_title() for axis in grid[0]] == ["image", *(label.replace(", ", "\n") for label in labels)]


def test_a_panel_is_as_wide_as_its_columns_need(images):
    """On a phone a picture is as wide as the page: ten narrow columns could not be read there."""
    narrow, wide = (
        figures.map_panel(images, {f"map {i}": torch.rand(3, 8, 8) for i in range(count)}, STAMP) for count in (3, 12)
    )
    assert narrow.get_figwidth() < 0.6 * figures.WIDTH < wide.get_figwidth() <= figures.WIDTH
    narrow.draw_without_rendering()
    sides = [cells(narrow, 4)[1, place].get_window_extent() for place in (0, 1)]
    assert sides[0].x1 <= sides[1].x0, "cells lie over each other"


def test_maps_are_drawn_as_they_are(images):
    """Interpolated maps would show a precision that they do not have."""
    low, top = torch.rand(3, 16, 16), 100 * torch.rand(3, 4, 4)
    grid = cells(figures.map_panel(images, {"low": low, "top": top}, STAMP), 3)
    for row in range(3):
        picture = np.asarray(grid[row, 0].images[0].get_array())
        assert np.array_equal(picture, images.images[row].permute(1, 2, 0)), "another image, or other colours"
        for place, maps in ((1, low), (2, top)):
            (drawn,) = grid[row, place].images
            assert np.array_equal(drawn.get_array(), maps[row]), "not at its own resolution, or of another image"
            assert drawn.get_interpolation() == "nearest"
            assert drawn.get_clim() == (0, pytest.approx(maps[row].max().item())), "dark must mean no attention"
            assert drawn.cmap.name == theme.ATTENTION


def test_differences_have_colours_of_their_own_around_nothing(images):
    figure = figures.map_panel(
        images, {"map": torch.rand(3, 8, 8), "moved": torch.tensor([[-2.0, 1.0]]).expand(3, 1, 2)}, STAMP
    )
    (drawn,) = cells(figure, 3)[0, 2].images
    assert drawn.get_clim() == (-2.0, 2.0) and drawn.cmap.name == theme.DIFFERENCE
    assert {"less", "more", "no attention"} <= set(texts(figure))
    still = torch.tensor([[[-2.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]])
    (drawn,) = cells(figures.map_panel(images, {"moved": still}, STAMP), 2)[1, 1].images
    assert drawn.norm(0.0) == 0.5, "nothing moved: the middle of the colours"
    assert "less" not in texts(figures.map_panel(images, {"map": torch.rand(3, 8, 8)}, STAMP))


def test_a_map_without_any_attention_is_dark(images):
    figure = figures.map_panel(images, {"low": torch.zeros(3, 8, 8)}, STAMP)
    (drawn,) = cells(figure, 2)[0, 1].images
    figure.draw_without_rendering()
    assert drawn.get_clim()[0] == 0 and drawn.norm(0.0) == 0


def test_images_and_maps_may_have_other_shapes(images):
    """High images, flat maps: rows and columns are not exchanged."""
    flat = figures.map_panel(images, {"low": torch.rand(3, 4, 8)}, STAMP)
    assert cells(flat, 2)[0, 1].images[0].get_array().shape == (4, 8)


def test_overlays_lie_over_the_whole_photograph_at_their_own_resolution(images):
    maps = torch.rand(3, 8, 8)
    figure = figures.overlay_panel(images, {"level 1": maps, "Grad-CAM": maps[:, :2, :2]}, list("abc"), STAMP)
    photograph, low, coarse = figure.axes[3:6]  # of the second row
    assert photograph.get_title(loc="left") == "b"
    assert np.array_equal(photograph.images[0].get_array(), images.images[1].permute(1, 2, 0).numpy())
    for axis, shown in ((low, maps[1]), (coarse, maps[1, :2, :2])):
        grey, over = axis.images
        assert list(grey.get_extent()) == list(over.get_extent()) == [0, 32, 32, 0], "they do not cover each other"
        assert np.array_equal(over.get_array(), shown.numpy()), "the map was resampled"
        assert over.get_interpolation() == "nearest" and over.cmap.name == theme.ATTENTION
        assert over.get_clim() == (0, pytest.approx(shown.max().item())), "scaled to its own maximum"
    assert {"image", "level 1", "Grad-CAM", "no attention", "the most of this map"} <= set(texts(figure))
    (solids,) = [mesh for axis in figure.axes for mesh in axis.collections if isinstance(mesh, QuadMesh)]
    assert solids.get_alpha() == over.get_alpha() < 1, "no colour of the bar is one of the maps"


def test_a_name_with_dollar_signs_is_no_formula(images):
    name = "from $5_to $10_"
    named = replace(images, classes=(name, *images.classes[1:]), labels=images.labels * 0)
    for figure in (
        figures.overlay_panel(images, {"top": torch.rand(3, 8, 8)}, [name] * 3, STAMP),
        figures.map_panel(named, {"top": torch.rand(3, 8, 8)}, STAMP),
    ):
        figure.savefig(io.BytesIO())
        shown = [axis.get_title(loc="left") for axis in figure.axes] + [axis.get_ylabel() for axis in figure.axes]
        assert shown.count(name) == 3
