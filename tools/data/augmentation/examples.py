"""Faces with labels on which encoders are compared, and the comparison of two encoders by the same faces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Int64, UInt8

from abaw_ray.core.expressions import ENCODER_CLASSES
from abaw_ray.scoring.bootstrap import paired_difference
from abaw_ray.scoring.metrics import CLASSES, confusion_matrix, per_class_f1

_BATCH = 256
_SEED = 0
"""Of the bootstrap."""


@dataclass(frozen=True)
class Examples:
    """Faces of one kind."""

    views: UInt8[np.ndarray, "faces scales 3 size size"]
    labels: Int[np.ndarray, " faces"]
    """Indices into ``ENCODER_CLASSES``."""
    groups: Int[np.ndarray, " faces"]
    """Number of the image, or of the person in videos: faces of one person are not independent samples."""
    classes: int = len(ENCODER_CLASSES)
    """Only the first this many classes occur, and only these are predicted."""

    @torch.inference_mode()
    def predict(self, model: torch.nn.Module) -> Int64[np.ndarray, "groups 8 8"]:
        """Confusion matrix of each group: the class with the highest probability, averaged over the scales."""
        scores = [
            torch.stack([model(torch.from_numpy(np.ascontiguousarray(batch[:, scale]))).logits.softmax(dim=1) for scale in range(batch.shape[1])])
            for batch in (self.views[start : start + _BATCH] for start in range(0, len(self.views), _BATCH))
        ]
        predicted = torch.cat([batch.mean(dim=0) for batch in scores])[:, : self.classes].argmax(dim=1).numpy()
        members = [np.flatnonzero(self.groups == group) for group in np.unique(self.groups)]
        return np.stack([confusion_matrix(self.labels[rows], predicted[rows]) for rows in members])


def score(matrices: Int[np.ndarray, "groups 8 8"], classes: int) -> float:
    """Macro-F1 of the first ``classes`` classes."""
    return float(per_class_f1(matrices.sum(axis=0))[:classes].mean())


def difference(
    a: Sequence[Int[np.ndarray, "groups 8 8"]], b: Sequence[Int[np.ndarray, "groups 8 8"]], classes: int
) -> tuple[float, tuple[float, float]]:
    """Mean macro-F1 of ``a`` minus that of ``b`` over the seeds, and its 95 % interval: whole groups are resampled, the same ones for both."""
    mean, low, high = (value * CLASSES / classes for value in paired_difference(a, b, seed=_SEED))  # a class that does not occur counts 0 there
    return mean, (low, high)
