"""Calibration: a temperature for the logits, and one bias per class that raises the recall of rare classes.

Both are fitted on out-of-fold scores alone, never on frames that trained the model (``scoring.fitting``). The temperature acts on logits. The bias
acts on probabilities (``p * exp(bias)``, renormalized: a changed class prior), so it can be fitted and applied after smoothing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from abaw_ray.scoring.metrics import CLASSES


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
