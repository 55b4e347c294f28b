import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.core.frame_times import SINGLE_FRAME_S, FrameTimes, frame_ends

STEPS = st.lists(st.floats(0.001, 2), min_size=1, max_size=30)


def test_the_last_frame_has_the_median_duration_but_does_not_outlast_the_video():
    times = np.array([0.0, 0.1, 0.2, 0.7])
    np.testing.assert_allclose(frame_ends(times), [0.1, 0.2, 0.7, 0.8])
    np.testing.assert_allclose(frame_ends(times, 0.75)[-1], 0.75)
    np.testing.assert_allclose(frame_ends(times, 9.0)[-1], 0.8)
    np.testing.assert_allclose(frame_ends(times, 0.7)[-1], 0.8)  # an end that is not after the last frame is unknown


def test_a_single_frame_has_a_nominal_duration_and_no_frame_has_none():
    np.testing.assert_allclose(frame_ends(np.array([3.0])), [3.0 + SINGLE_FRAME_S])
    np.testing.assert_allclose(frame_ends(np.array([0.0]), 0.0), [SINGLE_FRAME_S])
    assert len(frame_ends(np.zeros(0), 1.0)) == 0


@given(STEPS)
def test_durations_are_the_differences_of_the_times_and_add_up_to_the_whole(steps):
    time = 0.5 + np.cumsum([0, *steps])
    frames = FrameTimes.of(np.arange(len(time)) + 1, time)
    np.testing.assert_allclose(frames.durations[:-1], steps, rtol=1e-6)
    assert frames.durations.sum() == pytest.approx(frames.ends[-1] - 0.5)
    assert (frames.durations > 0).all()


def test_the_frames_are_those_of_all_rows_each_once_and_ascending():
    frames = FrameTimes.of(np.array([3, 4, 1, 4, 9], np.int32), np.array([0.3, 0.4, 0.1, 0.4, 0.9]))
    assert frames.frame.tolist() == [1, 3, 4, 9]
    assert frames.time.tolist() == [0.1, 0.3, 0.4, 0.9]
    assert frames.positions(np.array([9, 3])).tolist() == [3, 1]


def test_a_frame_without_rows_shows_those_of_the_last_one_before_it():
    frames = FrameTimes.of(np.array([2, 5]), np.array([0.1, 0.4]))
    assert [frames.shown(frame) for frame in (1, 2, 3, 4, 5, 6)] == [None, 2, 2, 2, 5, 5]
