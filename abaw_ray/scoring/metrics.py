"""Labels and predictions -> confusion matrices, and every metric computed from them.

Each subject has its own matrix: folds, subsets and bootstrap samples (``bootstrap``) are sums of matrices, so 2.6 million frames are counted only
once.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Int64

from abaw_ray.core.expressions import EXPRESSIONS, UNLABELLED

CLASSES = len(EXPRESSIONS)


def confusion_matrix(labels: Int[np.ndarray, " frames"], predicted: Int[np.ndarray, " frames"]) -> Int64[np.ndarray, "8 8"]:
    """Count frames by annotated class (rows) and predicted class (columns).

    Args:
        labels: 0..7; unlabelled frames (-1) are ignored.
        predicted: 0..7 for every labelled frame; the caller fills frames without a score first (``fill.fill_labels``).

    Raises:
        ValueError: the lengths differ, or a labelled frame has no prediction in 0..7.
    """
    if len(labels) != len(predicted):
        raise ValueError(f"{len(labels)} labels for {len(predicted)} predictions")
    if len(labels) and not (labels.min() >= UNLABELLED and labels.max() < CLASSES):
        raise ValueError(f"labels range from {labels.min()} to {labels.max()}, not from -1 to {CLASSES - 1}")
    if len(labels) and not (predicted.min() >= 0 and predicted.max() < CLASSES):
        counted = predicted[labels >= 0]
        if not ((counted >= 0) & (counted < CLASSES)).all():
            raise ValueError("labelled frames without a prediction of 0..7; fill them first, the metric counts them")
        predicted = np.where(labels >= 0, predicted, 0)
    cell = (labels.astype(np.int16) + 1) * CLASSES + predicted.astype(np.int16)
    return np.bincount(cell, minlength=(CLASSES + 1) * CLASSES).reshape(CLASSES + 1, CLASSES)[1:].astype(np.int64)


def per_class_f1(matrices: Int[np.ndarray, "*any 8 8"]) -> Float[np.ndarray, "*any 8"]:
    """F1 of each class, ``2 TP / (labelled + predicted)``; 0 for a class that is neither labelled nor predicted."""
    true_positives = np.diagonal(matrices, axis1=-2, axis2=-1).astype(np.float64)
    total = (matrices.sum(axis=-1) + matrices.sum(axis=-2)).astype(np.float64)
    return np.divide(2 * true_positives, total, out=np.zeros_like(true_positives), where=total > 0)


def macro_f1(matrix: Int[np.ndarray, "8 8"]) -> float:
    """The competition's metric: mean of the eight per-class F1 scores over all frames pooled; absent classes count 0 (``docs/data.md``)."""
    return float(per_class_f1(matrix).mean())


def sum_by_recording(matrices: Int[np.ndarray, "subjects 8 8"], recordings: Sequence[str]) -> Int[np.ndarray, "recordings 8 8"]:
    """One matrix per recording: the sum over its subjects, sorted by the recording's name."""
    names, index = np.unique(np.array(recordings, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), *matrices.shape[1:]), matrices.dtype)
    np.add.at(sums, index, matrices)
    return sums
