"""Macro-F1 of held-out frames by fold and over all folds, from one confusion matrix per subject."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from abaw_ray.scoring.metrics import macro_f1, per_class_f1


@dataclass(frozen=True, kw_only=True)
class FoldMetrics:
    """Macro-F1 of held-out frames."""

    folds: tuple[float, ...]
    """One value per fold, in ascending order of the folds."""
    pooled: float
    """Macro-F1 of all frames of all folds together."""
    per_class: tuple[float, ...]
    """F1 of each class over all frames of all folds."""

    @property
    def mean(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.folds))

    @property
    def std(self) -> float:
        """Population standard deviation over the folds (the usual convention for five-fold results)."""
        return float(np.std(self.folds))


def fold_metrics(matrices: Int[np.ndarray, "subjects 8 8"], member: Bool[np.ndarray, "folds subjects"]) -> FoldMetrics:
    """Metrics per fold and pooled, from one matrix per subject; ``member`` masks the subjects that each fold holds out."""
    by_fold = np.einsum("fv,vij->fij", member.astype(np.int64), matrices)
    pooled = by_fold.sum(axis=0)
    return FoldMetrics(
        folds=tuple(per_class_f1(by_fold).mean(axis=-1).tolist()), pooled=macro_f1(pooled), per_class=tuple(per_class_f1(pooled).tolist())
    )
