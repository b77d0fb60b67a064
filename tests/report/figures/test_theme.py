"""Colours and names that mean the same in every figure."""

import pandas as pd
import pytest
from figure_inputs import METHODS, STAMP, epochs, named_colours, table
from matplotlib.colors import to_rgba
from matplotlib.path import Path
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from at_repro import experiments
from at_repro.report import figures
from at_repro.report.figures import theme


def test_labels_keep_their_distance_and_their_order():
    """Three labels around 1.05 move as little as they can, and the one far above stays."""
    assert theme.apart([3.0, 1.0, 1.05, 1.1], 0.5) == pytest.approx([3.0, 0.55, 1.05, 1.55])


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


def test_numbers_of_dots_in_a_crowd_stand_apart_and_are_joined_past_other_dots():
    """Side by side 2 and 5 read as 25; a line through another dot reads as that dot's."""
    across = pd.Series([0.173, 0.173, 0.178, 0.179, 0.185, 0.188, 0.189, 0.194, 0.194, 0.201, 0.207], range(2, 13))
    up = pd.Series([9.43, 9.26, 9.39, 9.69, 9.22, 9.71, 9.47, 9.15, 9.83, 10.07, 9.93], across.index)
    figure, axis = theme.canvas(STAMP, 3.6, width=theme.NARROW)
    axis.scatter(across, up)
    axis.set(xlim=(0.15, 0.45), ylim=(8.8, 13.5))
    theme.name_dots(figure, axis, across, up)
    figure.draw_without_rendering()
    labels = [text for text in axis.texts if isinstance(text, Annotation)]
    boxes = [Text.get_window_extent(label) for label in labels]
    digit = boxes[0].width
    for index, box in enumerate(boxes):
        assert not box.padded(digit / 3, 0).count_overlaps(boxes[:index]), labels[index].get_text()
    joined = [label for label in labels if label.arrow_patch]
    assert joined, "a crowd in which every label stands beside its dot proves nothing"
    dots = axis.transData.transform(pd.concat([across, up], axis=1))
    for label in joined:
        own = axis.transData.transform(label.xy)
        joint = Path([own, label.get_window_extent().get_points().mean(axis=0)])
        passed = [dot for dot in dots if tuple(dot) != tuple(own) and joint.intersects_bbox(Bbox([dot - 3, dot + 3]))]
        assert not passed, label.get_text()


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
