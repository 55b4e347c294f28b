"""The number of epochs of a candidate, read off its held-out scores."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from abaw_ray.scoring.metrics import per_class_f1


@dataclass(frozen=True)
class EpochChoice:
    """Numbers of epochs, from 1, with the highest macro-F1 of held-out frames without smoothing."""

    final: int
    """Chosen on all folds."""
    without_fold: tuple[int, ...]
    """For each fold, chosen on the others: with it, the fold's scores are free of the choice."""

    @property
    def numbers(self) -> frozenset[int]:
        """All these numbers."""
        return frozenset((self.final, *self.without_fold))


def choose_epochs(counts: Int64[np.ndarray, "epochs folds 8 8"]) -> EpochChoice:
    """The choice from the confusion matrices of every epoch and fold; among equal scores, the fewest epochs."""
    total = counts.sum(axis=1, keepdims=True)
    scores = per_class_f1(np.concatenate([total, total - counts], axis=1)).mean(axis=-1)
    final, *without_fold = (1 + int(epoch) for epoch in scores.argmax(axis=0))
    return EpochChoice(final, tuple(without_fold))
