import numpy as np
import pytest

from abaw_ray.scoring.baselines import chance_macro_f1, logistic_predictions
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1


def make_scores(seed, signal, frames=1500):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 8, size=frames)
    return 1000 + 50 * (signal * np.eye(12)[labels.clip(min=0)] + rng.normal(size=(frames, 12))), labels


def logistic_score(signal):
    (train_x, train_y), (test_x, test_y) = make_scores(0, signal), make_scores(1, signal)
    return macro_f1(confusion_matrix(test_y, logistic_predictions(train_x, train_y, test_x, seed=0)))


def test_logistic_regression_finds_the_signal_at_any_scale():
    assert logistic_score(signal=5.0) > 0.9


def test_logistic_regression_on_noise_scores_at_chance():
    score = logistic_score(signal=0.0)
    assert score == pytest.approx(chance_macro_f1(make_scores(0, 0.0)[1], make_scores(1, 0.0)[1], seed=0), abs=0.04)


def test_chance_of_eight_equal_classes_is_an_eighth_and_is_seeded():
    labels = np.arange(80_000) % 8
    assert chance_macro_f1(labels, labels, seed=0) == pytest.approx(1 / 8, abs=0.002)
    assert chance_macro_f1(labels, labels, seed=0) == chance_macro_f1(labels, labels, seed=0) != chance_macro_f1(labels, labels, seed=1)
