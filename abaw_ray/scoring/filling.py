"""A label for every frame: the challenge counts and wants frames that show neither face nor voice.

The only place where a label is given without a score; whoever calls reports how many (``DATA.md``, submission).
"""

import numpy as np
from jaxtyping import Int, Int8

from abaw_ray.core.expressions import EXPRESSIONS

NONE = -1
"""A frame without a label of its own."""


def fill_labels(predicted: Int[np.ndarray, " frames"], default: int) -> Int8[np.ndarray, " frames"]:
    """Give each frame without a label that of the nearest frame that has one, of two equally near ones the earlier.

    Args:
        predicted: 0..7, or -1 where the frame has no score.
        default: For a subject without any scored frame: the most frequent label of training.
    """
    known = np.flatnonzero(predicted != NONE)
    if not len(known):
        return np.full(len(predicted), default, dtype=np.int8)
    frames = np.arange(len(predicted))
    after = np.searchsorted(known, frames).clip(max=len(known) - 1)
    before = (after - 1).clip(min=0)
    nearest = np.where(np.abs(frames - known[before]) <= np.abs(known[after] - frames), known[before], known[after])
    return predicted[nearest].astype(np.int8)


def most_frequent(labels: Int[np.ndarray, " frames"]) -> int:
    """The class that most annotated frames have; of equals the first."""
    return int(np.bincount(labels[labels >= 0], minlength=len(EXPRESSIONS)).argmax())
