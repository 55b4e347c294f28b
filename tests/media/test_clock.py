import numpy as np
import pytest

from abaw_ray.media.clock import Clock


def times_of(stamps, step=0.1):
    clock = Clock(step)
    return [clock.time(stamp) for stamp in stamps]


def test_ascending_times_are_unchanged():
    assert times_of([0.5, 0.6, 3.0, 3.01]) == [0.5, 0.6, 3.0, 3.01]


def test_a_frame_without_a_time_follows_the_one_before_at_the_last_interval():
    assert times_of([None, None]) == pytest.approx([0.0, 0.1])
    assert times_of([0, 0.04, None, None, 0.16]) == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16])


def test_a_missing_time_after_a_long_pause_is_extrapolated_by_at_most_a_second():
    assert times_of([0, 60, None]) == pytest.approx([0, 60, 61])


def test_two_equal_times_are_separated_by_a_millisecond():
    assert times_of([0, 0.04, 0.04, 0.08]) == pytest.approx([0.0, 0.04, 0.041, 0.08])


def test_a_clock_that_is_set_back_continues_from_its_last_time():
    assert times_of([5.0, 5.1, 0.0, 0.1, 0.2]) == pytest.approx([5.0, 5.1, 5.2, 5.3, 5.4])


def test_extrapolated_times_that_are_too_late_return_to_the_stated_times():
    times = times_of([1.0, *[None] * 9, 1.4, *[None] * 9, 1.8, *[None] * 9, 2.2])  # 25 a second, while the header says 10
    assert (np.diff(times) > 0).all() and times[-5:] == pytest.approx([2.04, 2.08, 2.12, 2.16, 2.2])


def test_a_single_wrong_stamp_does_not_shift_those_after_it():
    right = [number / 25 for number in range(300)]
    for wrong in (7.0, -3.0):
        times = times_of([*right[:50], wrong, *right[51:]])
        assert (np.diff(times) > 0).all() and times[:50] == right[:50]
        np.testing.assert_allclose(times[250:], right[250:], atol=1e-9)


def test_a_clock_that_jitters_by_less_than_a_second_is_not_offset():
    jittering = [(number + (3 if number % 4 == 1 else 0)) / 25 for number in range(100)]
    times = times_of(jittering)
    assert (np.diff(times) > 0).all() and max(abs(a - number / 25) for number, a in enumerate(times)) < 0.2


@pytest.mark.parametrize(
    ("stamps", "repaired"),
    [([0, 0.04, 5], False), ([None], True), ([0, None], True), ([0, 0.04, 0.04], True), ([5, 5.1, 0, 0.1], True), ([-1.5, 0], False)],
)
def test_the_clock_reports_whether_a_time_was_repaired(stamps, repaired):
    clock = Clock()
    assert not clock.repaired
    for stamp in stamps:
        clock.time(stamp)
    assert clock.repaired == repaired
    clock.time(100.0, exact=False)
    assert clock.repaired
