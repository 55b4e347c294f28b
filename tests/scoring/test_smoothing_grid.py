"""The settings of the grid, and its compiled loops against the definitions of smoothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_smoothing import SLOW, make_scores, slow_fill

from abaw_ray.core.errors import ConfigError
from abaw_ray.scoring.config import SmoothingConfig, SmoothingGridConfig
from abaw_ray.scoring.fill import fill_labels
from abaw_ray.scoring.fitting.grid import count_labels, count_settings, labelled_frames, smoothed_rows
from abaw_ray.scoring.metrics import confusion_matrix
from abaw_ray.scoring.postprocessing import predict_labels
from abaw_ray.scoring.smoothing import smooth


def labelled(scores, time, scored, labels, max_gap_s=2.0):
    return labelled_frames(scores, time, scored, labels, max_gap_s=max_gap_s, default=3)


def slow_rows(scores, time, scored, one):
    """Smoothed rows of all frames; a frame without a score has the row of the nearest frame with one."""
    filled, known = slow_fill(scores, time, scored, one.max_gap_s)
    out = filled if one.window_s == 0 else SLOW[one.kind](filled, time, known, one.window_s)
    rows = np.flatnonzero(known)
    return out[[rows[np.abs(rows - t).argmin()] for t in range(len(time))]]


def labels_of(frames, seed=1):
    return np.random.default_rng(seed).integers(-1, 8, frames)


def test_by_default_there_are_a_hundred_means_and_gaussians_and_no_smoothing():
    first, *others = SmoothingGridConfig().settings()
    assert first == SmoothingConfig(window_s=0.0)
    for kind in ("mean", "gaussian"):
        widths = [one.window_s for one in others if one.kind == kind]
        assert len(widths) == 100 and widths[0] == 0.4 and widths[-1] == 12.0
        np.testing.assert_allclose(np.diff(np.log(widths)), np.log(30) / 99, rtol=0.04)  # rounded to milliseconds


def test_windows_may_be_evenly_spaced_few_or_one():
    grid = SmoothingGridConfig(kinds=("gaussian",), windows=4, min_s=1.0, max_s=2.5, spacing="linear", unsmoothed=False, max_gap_s=1.0)
    assert grid.settings() == tuple(SmoothingConfig(kind="gaussian", window_s=width, max_gap_s=1.0) for width in (1.0, 1.5, 2.0, 2.5))
    assert SmoothingGridConfig(windows=1, min_s=3.4).window_widths() == (3.4,)
    assert SmoothingGridConfig(windows=9, min_s=1.0, max_s=1.002).window_widths() == (1.0, 1.001, 1.002)
    assert SmoothingGridConfig(windows=0).settings() == (SmoothingConfig(window_s=0.0),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kinds": ("median",)},
        {"spacing": "cubic"},
        {"windows": -1},
        {"min_s": 0.0},
        {"max_s": 0.1},
        {"max_gap_s": -1.0},
        {"min_s": float("nan")},
    ],
)
@pytest.mark.usefixtures("unchecked_annotations")
def test_invalid_grids_are_rejected(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SmoothingGridConfig(**wrong)


def test_a_grid_has_at_least_one_setting():
    for wrong in ({"kinds": ()}, {"windows": 0, "unsmoothed": False}):
        with pytest.raises(ConfigError, match="one setting in all"):
            SmoothingGridConfig(**wrong)


@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize("window_s", [0.0, 0.4, 3.4, 1000.0])
@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_compiled_smoothing_agrees_with_the_definition_and_with_numpy_at_a_variable_rate(kind, window_s, share):
    scores, time, scored = make_scores(share)
    labels, one = labels_of(200), SmoothingConfig(kind=kind, window_s=window_s, max_gap_s=0.6)
    found = smoothed_rows(labelled(scores, time, scored, labels, 0.6), one)
    np.testing.assert_allclose(found, slow_rows(scores, time, scored, one)[labels >= 0], atol=2e-7, rtol=0)
    own = ~np.isnan(numpy := smooth(scores, time, scored, one))[:, 0]
    np.testing.assert_allclose(found[own[labels >= 0]], numpy[own & (labels >= 0)], atol=1e-9)


@settings(max_examples=60)
@given(
    rate=st.sampled_from([6, 25, 30, 60, 30000 / 1001]),
    frames=st.integers(1, 90),
    halves=st.integers(1, 40),
    begin=st.sampled_from([0.0, 0.1, 3600.7]),
    share=st.sampled_from([0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_windows_that_end_at_a_frame_are_the_same_for_every_implementation(rate, frames, halves, begin, share, seed):
    scores, _, scored = make_scores(share, frames, seed)
    time, labels = np.arange(frames) / rate + begin, np.zeros(frames, np.int64)
    scored[0] = True
    for kind in SLOW:
        one = SmoothingConfig(kind=kind, window_s=2 * halves / rate)
        slow = slow_rows(scores, time, scored, one)
        np.testing.assert_allclose(smoothed_rows(labelled(scores, time, scored, labels), one), slow, atol=2e-7, rtol=0)
        numpy = smooth(scores, time, scored, one)
        np.testing.assert_allclose(numpy[~np.isnan(numpy[:, 0])], slow[~np.isnan(numpy[:, 0])], atol=2e-7, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.6, 1.0])
def test_the_counts_of_the_grid_are_those_of_smoothing_each_setting_and_filling_the_labels(share):
    scores, time, scored = make_scores(share, frames=400)
    labels, grid = labels_of(400), SmoothingGridConfig(windows=7, max_gap_s=0.5).settings()
    counts = count_settings(labelled(scores, time, scored, labels, 0.5), grid)
    slow = [confusion_matrix(labels, fill_labels(predict_labels(smooth(scores, time, scored, one)), 3)) for one in grid]
    np.testing.assert_array_equal(counts, slow)
    if share:
        slow = [confusion_matrix(labels, slow_rows(scores, time, scored, one).argmax(axis=1)) for one in grid]
        np.testing.assert_array_equal(counts, slow)


def test_a_subject_without_a_label_or_without_a_score_is_counted_as_such():
    scores, time, scored = make_scores(1.0, frames=30)
    grid = SmoothingGridConfig(windows=3).settings()
    assert not count_settings(labelled(scores, time, scored, np.full(30, -1)), grid).any()
    nothing = labelled(scores, time, np.zeros(30, bool), np.full(30, 5))
    assert (count_settings(nothing, grid)[:, 5, 3] == 30).all()
    assert count_labels(smoothed_rows(nothing, grid[1]), nothing.labels, np.array([4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]))[5, 0] == 30


def test_frames_at_the_same_time_share_their_window():
    scores, time, scored = make_scores(1.0, frames=40)
    time[10:14] = time[10]
    one = SmoothingConfig(kind="gaussian", window_s=1.0)
    found = smoothed_rows(labelled(scores, time, scored, np.zeros(40, np.int64)), one)
    np.testing.assert_allclose(found, slow_rows(scores, time, scored, one), atol=2e-7, rtol=0)
    np.testing.assert_allclose(found[10], found[13], atol=1e-12)


def test_a_long_video_loses_nothing_in_the_running_sums():
    frames = 100_000
    scores = np.tile(np.eye(8), (frames // 8, 1)) * 0.5 + 0.0625
    track = labelled(scores, np.arange(frames) / 30 + 0.01, np.ones(frames, bool), np.zeros(frames, np.int64))
    for kind in SLOW:
        one = SmoothingConfig(kind=kind, window_s=12.0)
        np.testing.assert_allclose(
            smoothed_rows(track, one)[-400:],
            smoothed_rows(
                replace(track, scores=scores[-1000:], time=track.time[-1000:], source=np.arange(600, 1000), labels=track.labels[-400:]), one
            ),
            atol=1e-9,
        )
