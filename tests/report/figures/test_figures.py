"""What every figure is: sharp, stamped, small, and a sentence where there is nothing to draw."""

import io

import numpy as np
import pytest
import torch
from figure_inputs import (
    METHODS,
    NORMS,
    STAMP,
    by_length,
    by_loss,
    epochs,
    of_blocks,
    of_groups,
    of_pairs,
    students,
    table,
    texts,
)
from matplotlib.figure import Figure
from PIL import Image

from at_repro.report import figures
from at_repro.report.figures import notebook_output, theme


def panel(images) -> Figure:
    return figures.map_panel(images, {"low, AT": torch.rand(3, 8, 8)}, STAMP)


def overlay(images) -> Figure:
    columns = {"level 1": torch.rand(3, 8, 8), "Grad-CAM": torch.rand(3, 2, 2)}
    return figures.overlay_panel(images, columns, ["one", "two", "three"], STAMP)


def every_figure(images) -> dict[str, Figure]:
    return {
        "map_panel": panel(images),
        "overlay_panel": overlay(images),
        "transfer": figures.transfer(images, of_groups("teacher", "student", "AT"), STAMP),
        "mappings": figures.mappings(of_groups("teacher")["teacher"], STAMP),
        "pairing": figures.pairing(of_blocks(student=2, teacher=3), STAMP),
        "curves": figures.curves(epochs(*METHODS), STAMP),
        "gains": figures.gains(of_pairs(), STAMP),
        "error_panels": figures.error_panels(by_loss(), STAMP),
        "gradient_norms": figures.gradient_norms(by_loss(), NORMS, STAMP),
        "lengths": figures.lengths(by_length(*METHODS[:-1]), STAMP),
        "against_error": figures.against_error(students(), "distance", STAMP),
        "unavailable": theme.unavailable(STAMP),
    }


@pytest.mark.slow
def test_every_figure_is_sharp_stamped_and_small_and_has_no_ground_of_its_own(images, monkeypatch):
    """Notebooks and their outputs stay in the repository's history; a white ground is a bright slab on a dark page."""
    save, sizes = Figure.savefig, []

    def save_and_measure(figure, stream, **options):
        save(figure, stream, **options)
        sizes.append(stream.tell())

    monkeypatch.setattr(Figure, "savefig", save_and_measure)
    for name, figure in every_figure(images).items():
        assert isinstance(figure, Figure), name
        assert figure.dpi >= 150, f"{name} is blurred in print"
        assert STAMP in " ".join([figure.get_label(), *texts(figure)]), f"{name} does not say what it was made from"
        assert figure.get_figwidth() <= figures.WIDTH, f"{name} is wider than the page"
        content = notebook_output.encode(figure)
        picture = Image.open(io.BytesIO(content))
        assert picture.mode == "P" and len(content) < 0.6 * sizes[-1], name
        assert picture.convert("RGBA").getpixel((0, 0))[3] == 0, f"{name} covers the page"


@pytest.mark.parametrize(
    "empty",
    [
        lambda images: figures.map_panel(images, {}, STAMP),
        lambda images: figures.map_panel(None, {"low": torch.rand(3, 8, 8)}, STAMP),
        lambda images: figures.overlay_panel(images, {}, [], STAMP),
        lambda images: figures.overlay_panel(None, {"low": torch.rand(3, 8, 8)}, [], STAMP),
        lambda images: figures.transfer(images, of_groups("teacher", "student"), STAMP),
        lambda images: figures.transfer(None, of_groups("teacher", "student", "AT"), STAMP),
        lambda images: figures.mappings([], STAMP),
        lambda images: figures.pairing(of_blocks(teacher=3), STAMP),
        lambda images: figures.curves(epochs(), STAMP),
        lambda images: figures.gains(of_pairs(ours=np.nan), STAMP),
        lambda images: figures.error_panels({"none": by_loss()["forms"].loc[["paper form, beta 1"]]}, STAMP),
        lambda images: figures.gradient_norms(by_loss(), NORMS[["not normalised", "paper form, beta 1"]], STAMP),
        lambda images: figures.lengths(by_length(), STAMP),
        lambda images: figures.error_panels({"": table().iloc[:0]}, STAMP),
    ],
)
def test_nothing_to_draw_is_said(images, empty):
    """An empty frame of axes would look like a result."""
    figure = empty(images)
    assert texts(figure) == [f"Nothing to show: {STAMP}"]
    assert not figure.axes[0].axison
