"""Which frames of annotated videos become images of Stage I."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.core.expressions import ENCODER_CLASSES, EXPRESSIONS
from abaw_ray.encoder.folds.sampling import image_quotas, spread_frames


def annotation(**counts):
    """Labels with these numbers of frames, and three unlabelled ones."""
    return np.repeat([-1, *map(EXPRESSIONS.index, counts)], [3, *counts.values()]).astype(np.int8)


def test_every_expression_gets_an_equal_part_of_the_images_and_every_subject_the_same_number():
    labels = {"a": annotation(Neutral=1000, Fear=4), "b": annotation(Neutral=2000, Fear=50), "c": annotation(Neutral=10)}
    assert image_quotas(labels, ENCODER_CLASSES, 100) == {"a": {"Neutral": 20, "Fear": 4}, "b": {"Neutral": 20, "Fear": 46}, "c": {"Neutral": 10}}


def test_expressions_that_the_encoder_does_not_have_get_no_image_and_no_part():
    labels = {"a": annotation(Neutral=100, Other=100)}
    assert image_quotas(labels, ENCODER_CLASSES, 40) == {"a": {"Neutral": 40}}
    assert image_quotas(labels, (*ENCODER_CLASSES, "Other"), 40) == {"a": {"Neutral": 20, "Other": 20}}


@given(st.lists(st.lists(st.integers(0, 30), min_size=8, max_size=8), min_size=1, max_size=9), st.integers(1, 200))
def test_the_total_is_respected_and_used_up_and_does_not_depend_on_the_order_of_the_subjects(counts, images):
    labels = {f"s{number}": np.repeat(np.arange(8), row).astype(np.int8) for number, row in enumerate(counts)}
    quotas = image_quotas(labels, EXPRESSIONS, images)
    used = [index for index in range(8) if any(row[index] for row in counts)]
    for index in used:
        given_out = sum(quota.get(EXPRESSIONS[index], 0) for quota in quotas.values())
        assert given_out == min(images // len(used), sum(row[index] for row in counts))
    assert quotas == image_quotas(dict(reversed(labels.items())), EXPRESSIONS, images)
    assert all(quota <= (labels[name] == EXPRESSIONS.index(which)).sum() for name, own in quotas.items() for which, quota in own.items())


def test_chosen_frames_are_half_a_second_apart_at_any_frame_rate():
    times = np.cumsum(np.random.default_rng(0).choice([1 / 60, 1 / 25, 1 / 6], 400))
    chosen = spread_frames(times, 0.5, quota=10_000)
    assert chosen[0] == 0 and (np.diff(times[chosen]) >= 0.5 - 1e-6).all()
    for before, after in itertools.pairwise(chosen):
        assert times[after - 1] - times[before] < 0.5, "the first frame that is far enough away is taken"
    assert spread_frames(np.arange(40) * 0.1, 0.5, quota=100).tolist() == [0, 5, 10, 15, 20, 25, 30, 35], "exactly half a second is enough"


@pytest.mark.parametrize(("quota", "expected"), [(0, []), (1, [50]), (2, [25, 75]), (4, [12, 37, 62, 87]), (100, list(range(100)))])
def test_a_quota_is_spread_over_the_whole_video(quota, expected):
    assert spread_frames(np.arange(100.0), 1.0, quota).tolist() == expected


def test_no_frame_and_no_interval_are_accepted():
    assert spread_frames(np.zeros(0), 0.5, 3).tolist() == []
    assert spread_frames(np.array([0.0, 0.0, 0.2]), 0.0, 3).tolist() == [0, 2], "two frames of the same time are one"
