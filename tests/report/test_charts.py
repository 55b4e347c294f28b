import numpy as np

from abaw_ray.report.charts import HEIGHT, WIDTH, Line, line_chart


def chart(x, y, **given):
    return line_chart("title", [Line(name="a", x=np.array(x, float), y=np.array(y, float))], x_label="x", y_label="y", **given)


def test_points_lie_inside_the_frame_and_rise_with_their_values():
    drawn = chart([0, 1, 2, 5], [0.1, 0.2, 0.4, 0.3])
    left, top, right, bottom = drawn.box
    assert all(left <= x <= right and top <= y <= bottom for x, y, _ in drawn.dots)
    heights = [y for _, y, _ in drawn.dots]
    assert heights[0] > heights[1] > heights[3] > heights[2], "larger values stand higher, so at smaller y"
    assert all(0 <= x <= WIDTH for x, _ in drawn.x_ticks) and all(0 <= y <= HEIGHT for y, _ in drawn.y_ticks)


def test_a_point_that_is_not_finite_breaks_the_curve():
    drawn = chart([1, 2, 3, 4], [0.1, np.nan, 0.3, 0.4])
    ((_, path),) = drawn.paths
    assert path.count("M") == 2 and path.count("L") == 1
    assert len(drawn.dots) == 3


def test_nothing_finite_gives_no_chart_and_a_single_point_gives_one():
    assert chart([1, 2], [np.nan, np.nan]) is None
    assert chart([], []) is None
    assert len(chart([1], [0.5]).dots) == 1


def test_ticks_stand_where_their_text_says():
    drawn = chart([0, 10], [0, 1])
    left, _, right, _ = drawn.box
    for x, text in drawn.x_ticks:
        assert abs(x - (left + float(text) / 10 * (right - left))) < 0.1
    assert {text for _, text in drawn.y_ticks} >= {"0", "1"}


def test_epochs_have_whole_ticks():
    assert all(float(text).is_integer() for _, text in chart([1, 2, 3], [3, 2, 1], whole_x=True).x_ticks)


def test_a_mark_outside_the_curve_widens_the_axis():
    drawn = chart([0, 1], [0, 1], mark=(2.0, "chosen"))
    assert drawn.mark == (drawn.box[2], "chosen")
