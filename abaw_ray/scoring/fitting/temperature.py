"""Temperatures of the softmax, fitted on out-of-fold logits: one on all folds, and one for each fold on the others."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

STEP = 0.05
"""Distance of two temperatures in their logarithm. Folds nearly agree on their temperature; on this grid most of them share one, and the smoothing
grid is evaluated once for each. The best temperature is at most 2.5 % away. Ours."""
_LAST = 60
"""Index of the largest temperature, ``exp(3)`` = 20.1; the smallest is its inverse."""


def fit_temperatures(
    logits: Float[np.ndarray, "frames 8"],
    labels: Int[np.ndarray, " frames"],
    folds: Int[np.ndarray, " frames"],
    used: Bool[np.ndarray, "fits folds"],
) -> list[float]:
    """The temperature of each fit: of those between 0.05 and 20 in steps of 5 %, the one that minimizes the negative log-likelihood.

    Args:
        logits: Held-out logits.
        labels: 0..7; frames with -1 are ignored.
        folds: Index of each frame's fold.
        used: The folds whose frames a fit uses.

    Raises:
        ValueError: a fit has no labelled frame.

    Source: temperature scaling, Guo et al. 2017 ("On Calibration of Modern Neural Networks").
    """
    count = np.bincount(folds[labels >= 0], minlength=used.shape[1])
    if not (used @ count).all():
        raise ValueError("no labelled frame to fit a temperature on")
    logits, folds, labels = logits[labels >= 0].astype(np.float64), folds[labels >= 0], labels[labels >= 0].astype(np.int64)
    logits -= logits.max(axis=1, keepdims=True)
    correct = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    losses: dict[int, np.ndarray] = {}

    def loss(index: int, fit: np.ndarray) -> float:
        if index not in losses:  # the sums of every fold, for the other fits too
            scale = np.exp(-STEP * index)
            losses[index] = np.bincount(folds, np.log(np.exp(logits * scale).sum(axis=1)) - correct * scale, minlength=len(fit))
        return float(losses[index][fit].sum())

    return [float(np.exp(STEP * _lowest(lambda index, fit=fit: loss(index, fit)))) for fit in used]


def _lowest(loss: Callable[[int], float]) -> int:
    """The index of the lowest loss, which first falls and then rises (it is convex in the inverse temperature), by bisection."""
    low, high = -_LAST, _LAST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(middle) <= loss(middle + 1) else (middle + 1, high)
    return low
