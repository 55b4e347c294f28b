"""The import hook of ``tests/conftest.py`` checks every annotated shape of ``scoring`` during all its tests; here a wrong shape must fail."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from abaw_ray.scoring.baselines import logistic_predictions
from abaw_ray.scoring.bootstrap import bootstrap_interval, paired_difference
from abaw_ray.scoring.calibration import softmax
from abaw_ray.scoring.config import CalibrationConfig
from abaw_ray.scoring.fill import fill_labels
from abaw_ray.scoring.fitting.bias import fit_bias
from abaw_ray.scoring.fitting.grid import labelled_frames
from abaw_ray.scoring.fitting.temperature import fit_temperatures
from abaw_ray.scoring.metrics import per_class_f1
from abaw_ray.scoring.postprocessing import Postprocessing
from abaw_ray.scoring.selection import OutOfFoldScores
from abaw_ray.scoring.smoothing import moving_mean

LOGITS, TIME, SCORED, LABELS = np.zeros((9, 8)), np.arange(9.0), np.ones(9, bool), np.zeros(9, int)


@pytest.mark.parametrize(
    "call",
    [
        lambda: moving_mean(LOGITS, LABELS[1:], SCORED, window_s=1.0),
        lambda: labelled_frames(LOGITS, TIME, SCORED, LABELS[1:], max_gap_s=1.0, default=0),
        lambda: fit_temperatures(LOGITS, LABELS, LABELS[1:], np.ones((1, 1), bool)),
        lambda: softmax(TIME),
        lambda: fit_bias(LOGITS[:, :7], LABELS, CalibrationConfig()),
        lambda: fill_labels(TIME, 0),
        lambda: per_class_f1(np.zeros((8, 7), int)),
        lambda: bootstrap_interval(np.zeros((8, 8), int), seed=0),
        lambda: paired_difference([np.zeros((2, 8, 8), int)], [np.zeros((2, 8, 7), int)], seed=0),
        lambda: Postprocessing().probabilities(LOGITS, TIME, SCORED[1:]),
        lambda: OutOfFoldScores(name="a", fold=0, logits=LOGITS, time=TIME, scored=SCORED, labels=LABELS[1:]),
        lambda: logistic_predictions(LOGITS, LABELS[1:], LOGITS, 0),
    ],
)
def test_an_array_of_another_shape_is_rejected(call):
    with pytest.raises(TypeCheckError):
        call()
