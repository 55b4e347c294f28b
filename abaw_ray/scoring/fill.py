"""Fills the labels of frames without a score: the challenge also evaluates frames without face and audio, and requires a label for them.

No other module assigns a label without a score; callers report how many labels were filled (``docs/data.md``, submission).
"""

import numpy as np
from jaxtyping import Bool, Int, Int8, Int64

from abaw_ray.core.expressions import EXPRESSIONS

NO_LABEL = -1
"""Predicted label of a frame without a score."""


def fill_labels(predicted: Int[np.ndarray, " frames"], default: int) -> Int8[np.ndarray, " frames"]:
    """The labels with each unscored frame filled from the nearest scored frame; of two equally near ones, from the earlier.

    Args:
        predicted: 0..7, or -1 where the frame has no score.
        default: Label for a subject without any scored frame: the most frequent label of the training set.
    """
    scored = predicted != NO_LABEL
    if not scored.any():
        return np.full(len(predicted), default, dtype=np.int8)
    return predicted[nearest_scored(scored)].astype(np.int8)


def nearest_scored(scored: Bool[np.ndarray, " frames"]) -> Int64[np.ndarray, " frames"]:
    """Index of each frame's nearest scored frame, itself where it has a score; of two equally near ones, the earlier. At least one is scored."""
    rows, frames = np.flatnonzero(scored), np.arange(len(scored))
    after = np.searchsorted(rows, frames).clip(max=len(rows) - 1)
    before = (after - 1).clip(min=0)
    return np.where(np.abs(frames - rows[before]) <= np.abs(rows[after] - frames), rows[before], rows[after])


def most_frequent_class(labels: Int[np.ndarray, " frames"]) -> int:
    """The class with the most annotated frames; among ties, the first."""
    return int(np.bincount(labels[labels >= 0], minlength=len(EXPRESSIONS)).argmax())
