import numpy as np
import pytest

from abaw_ray.scoring.fill import fill_labels, most_frequent_class


def slow_fill(predicted, default):
    known = [frame for frame, label in enumerate(predicted) if label >= 0]
    return [predicted[min(known, key=lambda other: (abs(other - frame), other))] if known else default for frame in range(len(predicted))]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("frames", [0, 1, 2, 301])
def test_a_frame_without_label_gets_that_of_the_nearest_frame_or_of_the_earlier_of_two(share, frames):
    rng = np.random.default_rng(frames)
    predicted = np.where(rng.random(frames) < share, rng.integers(0, 8, frames), -1).astype(np.int8)
    filled = fill_labels(predicted, default=5)
    assert filled.dtype == np.int8
    assert filled.tolist() == slow_fill(predicted.tolist(), 5)


def test_the_most_frequent_class_ignores_unlabelled_frames():
    assert most_frequent_class(np.array([-1, -1, -1, 4, 4, 2])) == 4
