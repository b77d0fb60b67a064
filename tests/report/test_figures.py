"""Figures hold what they promise; the pixels are the reader's."""

import base64
import io
import json
import math
import re
import warnings
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from at_repro import data, experiments
from at_repro.report import figures
from at_repro.report.figures import notebook_output, theme

STAMP = "preset smoke, seed 0, CPU"
METHODS = ["student", "AT", "KD", "AT+KD", "teacher"]


@pytest.fixture(autouse=True)
def headless(monkeypatch):
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that does not fit, values that are dropped
        warnings.simplefilter("ignore", ResourceWarning)  # of tests before, when their garbage is collected
        yield
    plt.close("all")
    matplotlib.use(before)


@pytest.fixture
def images():
    return data.load("shapes", "test", subset=3)


def table(**changes) -> pd.DataFrame:
    """As from `error_tables.by_method`."""
    columns = {
        "ours": [9.0, 8.5, 8.25, 8.0, 6.5],
        "low": [8.5, 8.0, 7.75, 7.5, 6.0],
        "high": [9.5, 9.25, 9.0, 8.75, 7.0],
        "paper": [8.77, 7.93, 7.41, 7.51, 6.31],
    }
    return pd.DataFrame(columns | changes, index=pd.Index(METHODS, name="method"))


def epochs(*methods: str) -> pd.DataFrame:
    """As from `Study.curves`: three seeds, whose mean is not their median."""
    rows = [
        (
            method,
            seed,
            epoch,
            0.1 if epoch < 2 else 0.02,
            50 + extra - 10 * epoch + place,
            60 + extra - 10 * epoch + place,
        )
        for place, method in enumerate(methods)
        for seed, extra in ((0, 0.0), (1, 1.0), (2, 8.0))
        for epoch in (1, 2, 3)
    ]
    return pd.DataFrame(rows, columns=["column", "seed", "epoch", "learning_rate", "test_error", "train_error"])


def of_groups(*names: str) -> dict[str, list[torch.Tensor]]:
    """As from `network_maps.groups`."""
    return {name: [torch.randn(1, 2 * side, side, side) for side in (8, 4, 2)] for name in names}


def of_blocks(**counts: int) -> dict[str, list[list[torch.Tensor]]]:
    """As from `network_maps.of_blocks`: so many blocks in each of three groups."""
    return {name: [[torch.rand(1, side, side) for _ in range(n)] for side in (8, 4, 2)] for name, n in counts.items()}


def panel(images) -> Figure:
    return figures.map_panel(images, {"low, AT": torch.rand(3, 8, 8)}, STAMP)


def overlay(images) -> Figure:
    columns = {"level 1": torch.rand(3, 8, 8), "Grad-CAM": torch.rand(3, 2, 2)}
    return figures.overlay_panel(images, columns, ["one", "two", "three"], STAMP)


def students() -> pd.DataFrame:
    rows = [("student", 10.0, 0.4, 0.3, 0.3), ("AT", 9.0, 0.1, 0.1, 0.2), ("group 1", 9.5, 0.2, 0.3, 0.25)]
    return pd.DataFrame(rows, [1, 2, 3], columns=["method", "test_error", "low", "middle", "top"])


def of_pairs(**changes) -> pd.DataFrame:
    """As from `error_tables.gains`: the second pair is not run."""
    columns = {
        "pair": ["a", "a", "b"],
        "method": ["AT", "KD", "AT"],
        "ours": [-1.0, 0.5, np.nan],
        "paper": [-0.8, -1.3, -0.5],
    }
    return pd.DataFrame(columns | changes)


def by_length(*methods: str) -> pd.DataFrame:
    """As from `training_lengths.last_errors`."""
    rows = [(method, length, 20.0 + place, float(place)) for place, method in enumerate(methods) for length in (10, 40)]
    return pd.DataFrame(rows, columns=["method", "epochs", "test_error", "difference"])


def by_loss() -> dict[str, pd.DataFrame]:
    """As from `error_tables.by_method`: one method diverged, one is not run, and one run stands in both tables."""
    columns = ["ours", "low", "high", "paper", "diverged", "run_id"]
    functions = {
        "student": (10.5, 10.0, 11.0, 8.77, 0, "plain"),
        "sum-1": (10.0, 9.6, 10.4, 7.99, 0, "at-1"),
        "sum-2": (9.0, 8.6, 9.4, 7.93, 0, "at-2"),
        "not normalised": (np.nan, np.nan, np.nan, np.nan, 1, "at-none"),
    }
    forms = {
        "student": (10.5, 10.0, 11.0, np.nan, 0, "plain"),
        "code form, beta 100": (9.5, 9.1, 9.9, np.nan, 0, "at-100"),
        "code form, beta 1000": (9.0, 8.6, 9.4, np.nan, 0, "at-2"),
        "paper form, beta 1": (np.nan, np.nan, np.nan, np.nan, 0, "not run"),
    }
    named = {"functions": functions, "forms": forms}
    return {title: pd.DataFrame.from_dict(rows, orient="index", columns=columns) for title, rows in named.items()}


NORMS = pd.Series({"sum-1": 4.0, "sum-2": 13.1, "not normalised": 1.4e8, "code form, beta 100": 1.3,
                   "code form, beta 1000": 13.0, "paper form, beta 1": 0.5})  # fmt: skip


def every_figure(images) -> dict[str, Figure]:
    return {
        "map_panel": panel(images),
        "overlay_panel": overlay(images),
        "transfer": figures.transfer(images, of_groups("teacher", "student", "AT"), STAMP),
        "mappings": figures.mappings(of_groups("teacher")["teacher"], ["sum-2", "max-1"], STAMP),
        "pairing": figures.pairing(of_blocks(student=2, teacher=3), STAMP),
        "curves": figures.curves(epochs(*METHODS), STAMP),
        "gains": figures.gains(of_pairs(), STAMP),
        "error_panels": figures.error_panels(by_loss(), STAMP),
        "gradient_norms": figures.gradient_norms(by_loss(), NORMS, STAMP),
        "lengths": figures.lengths(by_length(*METHODS[:-1]), STAMP),
        "against_error": figures.against_error(students(), "distance", STAMP),
        "unavailable": theme.unavailable(STAMP),
    }


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def named_colours(figure: Figure) -> dict[str, tuple]:
    """Of curves, whose names stand at the ends of their lines, which join them."""
    return {text.get_text(): to_rgba(text.arrow_patch.get_edgecolor()) for text in figure.axes[1].texts}


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


def test_a_notebook_shows_figures_as_they_are_encoded(monkeypatch):
    from IPython.core.formatters import DisplayFormatter

    formatter = DisplayFormatter()
    with monkeypatch.context() as patched:
        patched.setattr("IPython.core.getipython.get_ipython", lambda: SimpleNamespace(display_formatter=formatter))
        notebook_output.use_in_notebook()
    shown, metadata = formatter.format(figure := figures.error_panels({"": table()}, STAMP))
    assert set(shown) == {"image/png", "text/plain"} and metadata["stamp"] == STAMP
    assert base64.b64decode(shown["image/png"]) == notebook_output.encode(figure)


@pytest.mark.parametrize(
    "empty",
    [
        lambda images: figures.map_panel(images, {}, STAMP),
        lambda images: figures.map_panel(None, {"low": torch.rand(3, 8, 8)}, STAMP),
        lambda images: figures.overlay_panel(images, {}, [], STAMP),
        lambda images: figures.overlay_panel(None, {"low": torch.rand(3, 8, 8)}, [], STAMP),
        lambda images: figures.transfer(images, of_groups("teacher", "student"), STAMP),
        lambda images: figures.transfer(None, of_groups("teacher", "student", "AT"), STAMP),
        lambda images: figures.mappings([], ["sum-2"], STAMP),
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


def test_errors_of_both_stand_at_their_values():
    shown = table()
    (axis,) = figures.error_panels({"": shown}, STAMP).axes
    lines, ours, paper = axis.collections[-3:]
    assert np.array_equal(ours.get_offsets(), np.column_stack([shown["ours"], range(5)]))
    assert np.array_equal(paper.get_offsets(), np.column_stack([shown["paper"], range(5)]))
    intervals = [segment[:, 0].tolist() for segment in lines.get_segments()]
    assert intervals == shown[["low", "high"]].to_numpy().tolist()
    assert [label.get_text() for label in axis.get_yticklabels()] == METHODS
    assert axis.get_ylim()[0] > axis.get_ylim()[1], "the table is read from top to bottom"
    assert "%" in axis.get_xlabel()
    colours = [to_rgba(theme.COLOURS[method]) for method in METHODS]
    assert ours.get_facecolors().tolist() == [list(colour) for colour in colours]
    assert paper.get_edgecolors().tolist() == [list(colour) for colour in colours], "whose number is it?"
    assert len(paper.get_facecolors()) == 0, "the paper's marks are open"


def test_gains_of_both_stand_at_their_values():
    figure = figures.gains(of_pairs(), STAMP)
    (axis,) = figure.axes
    places = axis.collections[0].get_offsets().tolist()
    assert places == [[-0.8, -1.0], [-1.3, 0.5]], "the paper's across, ours up; what is not run is left out"
    diagonal = axis.lines[0]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())


def test_every_table_has_its_panel_and_what_has_no_error_its_reason():
    figure = figures.error_panels(by_loss(), STAMP)
    functions, forms = figure.axes
    assert [axis.get_title("left") for axis in figure.axes] == ["functions", "forms"]
    labels = [label.get_text() for label in forms.get_yticklabels()]
    assert labels == ["student", "code form,\nbeta 100", "code form,\nbeta 1000", "paper form,\nbeta 1"]
    for axis, reason, row in ((functions, "diverged", 3), (forms, "not run", 3)):
        (shown,) = [text for text in axis.texts if text.get_text()]
        assert (shown.get_text(), shown.xy[1]) == (reason, row)
        assert list(axis.lines[0].get_xdata()) == [10.5, 10.5], "the plain student of that table"
    dots = [marks.get_offsets()[:, 0].tolist() for marks in functions.collections[-2:]]
    assert [dots[0][:3], dots[1][:3]] == [[10.5, 10.0, 9.0], [8.77, 7.99, 7.93]], "ours, and the paper's"


def test_panels_with_one_axis_repeat_nothing():
    functions, forms = figures.error_panels(by_loss(), STAMP, sharex=True).axes
    labels = [label.get_text() for label in forms.get_yticklabels()]
    assert labels == ["code form,\nbeta 100", "code form,\nbeta 1000", "paper form,\nbeta 1"]
    assert list(forms.lines[0].get_xdata()) == [10.5, 10.5], "the plain student is a line all the same"
    assert functions.get_xlim() == forms.get_xlim()


def test_errors_stand_at_their_gradient_norms_and_what_diverged_is_named():
    figure = figures.gradient_norms(by_loss(), NORMS, STAMP)
    (axis,) = figure.axes
    dots = axis.collections[-1].get_offsets().tolist()
    assert dots == [[1.3, 9.5], [4.0, 10.0], [13.0, 9.0]], "a run that has two names once"
    assert list(axis.lines[0].get_ydata()) == [10.5, 10.5]
    assert [[1.3, 9.5], [13.0, 9.0]] in [line.get_xydata().tolist() for line in axis.lines], "of one form, by beta"
    assert {"sum-1", "code form, beta 1000", "diverged:\nnot normalised, at 1.4e+08"} <= set(texts(figure))
    assert axis.get_xlim()[1] < 100, "what diverged is beyond the axis, or all others would stand in one line"


def test_labels_keep_their_distance_and_their_order():
    """Three labels around 1.05 move as little as they can, and the one far above stays."""
    assert theme.apart([3.0, 1.0, 1.05, 1.1], 0.5) == pytest.approx([3.0, 0.55, 1.05, 1.55])


def test_lines_are_named_beside_their_axes():
    """A label over a line, another label or the frame could not be read."""
    figure = figures.curves(epochs(*METHODS), STAMP)
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = [Text.get_window_extent(text) for text in axis.texts]  # without what joins it to the line
        assert [text.get_text() for text in axis.texts] == METHODS, "dashed lines have the colour of a full one"
        assert all(box.x0 > axis.bbox.x1 for box in boxes)
        assert not any(box.overlaps(other) for place, box in enumerate(boxes) for other in boxes[:place])


def test_errors_without_numbers_of_the_paper_do_not_mention_them():
    (names,) = figures.error_panels({"": table(paper=np.nan)}, STAMP).legends
    assert [text.get_text() for text in names.get_texts()] == ["ours, with its interval", "plain student"]


def test_curves_have_a_line_per_method_and_metric_at_the_medians():
    figure = figures.curves(epochs("student", "AT"), STAMP)
    whole, end = figure.axes
    drawn = [
        (to_rgba(line.get_color()), line.get_linestyle(), line.get_xdata().tolist(), line.get_ydata().tolist())
        for axis in (whole, end)
        for line in axis.lines
    ]
    student, at = to_rgba(theme.COLOURS["student"]), to_rgba(theme.COLOURS["AT"])
    # Of the seeds with 0, 1 and 8 more, the one with 1 more is the median.
    assert drawn == [
        (student, "-", [1, 2, 3], [41, 31, 21]),
        (student, "--", [1, 2, 3], [51, 41, 31]),
        (at, "-", [1, 2, 3], [42, 32, 22]),
        (at, "--", [1, 2, 3], [52, 42, 32]),
        (student, "-", [2, 3], [31, 21]),
        (at, "-", [2, 3], [32, 22]),
    ]
    assert named_colours(figure) == {"student": student, "AT": at}
    assert whole.get_ylim()[0] == 0 and "%" in whole.get_ylabel()


def test_a_band_behind_a_curve_goes_from_the_lowest_to_the_highest_seed():
    figure = figures.curves(epochs("student"), STAMP)
    for axis, first in zip(figure.axes, (1, 2), strict=True):
        (band,) = axis.collections
        corners = {(x, y) for x, y in band.get_paths()[0].vertices.tolist()}
        assert corners == {(epoch, 50 - 10 * epoch + extra) for epoch in range(first, 4) for extra in (0, 8)}
    bands = [band for panel in figures.Touchable(figure).panels for band in panel["bands"]]
    assert [band["label"] for band in bands] == ["student"] * 2, "it is switched together with its line"
    assert {*zip(bands[1]["x"], bands[1]["y"], strict=True)} == corners
    alone = epochs("student").query("seed == 0")
    assert not any(axis.collections for axis in figures.curves(alone, STAMP).axes), "one seed has no band"


def test_curves_are_handed_on_as_they_are_drawn():
    """A script draws them again, from nothing but this."""
    shown = figures.Touchable(figures.curves(epochs("student", "AT"), STAMP))
    whole, end = shown.panels
    assert [line["label"] for line in whole["lines"]] == ["student", "student", "AT", "AT"]
    assert [line["dashed"] for line in whole["lines"]] == [False, True, False, True]
    assert whole["lines"][0]["x"] == [1, 2, 3] and whole["lines"][0]["y"] == [41, 31, 21]
    assert len(end["lines"]) == 2 and whole["x"]["label"] == "epoch" and not whole["x"]["logarithmic"]
    assert all(low <= tick <= high for axis in (whole["x"], whole["y"]) for low, high in [axis["limits"]]
               for tick in axis["ticks"])  # fmt: skip


def test_a_value_that_is_missing_stops_no_script():
    """JSON has no NaN: a browser would draw none of the page's curves."""
    missing = epochs("student", "AT")
    missing.loc[missing.index[0], "test_error"] = math.nan
    html = figures.Touchable(figures.curves(missing.query("seed == 0"), STAMP))._repr_html_()
    (panels,) = re.findall(r'data-panels="(.*?)"', html)
    lines = json.loads(unescape(panels), parse_constant=pytest.fail)[0]["lines"]
    assert [len(line["x"]) for line in lines if not line["dashed"]] == [2, 3]


def test_nothing_to_touch_where_nothing_is_drawn():
    assert figures.Touchable(figures.curves(epochs(), STAMP)).panels == []


def test_curves_of_different_lengths():
    """The teacher is trained for longer."""
    both = epochs("student", "teacher")
    figure = figures.curves(both[(both["column"] == "teacher") | (both["epoch"] < 3)], STAMP)
    assert [line.get_xdata().tolist() for line in figure.axes[0].lines[::2]] == [[1, 2], [1, 2, 3]]


def test_gains_have_a_logarithmic_axis_where_they_can():
    """All of them above zero, and not alike; of plain students alone there is none, and no line to name."""
    rows = pd.DataFrame({"epochs": [10, 20], "test_error": 9.0, "method": "AT"})
    for differences, scale in (([-5.0, -1.0], "log"), ([-5.0, 0.5], "linear"), ([-2.0, -2.0], "linear")):
        assert figures.lengths(rows.assign(difference=differences), STAMP).axes[1].get_yscale() == scale
    assert not figures.lengths(rows.assign(method="student", difference=0.0), STAMP).axes[1].lines


def test_short_curves_beside_a_long_one_are_in_the_frame():
    """What is above it are the first epochs of each."""
    curves = epochs("student", "teacher").assign(train_error=5.0)
    short = curves["column"] == "student"
    curves["epoch"] = curves["epoch"].where(short, 40 * curves["epoch"])
    curves["test_error"] = curves["test_error"].where(~short, 80.0)
    assert figures.curves(curves, STAMP).axes[0].get_ylim()[1] > 80


def test_a_variant_has_the_colour_of_its_method_and_what_is_no_method_has_none():
    names = ["AT, beta 327", "sum-2", "teacher of AT", "student", "min-l2", "sum-1, beta 3250"]
    wanted = [theme.COLOURS["AT"]] * 2 + [theme.COLOURS["teacher"], theme.COLOURS["student"]] + [theme.INK] * 2
    assert [theme.colour_of(name) for name in names] == wanted


def test_a_method_has_the_same_colour_everywhere():
    """Whatever else is shown, and in whatever order."""
    for methods in (METHODS, METHODS[::-1], ["KD", "AT"]):
        wanted = {method: to_rgba(theme.COLOURS[method]) for method in methods}
        assert named_colours(figures.curves(epochs(*methods), STAMP)) == wanted
        ours = figures.error_panels({"": table().loc[methods]}, STAMP).axes[0].collections[-2]
        assert [tuple(colour) for colour in ours.get_facecolors()] == list(wanted.values())


def test_methods_without_a_colour_of_their_own_get_different_ones():
    """Such as a user's own columns; more of them than the palette has are still drawn."""
    names = ["student", "group 1", "AT", "group 2"]
    colours = named_colours(figures.curves(epochs(*names), STAMP))
    assert len(set(colours.values())) == 4
    assert colours["student"] == to_rgba(theme.COLOURS["student"])
    assert len(figures.curves(epochs(*[f"group {index}" for index in range(9)]), STAMP).axes[0].lines) == 18


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


def test_distances_stand_beside_the_errors_of_their_students():
    figure = figures.against_error(students(), "distance", STAMP)
    assert [axis.get_title() for axis in figure.axes] == ["low", "middle", "top"]
    for axis, distances in zip(figure.axes, ([0.4, 0.1, 0.2], [0.3, 0.1, 0.3], [0.3, 0.2, 0.25]), strict=True):
        (dots,) = axis.collections
        assert dots.get_offsets().tolist() == [[d, e] for d, e in zip(distances, (10, 9, 9.5), strict=True)]
        assert tuple(dots.get_facecolors()[1]) == to_rgba(theme.COLOURS["AT"])
    assert {"1", "2", "3"} <= set(texts(figure)), "nobody knows which student a dot is"
    assert dots.get_facecolors()[2][3] == 0, "no method of Table 1: hollow"
    assert "distance" in texts(figure)
    networks = students().drop(columns="method").set_axis(["WRN-16-1", "NIN-THIN", "WRN-40-2"])
    networks.loc["NIN-THIN", "top"] = np.nan
    shown = texts(figures.against_error(networks, "share", STAMP))
    assert "WRN-16-1" in shown and "NIN-THIN" not in shown, "what was not measured has no place"
    assert texts(figures.against_error(students()[:0], "distance", STAMP)) == [f"Nothing to show: {STAMP}"]


@pytest.mark.parametrize("apart", [0.0, 0.01, 0.2])
def test_names_of_dots_cover_neither_each_other_nor_another_dot(apart):
    """Networks that are nearly alike, with a legend and a stamp of several lines, which take room from the plots."""
    rows = [("AT", 9.0, 0.2), ("KD", 9.0 + apart, 0.2 + apart / 9), ("", 9.0 - apart, 0.21), ("", 12.0, 0.5)]
    frame = pd.DataFrame(rows, ["WRN-16-1", "NIN-WIDE", "WRN-40-2", "NIN-THIN"], ["method", "test_error", "low"])
    figure = figures.against_error(frame.assign(top=frame["low"]), "share", " ".join([STAMP] * 9))
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = [Text.get_window_extent(text) for text in axis.texts]  # without what joins it to the dot
        assert len(boxes) == 4
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:place])
            dots = axis.transData.transform(axis.collections[0].get_offsets())
            assert not any(box.contains(*dot) for dot in dots)


def test_no_line_strikes_the_name_of_a_dot():
    """Seven dots in a crowd on a line that passes each of them."""
    across = pd.Series([1, 1, 1.1, 1.2, 1.2, 1.3, 3], [f"method {letter}" for letter in "abcdefg"])
    figure, axis = theme.canvas(STAMP, 4)
    (line,) = axis.plot(across, across)
    axis.margins(0.3)
    theme.name_dots(figure, axis, across, across)
    figure.draw_without_rendering()
    path = line.get_transform().transform_path(line.get_path())
    boxes = [Text.get_window_extent(text) for text in axis.texts]
    assert len(boxes) == 7 and not any(path.intersects_bbox(box) for box in boxes)
    assert not any(grid.get_visible() for grid in (*axis.get_xgridlines(), *axis.get_ygridlines()))


@pytest.mark.parametrize("name", list(experiments.EXPERIMENTS))
def test_what_is_no_method_never_has_the_colour_of_one(name):
    """Twelve at once in Table 2; and a colour that is AT's on one page is not another column's on the next."""
    (columns,) = experiments.get(name).runs("paper", [0])
    colours = theme.colours_of(columns)
    for column, colour in colours.items():
        assert (colour in theme.COLOURS.values()) == (column in theme.COLOURS | theme.ALIASES), column
    if name != "training-length":  # its columns are methods at several lengths; figures draw the methods
        assert len(set(colours.values())) == len(colours)


def test_at_has_its_colour_under_every_name():
    for name, column in (("mapping-functions", "sum-2"), ("one-or-three", "all groups")):
        (columns,) = experiments.get(name).runs("reduced")
        assert columns[column] == experiments.get("wrn-16-2-to-16-1").runs("reduced")[0]["AT"]
        assert theme.colours_of([column])[column] == theme.COLOURS["AT"]


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(picture.get_array()) for picture in figure.axes[0].images]


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


def test_transfer_shows_maps_their_differences_and_their_distances(images):
    """(3, 4) has the map (9, 16), and (4, 3) has (16, 9): divided by sqrt 337, 7 / sqrt 337 apart at either place."""
    one, other = torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([[[[4.0, 3.0]]]])
    figure = figures.transfer(images, {"teacher": [one], "student": [other], "AT": [one]}, STAMP)
    image, taught, own, difference = pictures(figure)
    assert np.array_equal(image, images.images[0].permute(1, 2, 0))
    assert taught.tolist() == [[9, 16]] and own.tolist() == [[16, 9]]
    assert difference.tolist() == [pytest.approx([7 / 337**0.5] * 2)]
    assert "0.54 → 0.00" in texts(figure)
    large = one.repeat_interleave(2, 2).repeat_interleave(2, 3)
    of_two_sizes = figures.transfer(images, {"teacher": [large], "student": [other], "AT": [one]}, STAMP)
    assert pictures(of_two_sizes)[-1].tolist() == [pytest.approx([7 / 337**0.5] * 2)], "as the loss compares them"


def test_mappings_show_the_strongest_channel_in_front_and_a_map_per_function():
    activations = torch.tensor([[[[1.0, 0.0]], [[-2.0, 3.0]]]])
    figure = figures.mappings([activations], ["sum-1", "sum-2", "max-1"], STAMP)
    shown = [picture.tolist() for picture in pictures(figure)]
    assert shown == [[[1, 0]], [[2, 3]], [[3, 3]], [[5, 9]], [[2, 3]]], "behind, in front, and the three maps"
    assert "2 channels" in texts(figure)


def test_pairing_compares_the_ends_of_groups():
    """The student's second block and the teacher's third: nothing in common, a distance of sqrt 2."""
    left, right = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    figure = figures.pairing({"student": [[right, left]], "teacher": [[left, left, right]]}, STAMP)
    assert len(pictures(figure)) == 5
    assert {"student, 2 blocks", "teacher, 3 blocks", "group 1: distance 1.41"} <= set(texts(figure))


def test_of_a_benchmark_whose_case_failed_the_other_panel_is_drawn():
    """`at-repro bench` leaves such a case out and keeps the rest."""
    rows = [("cohort", f"step with {count} AT students", 10.0 * count, "ms") for count in (1, 2)]
    rows += [("against the plain loop", f"a from b, AT: {loop}", 100.0, "images/s") for loop in ("plain loop", "ours")]
    results = pd.DataFrame(rows, columns=["case", "measured", "value", "unit"])
    speed, growth = figures.cost(results[:2], STAMP).axes
    assert growth.lines[0].get_xydata().tolist() == [[1, 10], [2, 20]] and not growth.texts
    assert not speed.patches and speed.texts[0].get_text() == "not measured"
    speed, growth = figures.cost(results[2:], STAMP).axes
    assert speed.patches and not speed.texts and growth.texts[0].get_text() == "not measured"
