"""Calibration: a temperature for the logits, and one bias per class that raises the recall of rare classes.

Both are fitted on out-of-fold scores alone, never on frames that trained the model. The temperature acts on logits. The bias acts on
probabilities (``p * exp(bias)``, renormalised: a changed class prior), so it can be fitted and applied after smoothing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.scoring.config import CalibrationConfig
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1, per_class_f1

CLASSES = len(EXPRESSIONS)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Fitted temperature and bias; the defaults have no effect."""

    temperature: float = 1.0
    """Divisor of the logits."""
    bias: tuple[float, ...] = (0.0,) * CLASSES
    """Added to the log-probabilities, one per class."""

    def probabilities(self, logits: Float[np.ndarray, "frames 8"]) -> Float[np.ndarray, "frames 8"]:
        """Softmax at the temperature, without the bias."""
        return softmax(logits.astype(np.float64) / self.temperature)

    def apply_bias(self, probabilities: Float[np.ndarray, "frames 8"]) -> Float[np.ndarray, "frames 8"]:
        """Probabilities with the bias applied; NaN rows stay NaN."""
        weighted = probabilities * np.exp(self.bias)
        return weighted / weighted.sum(axis=1, keepdims=True)


def softmax(logits: Float[np.ndarray, "frames classes"]) -> Float[np.ndarray, "frames classes"]:
    """Row-wise softmax; each row is shifted by its own maximum, so a row of large logits cannot underflow the others."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def fit_temperature(logits: Float[np.ndarray, "frames 8"], labels: Int[np.ndarray, " frames"]) -> float:
    """The temperature between 0.05 and 20 that minimises the negative log-likelihood of held-out labels.

    Args:
        logits: Held-out logits.
        labels: 0..7; frames with -1 are ignored.

    Raises:
        ValueError: no frame is labelled.

    Source: temperature scaling, Guo et al. 2017 ("On Calibration of Modern Neural Networks").
    """
    logits, labels = logits[labels >= 0].astype(np.float64), labels[labels >= 0]
    if not len(labels):
        raise ValueError("no labelled frame to fit a temperature on")
    logits -= logits.max(axis=1, keepdims=True)
    correct = np.take_along_axis(logits, labels[:, None].astype(np.int64), axis=1)[:, 0].mean()

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.log(np.exp(logits * scale).sum(axis=1)).mean() - correct * scale)

    from scipy.optimize import minimize_scalar  # here, because loading scipy takes half a second, and only fitting needs it

    result = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(result.x))  # pyright: ignore[reportAttributeAccessIssue]  (scipy's stubs type the result as object)


def fit_bias(scores: Float[np.ndarray, "frames 8"], labels: Int[np.ndarray, " frames"], config: CalibrationConfig) -> tuple[float, ...]:
    """One bias per class that raises the macro-F1 of held-out frames, by coordinate ascent.

    All grid values of a class are evaluated in one pass: a frame is assigned to the class once the bias exceeds the margin to the best other class.

    Args:
        scores: Held-out logits or log-probabilities, finite.
        labels: 0..7; frames with -1 are ignored.
        config: Grid and number of passes.

    Returns:
        The biases, with mean 0; all 0 where ``config.method`` is ``none`` or no bias raises the score.

    Source: coordinate ascent, ours; the expected gain is in ``docs/data.md``, section 3.
    """
    bias = np.zeros(CLASSES)
    if config.method == "none":
        return tuple(bias.tolist())
    scores, labels = scores[labels >= 0].astype(np.float64), labels[labels >= 0].astype(np.int64)
    grid = np.arange(-round(config.max_bias / config.bias_step), round(config.max_bias / config.bias_step) + 1) * config.bias_step
    best = macro_f1(confusion_matrix(labels, scores.argmax(axis=1)))
    for _ in range(config.max_iter):
        before = best
        for target in range(CLASSES):
            candidate = bias.copy()
            candidate[target] = grid[_macro_f1_by_bias(scores, labels, bias, target, grid).argmax()]
            score = macro_f1(confusion_matrix(labels, (scores + candidate).argmax(axis=1)))
            if score > best + 1e-9:
                bias, best = candidate, score
        if best == before:
            break
    return tuple((bias - bias.mean()).tolist())


def _macro_f1_by_bias(scores: np.ndarray, labels: np.ndarray, bias: np.ndarray, target: int, grid: np.ndarray) -> np.ndarray:
    """Macro-F1 for every value of one class's bias on the evenly spaced grid; the other biases stay fixed."""
    others = scores + bias
    others[:, target] = -np.inf
    runner_up = others.argmax(axis=1)
    margin = np.take_along_axis(others, runner_up[:, None], axis=1)[:, 0] - scores[:, target]
    # Index of the first grid value above the margin.
    first_above = (np.floor((margin - grid[0]) / (grid[1] - grid[0])) + 1).clip(0, len(grid)).astype(np.int64)
    cell = (first_above * CLASSES + labels) * CLASSES + runner_up
    reassigned = np.bincount(cell, minlength=(len(grid) + 1) * CLASSES**2).reshape(-1, CLASSES, CLASSES)[:-1].cumsum(axis=0)
    counts = confusion_matrix(labels, runner_up) - reassigned
    counts[:, :, target] += reassigned.sum(axis=2)
    return per_class_f1(counts).mean(axis=1)
