"""Numbers stand at their values."""

import math

import numpy as np
import pandas as pd
import pytest
from figure_inputs import METHODS, NORMS, STAMP, by_loss, epochs, named_colours, of_pairs, students, table, texts
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from at_repro.report import figures
from at_repro.report.figures import theme


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


def test_curves_of_different_lengths():
    """The teacher is trained for longer."""
    both = epochs("student", "teacher")
    figure = figures.curves(both[(both["column"] == "teacher") | (both["epoch"] < 3)], STAMP)
    assert [line.get_xdata().tolist() for line in figure.axes[0].lines[::2]] == [[1, 2], [1, 2, 3]]


def test_what_diverged_early_is_not_in_the_last_phase():
    """Its errors of the first phase would stretch the panel in which methods are told apart."""
    both = epochs("student", "AT")
    figure = figures.curves(both[(both["column"] == "student") | (both["epoch"] == 1)], STAMP)
    assert [line.get_xdata().tolist() for line in figure.axes[1].lines if len(line.get_xdata())] == [[2, 3]]
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["AT", "student"]


def test_a_line_without_a_last_value_keeps_its_name():
    """Of the longest training the plain student is not run, and so there is no gain."""
    rows = pd.DataFrame({"epochs": [10, 20] * 2, "method": ["AT"] * 2 + ["KD"] * 2, "test_error": 9.0})
    figure = figures.lengths(rows.assign(difference=[-5.0, math.nan, -4.0, -1.0]), STAMP)
    named = {text.get_text(): text.get_position()[1] for text in figure.axes[1].texts}
    assert set(named) == {"AT", "KD"} and all(map(math.isfinite, named.values()))


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


def test_distances_stand_beside_the_errors_of_their_students():
    figure = figures.against_error(students(), "distance", STAMP)
    (axis,) = figure.axes
    (dots,) = axis.collections
    assert axis.get_title() == "top" and dots.get_offsets().tolist() == [[0.3, 10], [0.2, 9], [0.25, 9.5]]
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
    frame = pd.DataFrame(rows, ["WRN-16-1", "NIN-WIDE", "WRN-40-2", "NIN-THIN"], ["method", "test_error", "top"])
    figure = figures.against_error(frame, "share", " ".join([STAMP] * 9))
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = [Text.get_window_extent(text) for text in axis.texts]  # without what joins it to the dot
        assert len(boxes) == 4
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:place])
            dots = axis.transData.transform(axis.collections[0].get_offsets())
            assert not any(box.contains(*dot) for dot in dots)


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
