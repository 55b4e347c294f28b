import pytest

from abaw_ray.media.clock import Clock


def times_of(stamps, step=0.1):
    clock = Clock(step)
    return [clock.time(stamp) for stamp in stamps]


def test_times_that_ascend_are_left_alone():
    assert times_of([0.5, 0.6, 3.0, 3.01]) == [0.5, 0.6, 3.0, 3.01]


def test_a_picture_without_a_time_follows_the_one_before_by_the_last_interval():
    assert times_of([None, None]) == pytest.approx([0.0, 0.1])
    assert times_of([0, 0.04, None, None, 0.16]) == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16])


def test_a_missing_time_after_a_long_pause_is_not_guessed_far_away():
    assert times_of([0, 60, None]) == pytest.approx([0, 60, 61])


def test_the_same_time_twice_is_parted_by_a_millisecond():
    assert times_of([0, 0.04, 0.04, 0.08]) == pytest.approx([0.0, 0.04, 0.041, 0.08])


def test_a_clock_that_is_set_back_goes_on_from_where_it_was():
    assert times_of([5.0, 5.1, 0.0, 0.1, 0.2]) == pytest.approx([5.0, 5.1, 5.2, 5.3, 5.4])
