import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.scoring.calibration import Calibration, softmax
from abaw_ray.scoring.config import CalibrationConfig
from abaw_ray.scoring.fitting.bias import fit_bias, macro_f1_by_bias
from abaw_ray.scoring.fitting.temperature import fit_temperatures
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1

BIAS = CalibrationConfig()


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
        np.testing.assert_allclose(macro_f1_by_bias(logits, labels, bias, wanted, grid), slow, atol=1e-12)


def test_a_bias_never_lowers_the_score_that_it_was_fitted_on():
    for seed in range(5):
        logits, labels = make_scores(frames=200, seed=seed, imbalance=0.0)
        assert score(logits + np.array(fit_bias(logits, labels, BIAS)), labels) >= score(logits, labels)


def test_calibration_without_values_changes_nothing():
    logits, _ = make_scores()
    np.testing.assert_allclose(Calibration().apply_bias(Calibration().probabilities(logits)), softmax(logits), atol=1e-15)


def test_a_bias_on_probabilities_is_a_bias_on_logits():
    logits, bias = make_scores()[0], tuple(np.linspace(-1, 1, 8).tolist())
    np.testing.assert_allclose(Calibration(bias=bias).apply_bias(softmax(logits)), softmax(logits + bias), atol=1e-12)


def make_calibrated(frames, seed=0):
    """Logits, and labels that are drawn with the probabilities that the logits give."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(frames, 8)) * 2
    return logits, (softmax(logits).cumsum(axis=1) < rng.random((frames, 1))).sum(axis=1).clip(max=7)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_corrects_over_and_underconfidence(factor):
    logits, labels = make_calibrated(20_000)
    (found,) = fit_temperatures(logits * factor, labels, np.zeros(len(labels), np.int64), np.ones((1, 1), bool))
    assert found == pytest.approx(factor, rel=0.05)


def test_each_fit_has_the_lowest_loss_of_all_temperatures_on_its_own_folds():
    logits, labels = make_calibrated(600)
    folds = np.arange(600) % 3
    logits = logits * np.array([0.3, 1.0, 6.0])[folds, None]
    labels[::7] = -1
    used = np.array([[True, True, True], [False, True, True], [True, False, False]])
    for found, fit in zip(fit_temperatures(logits, labels, folds, used), used, strict=True):
        rows = fit[folds] & (labels >= 0)
        slow = {t: -np.log(softmax(logits[rows] / t)[np.arange(rows.sum()), labels[rows]]).mean() for t in np.exp(np.arange(-60, 61) * 0.05).tolist()}
        assert found == pytest.approx(min(slow, key=slow.__getitem__))


def test_a_temperature_needs_annotated_frames_in_every_fit():
    folds = np.array([0, 0, 1])
    for labels in (np.full(3, -1), np.array([2, 2, -1])):
        with pytest.raises(ValueError, match="no labelled frame"):
            fit_temperatures(np.zeros((3, 8)), labels, folds, np.array([[True, True], [False, True]]))


@pytest.mark.parametrize("wrong", [{"method": "platt"}, {"bias_step": 0.0}, {"max_bias": 0.01}, {"max_iter": 0}])
@pytest.mark.usefixtures("unchecked_annotations")
def test_invalid_settings_are_rejected(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CalibrationConfig(**wrong)
