"""The axis of differences has 0 in the middle and room for every value."""

import pytest

from abaw_ray.report.difference_axis import difference_axis


@pytest.mark.parametrize(
    ("values", "steps_per_unit", "limit"),
    [([0.12, -0.26], 10, 0.3), ([0.12, -0.26], 20, 0.3), ([0.12, -0.21], 20, 0.25), ([0.01], 10, 0.1), ([], 20, 0.05), ([-1.2], 10, 1.2)],
)
def test_the_axis_ends_at_the_first_whole_step_beyond_all_values(values, steps_per_unit, limit):
    assert difference_axis(values, steps_per_unit=steps_per_unit).limit == pytest.approx(limit)


def test_zero_is_in_the_middle_and_both_ends_are_those_of_the_width():
    axis = difference_axis([0.12, -0.26], steps_per_unit=10)
    assert [axis.place(value) for value in (-axis.limit, 0, axis.limit)] == [0, 50, 100]
