import numpy as np
import pytest

from abaw_ray.scoring.calibration import Calibration, softmax
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.postprocessing import Postprocessing, predict_labels
from abaw_ray.scoring.smoothing import moving_mean, to_microseconds

CALIBRATION = Calibration(temperature=2.0, bias=(0.0,) * 7 + (1.0,))


def make_scores():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 8)).astype(np.float32), np.arange(200) / 30, np.ones(200, bool)


def test_the_order_is_temperature_then_smoothing_then_bias():
    logits, time, scored = make_scores()
    smoothed = moving_mean(softmax(logits.astype(np.float64) / 2), to_microseconds(time), scored, window_s=1.0) * np.exp(CALIBRATION.bias)
    found = Postprocessing(smoothing=SmoothingConfig(window_s=1.0), calibration=CALIBRATION).probabilities(logits, time, scored)
    np.testing.assert_allclose(found, smoothed / smoothed.sum(axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_array_equal(predict_labels(found), smoothed.argmax(axis=1))


def test_a_frame_without_a_score_has_no_probability_and_no_label_whatever_its_logits_hold():
    logits, time, scored = make_scores()
    scored[100:] = False
    logits[100:] = np.nan
    found = Postprocessing().probabilities(logits, time, scored)
    assert np.isnan(found[100:]).all() and np.isfinite(found[:100]).all()
    assert (predict_labels(found)[100:] == -1).all() and (predict_labels(found)[:100] >= 0).all()


def test_a_scored_frame_whose_logits_are_nan_is_an_error_not_a_gap():
    logits, time, scored = make_scores()
    logits[3] = np.nan
    with pytest.raises(ValueError, match="1 scored frames hold NaN"):
        Postprocessing().probabilities(logits, time, scored)
