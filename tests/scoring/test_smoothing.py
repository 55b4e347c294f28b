import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.smoothing import fill_gaps, gaussian_mean, moving_mean, smooth, smooth_filled


def slow_mean(scores, time, scored, window_s):
    out = np.full(scores.shape, np.nan)
    for t in range(len(scored)):
        near = [u for u in range(len(scored)) if time[t] - window_s / 2 <= time[u] <= time[t] + window_s / 2 and scored[u]]
        if near:
            out[t] = scores[near].mean(axis=0)
    return out


def slow_gaussian(scores, time, scored, window_s):
    out = np.full(scores.shape, np.nan)
    for t in range(len(scored)):
        near = [u for u in range(len(scored)) if abs(time[u] - time[t]) <= window_s / 2 and scored[u]]
        weight = [np.exp(-((time[u] - time[t]) ** 2) / (2 * (window_s / 4) ** 2)) for u in near]
        if near:
            out[t] = np.average(scores[near], axis=0, weights=weight)
    return out


def slow_fill(scores, time, scored, max_gap_s):
    out, known = np.where(scored[:, None], scores, np.nan), scored.copy()
    for t in np.flatnonzero(~scored):
        before = [u for u in range(t) if scored[u]]
        after = [u for u in range(t + 1, len(scored)) if scored[u]]
        begin, end = time[before[-1] if before else 0], time[after[0] if after else -1]
        if not (before or after) or end - begin > max_gap_s:
            continue
        known[t] = True
        if before and after:
            part = (time[t] - begin) / (end - begin)
            out[t] = (1 - part) * scores[before[-1]] + part * scores[after[0]]
        else:
            out[t] = scores[before[-1]] if before else scores[after[0]]
    return out, known


def make_scores(share, frames=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((frames, 8)), np.cumsum(rng.uniform(1 / 60, 1 / 6, size=frames)), rng.random(frames) < share


@pytest.mark.parametrize("window_s", [0.0, 0.4, 3.4])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_moving_mean_agrees_with_its_definition_at_a_variable_rate(window_s, share):
    scores, time, scored = make_scores(share)
    fast, slow = moving_mean(scores, time, scored, window_s=window_s), slow_mean(scores, time, scored, window_s)
    np.testing.assert_allclose(fast, slow, atol=1e-12)


@pytest.mark.parametrize("window_s", [0.4, 3.4, 1000.0])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_gaussian_mean_agrees_with_its_definition_at_a_variable_rate(window_s, share):
    scores, time, scored = make_scores(share)
    fast, slow = gaussian_mean(scores, time, scored, window_s=window_s), slow_gaussian(scores, time, scored, window_s)
    np.testing.assert_allclose(fast, slow, atol=1e-5)


@pytest.mark.parametrize("max_gap_s", [0.0, 0.3, 1.0, 1000.0])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.8, 1.0])
def test_gaps_are_filled_as_defined_and_longer_ones_stay(max_gap_s, share):
    scores, time, scored = make_scores(share)
    for fast, slow in zip(fill_gaps(scores, time, scored, max_gap_s=max_gap_s), slow_fill(scores, time, scored, max_gap_s), strict=True):
        np.testing.assert_allclose(fast, slow, atol=1e-12)


def test_a_gap_of_exactly_the_longest_length_is_filled():
    scored = np.array([True, False, False, True, False])
    _, known = fill_gaps(np.zeros((5, 2)), np.arange(5.0), scored, max_gap_s=3.0)
    assert known.all()
    _, known = fill_gaps(np.zeros((5, 2)), np.arange(5.0), scored, max_gap_s=2.9)
    assert known.tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("kind", ["mean", "gaussian"])
@pytest.mark.parametrize("window_s", [0.0, 8.0])
def test_every_frame_of_a_long_gap_stays_without_a_score_however_wide_the_window(kind, window_s):
    scores, time, scored = np.full((300, 8), 0.125), np.arange(300) / 30, np.ones(300, bool)
    scored[60:150] = scored[200:210] = False  # 3 s, and a third of a second
    out = smooth(scores, time, scored, SmoothingConfig(kind=kind, window_s=window_s, max_gap_s=2.0))
    assert np.isnan(out[60:150]).all()
    np.testing.assert_allclose(np.delete(out, np.s_[60:150], axis=0), 0.125, atol=1e-6)


def test_the_values_of_unscored_rows_do_not_matter():
    scores, time, scored = make_scores(0.5)
    with_nan = np.where(scored[:, None], scores, np.nan)
    np.testing.assert_array_equal(smooth(scores, time, scored, SmoothingConfig()), smooth(with_nan, time, scored, SmoothingConfig()))


@pytest.mark.parametrize("mean", [moving_mean, gaussian_mean])
def test_a_scored_row_that_is_not_finite_and_a_negative_window_are_refused(mean):
    scores, time, scored = make_scores(1.0)
    scores[7, 3] = np.nan
    with pytest.raises(ValueError, match="1 scored frames hold NaN"):
        mean(scores, time, scored, window_s=1.0)
    with pytest.raises(ValueError, match="window_s must be 0 or more"):
        mean(scores, time, scored, window_s=-1.0)


def test_single_precision_scores_of_a_long_video_lose_nothing_in_the_sums():
    scores, time = np.full((100_000, 8), 0.1, np.float32), np.arange(100_000) / 30
    np.testing.assert_allclose(moving_mean(scores, time, np.ones(len(time), bool), window_s=1.0), np.float32(0.1), rtol=1e-9)


def test_smoothing_filled_scores_agrees_with_smooth():
    scores, time, scored = make_scores(0.6)
    config = SmoothingConfig(window_s=1.0, max_gap_s=0.4)
    filled = fill_gaps(scores, time, scored, max_gap_s=0.4)
    np.testing.assert_array_equal(smooth_filled(filled[0], time, filled[1], config), smooth(scores, time, scored, config))


def test_smoothed_probabilities_still_sum_to_one():
    scores, time, scored = make_scores(0.7)
    out = smooth(scores / scores.sum(axis=1, keepdims=True), time, scored, SmoothingConfig(max_gap_s=100.0))
    np.testing.assert_allclose(out.sum(axis=1), 1)


@pytest.mark.parametrize("wrong", [{"window_s": -0.1}, {"max_gap_s": -1.0}, {"kind": "median"}, {"window_s": float("nan")}])
@pytest.mark.usefixtures("unchecked_annotations")
def test_invalid_settings_are_rejected(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SmoothingConfig(**wrong)
