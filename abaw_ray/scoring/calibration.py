"""Logits -> probabilities that mean what they say, and a bias a class that makes rare classes findable.

Both are found on held-out scores alone (out-of-fold), never on frames that trained the model. The temperature acts on logits; the bias acts
on probabilities (``p * exp(bias)``, renormalised: a changed prior), so it can be found and applied after smoothing, where classes are chosen.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.scoring.metrics import confusion, macro_f1, per_class_f1

CLASSES = len(EXPRESSIONS)
Method = Literal["none", "bias"]


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig:
    """How the bias is looked for."""

    method: Method = "none"
    """``bias``: one a class, chosen to raise macro-F1; gave +2.7 points elsewhere (``DATA.md`` section 3). Ours, not from the paper."""
    span: float = 2.0
    """Logits; the largest bias in either direction. Ours, not from the paper."""
    step: float = 0.05
    """Logits between two tried values; ours, not from the paper."""
    rounds: int = 4
    """How often all classes are gone through, at most; ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.method not in get_args(Method):
            raise ConfigError(f"calibration.method='{self.method}' is unknown; take one of {', '.join(get_args(Method))}")
        if not 0 < self.step <= self.span:
            raise ConfigError(f"calibration.step={self.step} must be above 0 and at most calibration.span={self.span}")
        if self.rounds < 1:
            raise ConfigError(f"calibration.rounds={self.rounds} must be at least 1; calibration.method=none looks for no bias")


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was found; the default changes nothing."""

    temperature: float = 1.0
    """Logits are divided by it."""
    bias: tuple[float, ...] = (0.0,) * CLASSES
    """Added to log-probabilities, one a class."""

    def probabilities(self, logits: Float[np.ndarray, "frames 8"]) -> Float[np.ndarray, "frames 8"]:
        """Softmax at the temperature, without the bias."""
        return softmax(logits.astype(np.float64) / self.temperature)

    def adjust(self, probabilities: Float[np.ndarray, "frames 8"]) -> Float[np.ndarray, "frames 8"]:
        """Probabilities under the bias; rows of NaN stay NaN."""
        raised = probabilities * np.exp(self.bias)
        return raised / raised.sum(axis=1, keepdims=True)


def softmax(logits: Float[np.ndarray, "frames classes"]) -> Float[np.ndarray, "frames classes"]:
    """Probabilities row by row; each row is shifted by its own maximum, so no other row can drown it."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def fit_temperature(logits: Float[np.ndarray, "frames 8"], labels: Int[np.ndarray, " frames"]) -> float:
    """The temperature at which the negative log-likelihood of held-out labels is least, between 0.05 and 20.

    Args:
        logits: Held-out.
        labels: 0..7; frames with -1 do not count.

    Raises:
        ValueError: no frame is annotated.

    Source: temperature scaling, Guo et al. 2017 ("On Calibration of Modern Neural Networks").
    """
    logits, labels = logits[labels >= 0].astype(np.float64), labels[labels >= 0]
    if not len(labels):
        raise ValueError("no annotated frame to fit a temperature on")
    logits -= logits.max(axis=1, keepdims=True)
    right = np.take_along_axis(logits, labels[:, None].astype(np.int64), axis=1)[:, 0].mean()

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.log(np.exp(logits * scale).sum(axis=1)).mean() - right * scale)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-3}).x))


def fit_bias(scores: Float[np.ndarray, "frames 8"], labels: Int[np.ndarray, " frames"], config: CalibrationConfig) -> tuple[float, ...]:
    """One bias a class that raises the macro-F1 of held-out frames, found class by class.

    For one class all values of the grid are counted in one pass: a frame goes to the class once its bias exceeds the lead of the best other.

    Args:
        scores: Held-out logits or log-probabilities, finite.
        labels: 0..7; frames with -1 do not count.
        config: Grid and rounds.

    Returns:
        The biases, mean 0; all 0 where ``config.method`` is ``none`` or nothing helps.

    Source: coordinate ascent, ours; the gain is one of ``DATA.md`` section 3.
    """
    bias = np.zeros(CLASSES)
    if config.method == "none":
        return tuple(bias.tolist())
    scores, labels = scores[labels >= 0].astype(np.float64), labels[labels >= 0].astype(np.int64)
    grid = np.arange(-round(config.span / config.step), round(config.span / config.step) + 1) * config.step
    best = macro_f1(confusion(labels, scores.argmax(axis=1)))
    for _ in range(config.rounds):
        before = best
        for wanted in range(CLASSES):
            tried = bias.copy()
            tried[wanted] = grid[_scores_along(scores, labels, bias, wanted, grid).argmax()]
            score = macro_f1(confusion(labels, (scores + tried).argmax(axis=1)))
            if score > best + 1e-9:
                bias, best = tried, score
        if best == before:
            break
    return tuple((bias - bias.mean()).tolist())


def _scores_along(scores: np.ndarray, labels: np.ndarray, bias: np.ndarray, wanted: int, grid: np.ndarray) -> np.ndarray:
    """Macro-F1 for every bias of one class in the (even) grid, the others' biases kept."""
    others = scores + bias
    others[:, wanted] = -np.inf
    rival = others.argmax(axis=1)
    lead = np.take_along_axis(others, rival[:, None], axis=1)[:, 0] - scores[:, wanted]
    joins = (np.floor((lead - grid[0]) / (grid[1] - grid[0])) + 1).clip(0, len(grid)).astype(np.int64)  # first value above its lead
    cell = (joins * CLASSES + labels) * CLASSES + rival
    moved = np.bincount(cell, minlength=(len(grid) + 1) * CLASSES**2).reshape(-1, CLASSES, CLASSES)[:-1].cumsum(axis=0)
    counts = confusion(labels, rival) - moved
    counts[:, :, wanted] += moved.sum(axis=2)
    return per_class_f1(counts).mean(axis=1)
