"""Class-balanced cross-entropy: logits and labels -> one loss per sample; and the sum of weights that normalizes a global batch.

The distribution of samples over ranks must not change a step. Therefore a rank does not divide by the weights of its own samples; it divides by the
sum of weights of the whole global batch, which every rank computes from the labels alone.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.nn import functional

from abaw_ray.core.expressions import class_counts, class_weights
from abaw_ray.training.config import LossConfig


def balancing(config: LossConfig, count: Float64[np.ndarray, " classes"]) -> tuple[Float64[np.ndarray, " classes"], Float64[np.ndarray, " classes"]]:
    """Weight of a sample of each class and what is added to the class's logit, from the class counts; weight 0 for a class without samples."""
    weights = class_weights(count) ** config.balancing_power if config.class_balancing == "weights" else np.ones(len(count))
    prior = np.log(np.where(count > 0, count, 1) / max(count.sum(), np.finfo(float).tiny))
    adjustment = config.balancing_power * prior if config.class_balancing == "logits" else np.zeros(len(count))
    return np.where(count > 0, weights, 0.0), adjustment


class ClassLoss:
    """Cross-entropy balanced by the class counts of one training set; classes without samples have weight 0."""

    def __init__(
        self, config: LossConfig, labels: Int[np.ndarray, " n"], classes: int, sample_weights: Float64[np.ndarray, " n"] | None = None
    ) -> None:
        """Count the classes of the training labels, each sample by its weight; negative labels are ignored."""
        self.config = config
        count = class_counts(labels, classes, sample_weights)
        weights, adjustment = balancing(config, count)
        self._host_weights = weights.astype(np.float32)  # read by prefetching threads, so never on a GPU
        self.weights = torch.from_numpy(self._host_weights)
        self.logit_adjustment = torch.tensor(adjustment, dtype=torch.float32)

    def weight_sum(self, labels: Int[np.ndarray, " n"], sample_weights: Float64[np.ndarray, " n"] | None = None) -> float:
        """Sum of the weights of these samples; the weighted losses of a global batch are divided by its weight sum.

        Args:
            labels: Classes of the samples.
            sample_weights: Weights of the samples by which the caller multiplies their losses.
        """
        weights = self._host_weights[labels] if sample_weights is None else self._host_weights[labels] * sample_weights
        return float(weights.sum(dtype=np.float64))

    def __call__(self, logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Weighted loss of each sample. The loss of a step is the sum over all ranks, divided by ``weight_sum`` of the global batch."""
        self.weights, self.logit_adjustment = self.weights.to(logits.device), self.logit_adjustment.to(logits.device)
        adjusted = logits.float() + self.logit_adjustment
        loss = functional.cross_entropy(adjusted, labels, reduction="none", label_smoothing=self.config.label_smoothing)
        return loss * self.weights[labels]
