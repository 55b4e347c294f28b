"""Averages the outputs of several fusion models on the same frames."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp


def average_outputs(
    outputs: Sequence[tuple[Float[np.ndarray, "frames 8"], Float[np.ndarray, " frames"]]],
) -> tuple[Float[np.ndarray, "frames 8"], Float[np.ndarray, " frames"]]:
    """The logarithm of the models' mean probability, as the logits of the ensemble, and their mean gate.

    Args:
        outputs: Logits and gate of each model; NaN where a frame has no score.
    """
    log_probabilities = np.stack([logits - logsumexp(logits, axis=1, keepdims=True) for logits, _ in outputs])
    logits = logsumexp(log_probabilities, axis=0) - np.log(len(outputs))
    return logits.astype(np.float32), np.mean([gate for _, gate in outputs], axis=0)
