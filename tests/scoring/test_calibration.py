import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.scoring.calibration import Calibration, _macro_f1_by_bias, fit_bias, fit_temperature, softmax
from abaw_ray.scoring.config import CalibrationConfig
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1

BIAS = CalibrationConfig(method="bias")


def make_scores(frames=4000, seed=0, imbalance=1.0):
    """Logits (the true class, noise, and the log prior of an unbalanced training set) and labels, of which a tenth is missing."""
    rng = np.random.default_rng(seed)
    prior = np.exp(-imbalance * np.arange(8) / 2)
    labels = rng.choice(8, size=frames, p=prior / prior.sum())
    logits = 1.2 * np.eye(8)[labels] + rng.normal(size=(frames, 8)) + np.log(prior)
    labels[rng.random(frames) < 0.1] = -1
    return logits, labels


def score(logits, labels):
    return macro_f1(confusion_matrix(labels, logits.argmax(axis=1)))


def test_a_bias_fitted_on_some_videos_raises_the_score_of_others():
    bias = np.array(fit_bias(*make_scores(seed=0), BIAS))
    logits, labels = make_scores(seed=1)
    assert score(logits + bias, labels) > score(logits, labels) + 0.03
    assert bias[7] > bias[0] and bias.mean() == pytest.approx(0)
    assert np.ptp(bias) <= 4


def test_the_scan_over_one_class_agrees_with_scoring_each_value():
    logits, labels = make_scores(frames=600)
    logits, labels = logits[labels >= 0], labels[labels >= 0]
    bias, grid = np.random.default_rng(1).normal(size=8), np.arange(-40, 41) * 0.05
    for wanted in range(8):
        slow = [score(logits + np.where(np.arange(8) == wanted, value, bias), labels) for value in grid]
        np.testing.assert_allclose(_macro_f1_by_bias(logits, labels, bias, wanted, grid), slow, atol=1e-12)


def test_a_bias_never_lowers_the_score_that_it_was_fitted_on():
    for seed in range(5):
        logits, labels = make_scores(frames=200, seed=seed, imbalance=0.0)
        assert score(logits + np.array(fit_bias(logits, labels, BIAS)), labels) >= score(logits, labels)


def test_by_default_no_bias_is_fitted_and_calibration_changes_nothing():
    logits, labels = make_scores()
    assert fit_bias(logits, labels, CalibrationConfig()) == (0.0,) * 8
    np.testing.assert_allclose(Calibration().apply_bias(Calibration().probabilities(logits)), softmax(logits), atol=1e-15)


def test_a_bias_on_probabilities_is_a_bias_on_logits():
    logits, bias = make_scores()[0], tuple(np.linspace(-1, 1, 8).tolist())
    np.testing.assert_allclose(Calibration(bias=bias).apply_bias(softmax(logits)), softmax(logits + bias), atol=1e-12)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_corrects_over_and_underconfidence(factor):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 8)) * 2
    labels = (softmax(logits).cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1).clip(max=7)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.05)


def test_a_temperature_needs_annotated_frames():
    with pytest.raises(ValueError, match="no labelled frame"):
        fit_temperature(np.zeros((3, 8)), np.full(3, -1))


@pytest.mark.parametrize("wrong", [{"method": "platt"}, {"bias_step": 0.0}, {"max_bias": 0.01}, {"max_iter": 0}])
@pytest.mark.usefixtures("unchecked_annotations")
def test_invalid_settings_are_rejected(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CalibrationConfig(**wrong)
