import numpy as np

from abaw_ray.report.charts import HEIGHT, WIDTH, Series, line_chart


def chart(x, y, **given):
    return line_chart("title", [Series(name="a", x=np.array(x, float), y=np.array(y, float))], x_label="x", y_label="y", **given)


def test_points_lie_inside_the_frame_and_rise_with_their_values():
    layout = chart([0, 1, 2, 5], [0.1, 0.2, 0.4, 0.3])
    left, top, right, bottom = layout.box
    assert all(left <= x <= right and top <= y <= bottom for x, y, *_ in layout.markers)
    heights = [y for _, y, *_ in layout.markers]
    assert heights[0] > heights[1] > heights[3] > heights[2], "larger values are higher in the image, at smaller y"
    assert all(0 <= x <= WIDTH for x, _ in layout.x_ticks) and all(0 <= y <= HEIGHT for y, _ in layout.y_ticks)


def test_a_point_that_is_not_finite_breaks_the_curve():
    layout = chart([1, 2, 3, 4], [0.1, np.nan, 0.3, 0.4])
    ((_, path),) = layout.paths
    assert path.count("M") == 2 and path.count("L") == 1
    assert len(layout.markers) == 3


def test_nothing_finite_gives_no_chart_and_a_single_point_gives_one():
    assert chart([1, 2], [np.nan, np.nan]) is None
    assert chart([], []) is None
    assert len(chart([1], [0.5]).markers) == 1


def test_ticks_are_at_their_labelled_values():
    layout = chart([0, 10], [0, 1])
    left, _, right, _ = layout.box
    for x, text in layout.x_ticks:
        assert abs(x - (left + float(text) / 10 * (right - left))) < 0.1
    assert {text for _, text in layout.y_ticks} >= {"0", "1"}


def test_an_axis_of_integers_has_integer_ticks():
    assert all(float(text).is_integer() for _, text in chart([1, 2, 3], [3, 2, 1], integer_x=True).x_ticks)


def test_a_vertical_line_outside_the_curve_widens_the_axis():
    layout = chart([0, 1], [0, 1], vertical_line=(2.0, "selected"))
    assert layout.vertical_line == (layout.box[2], "selected")


def test_curves_that_their_style_tells_apart_have_a_legend_and_others_have_none():
    x = np.arange(3.0)
    several = [Series(name=name, x=x, y=x, style=style) for name, style in (("a", "main"), ("b", "second"), ("mean", "quiet"))]
    layout = line_chart("title", several, x_label="x", y_label="y")
    assert layout.legend == [("main", "a"), ("second", "b")]
    assert {style for *_, style in layout.markers} == {"main", "second", "quiet"}
    assert chart([1, 2], [1, 2]).legend == []


def test_a_logarithmic_axis_has_equal_steps_for_equal_ratios():
    layout = chart([0.5, 1, 2, 4], [0.1, 0.2, 0.3, 0.4], log_x=True)
    steps = np.diff([x for x, *_ in layout.markers])
    assert np.ptp(steps) < 0.2 and [text for _, text in layout.x_ticks] == ["0.5", "1", "2"]
