"""Labels and predictions -> confusion matrices, and from them every score.

Matrices are counted a video at a time and added: folds, subsets and bootstraps are then sums, and 2.6 million frames are counted once.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Int64

from abaw_ray.core.expressions import EXPRESSIONS, UNLABELLED

CLASSES = len(EXPRESSIONS)


def confusion(labels: Int[np.ndarray, " frames"], predicted: Int[np.ndarray, " frames"]) -> Int64[np.ndarray, "8 8"]:
    """Count frames by annotated class (rows) and predicted class (columns).

    Args:
        labels: 0..7, or -1 for frames that nobody annotated, which do not count.
        predicted: 0..7 wherever a frame is annotated; frames without a score are filled before (``filling.fill_labels``).

    Raises:
        ValueError: the lengths differ, or an annotated frame has no prediction or an impossible one.
    """
    if len(labels) != len(predicted):
        raise ValueError(f"{len(labels)} labels for {len(predicted)} predictions")
    if len(labels) and not (labels.min() >= UNLABELLED and labels.max() < CLASSES):
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, not from -1 to {CLASSES - 1}")
    if len(labels) and not (predicted.min() >= 0 and predicted.max() < CLASSES):
        counted = predicted[labels >= 0]
        if not ((counted >= 0) & (counted < CLASSES)).all():
            raise ValueError("annotated frames without a prediction of 0..7; fill them first, they count")
        predicted = np.where(labels >= 0, predicted, 0)
    cell = (labels.astype(np.int16) + 1) * CLASSES + predicted.astype(np.int16)
    return np.bincount(cell, minlength=(CLASSES + 1) * CLASSES).reshape(CLASSES + 1, CLASSES)[1:].astype(np.int64)


def per_class_f1(confusions: Int[np.ndarray, "*any 8 8"]) -> Float[np.ndarray, "*any 8"]:
    """F1 of each class, ``2 TP / (annotated + predicted)``; 0 for a class that is neither annotated nor predicted."""
    hit = np.diagonal(confusions, axis1=-2, axis2=-1).astype(np.float64)
    total = (confusions.sum(axis=-1) + confusions.sum(axis=-2)).astype(np.float64)
    return np.divide(2 * hit, total, out=np.zeros_like(hit), where=total > 0)


def macro_f1(confusion: Int[np.ndarray, "8 8"]) -> float:
    """The competition's score: the mean of the eight per-class F1 over all frames pooled; absent classes count 0 (``DATA.md``)."""
    return float(per_class_f1(confusion).mean())


def by_recording(confusions: Int[np.ndarray, "people 8 8"], recordings: Sequence[str]) -> Int[np.ndarray, "recordings 8 8"]:
    """The matrices of people of one recording added up, in the order of the recordings' names."""
    names, at = np.unique(np.array(recordings, dtype=str), return_inverse=True)
    added = np.zeros((len(names), *confusions.shape[1:]), confusions.dtype)
    np.add.at(added, at, confusions)
    return added


def bootstrap_interval(confusions: Int[np.ndarray, "recordings 8 8"], *, seed: int, samples: int = 1000, level: float = 0.95) -> tuple[float, float]:
    """Interval of the macro-F1 when the recordings are drawn anew, with replacement.

    Args:
        confusions: One matrix a recording: frames of one video, and two people who talk to each other, are no independent witnesses.
        seed: Of the draws.
        samples: Number of draws; ours, not from the paper.
        level: Share of the draws inside the interval.

    Returns:
        Lower and upper end (percentiles).
    """
    count = len(confusions)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
    drawn = (times @ confusions.reshape(count, -1)).reshape(samples, CLASSES, CLASSES)
    low, high = np.quantile(per_class_f1(drawn).mean(axis=-1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
