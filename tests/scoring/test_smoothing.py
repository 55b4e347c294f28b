import numpy as np
import pytest
from slow_smoothing import SLOW, make_scores, slow_fill, slow_gaussian, slow_mean

from abaw_ray.core.errors import ConfigError
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.smoothing import COSINE_HALF_PERIOD, COSINES, fill_gaps, gaussian_mean, moving_mean, smooth, to_microseconds


@pytest.mark.parametrize("window_s", [0.0, 0.4, 3.4])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_moving_mean_agrees_with_its_definition_at_a_variable_rate(window_s, share):
    scores, time, scored = make_scores(share)
    fast, slow = moving_mean(scores, to_microseconds(time), scored, window_s=window_s), slow_mean(scores, time, scored, window_s)
    np.testing.assert_allclose(fast, slow, atol=1e-12)


@pytest.mark.parametrize("window_s", [0.4, 3.4, 1000.0])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_gaussian_mean_agrees_with_its_definition_at_a_variable_rate(window_s, share):
    scores, time, scored = make_scores(share)
    fast, slow = gaussian_mean(scores, to_microseconds(time), scored, window_s=window_s), slow_gaussian(scores, time, scored, window_s)
    np.testing.assert_allclose(fast, slow, atol=2e-7, rtol=0)


def test_the_sum_of_cosines_is_the_gaussian_inside_of_the_window():
    x = np.linspace(-2, 2, 4001)
    cosines = np.cos(np.outer(x, np.arange(len(COSINES))) * np.pi / COSINE_HALF_PERIOD) @ COSINES
    np.testing.assert_allclose(cosines, np.exp(-(x**2) / 2), atol=5e-9)


@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize(("rate", "window_s"), [(30, 0.2), (30, 1.0), (30, 2 / 3), (25, 0.4), (60, 1 / 30)])
def test_a_frame_exactly_half_a_window_away_counts_for_every_frame(kind, rate, window_s):
    time = np.arange(200) / rate + 3600.7  # sums of such times differ in their last bits
    scores, scored = make_scores(1.0)[0], np.ones(200, bool)
    out = smooth(scores, time, scored, SmoothingConfig(kind=kind, window_s=window_s))
    np.testing.assert_allclose(out, SLOW[kind](scores, time, scored, window_s), atol=2e-7, rtol=0)


@pytest.mark.parametrize("half", [3, 6, 15])
def test_a_window_of_whole_microseconds_holds_the_frames_at_both_of_its_ends(half):
    scores, time, scored = make_scores(1.0)[0], np.arange(200) / 30 + 3600.7, np.ones(200, bool)
    out = moving_mean(scores, to_microseconds(time), scored, window_s=2 * half / 30)
    middle = [scores[t - half : t + half + 1].mean(axis=0) for t in range(half, 200 - half)]
    np.testing.assert_allclose(out[half : 200 - half], middle, atol=1e-12)


@pytest.mark.parametrize("max_gap_s", [0.0, 0.3, 1.0, 1000.0])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.8, 1.0])
def test_gaps_are_filled_as_defined_and_longer_ones_stay(max_gap_s, share):
    scores, time, scored = make_scores(share)
    fast = fill_gaps(scores, to_microseconds(time), scored, max_gap_s=max_gap_s)
    for one, slow in zip(fast, slow_fill(scores, time, scored, max_gap_s), strict=True):
        np.testing.assert_allclose(one, slow, atol=1e-12)


def test_a_gap_of_exactly_the_longest_length_is_filled():
    scored = np.array([True, False, False, True, False])
    _, known = fill_gaps(np.zeros((5, 2)), to_microseconds(np.arange(5.0)), scored, max_gap_s=3.0)
    assert known.all()
    _, known = fill_gaps(np.zeros((5, 2)), to_microseconds(np.arange(5.0)), scored, max_gap_s=2.9)
    assert known.tolist() == [True, False, False, True, True]
    _, known = fill_gaps(np.zeros((5, 2)), to_microseconds(np.arange(5.0) / 10 + 0.1), scored, max_gap_s=0.3)  # 0.4 - 0.1 > 0.3 in floating point
    assert known.all()


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
        mean(scores, to_microseconds(time), scored, window_s=1.0)
    with pytest.raises(ValueError, match="window_s must be 0 or more"):
        mean(scores, to_microseconds(time), scored, window_s=-1.0)


@pytest.mark.parametrize("mean", [moving_mean, gaussian_mean])
def test_single_precision_scores_of_a_long_video_lose_nothing_in_the_sums(mean):
    scores, time = np.full((100_000, 8), 0.1, np.float32), to_microseconds(np.arange(100_000) / 30)
    np.testing.assert_allclose(mean(scores, time, np.ones(len(time), bool), window_s=1.0), np.float32(0.1), rtol=1e-9)


def test_smoothed_probabilities_still_sum_to_one():
    scores, time, scored = make_scores(0.7)
    out = smooth(scores, time, scored, SmoothingConfig(max_gap_s=100.0))
    np.testing.assert_allclose(out.sum(axis=1), 1)


@pytest.mark.parametrize("wrong", [{"window_s": -0.1}, {"max_gap_s": -1.0}, {"kind": "median"}, {"window_s": float("nan")}])
@pytest.mark.usefixtures("unchecked_annotations")
def test_invalid_settings_are_rejected(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SmoothingConfig(**wrong)
