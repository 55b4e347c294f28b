"""Class-balanced cross-entropy: logits and labels -> one loss per sample; and the sum of weights that normalises a global batch.

The distribution of samples over ranks must not change a step. Therefore a rank does not divide by the weights of its own samples; it divides by the
sum of weights of the whole global batch, which every rank computes from the labels alone.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from abaw_ray.core.expressions import class_weights
from abaw_ray.training.config import LossConfig


class ClassLoss:
    """Cross-entropy balanced by the class counts of one training set; classes without samples have weight 0."""

    def __init__(self, config: LossConfig, labels: Int[np.ndarray, " n"], classes: int) -> None:
        """Count the classes of the training labels; negative labels are ignored."""
        self.config = config
        count = np.bincount(labels[labels >= 0], minlength=classes).astype(np.float64)
        weights = class_weights(labels, classes) ** config.balancing_power if config.class_balancing == "weights" else np.ones(classes)
        self._host_weights = np.where(count > 0, weights, 0.0).astype(np.float32)  # read by prefetching threads, so never on a GPU
        self.weights = torch.from_numpy(self._host_weights)
        prior = np.log(np.maximum(count, 1) / max(count.sum(), 1))
        adjustment = config.balancing_power * prior if config.class_balancing == "logits" else np.zeros(classes)
        self.logit_adjustment = torch.tensor(adjustment, dtype=torch.float32)

    def weight_sum(self, labels: Int[np.ndarray, " n"]) -> float:
        """Sum of the weights of these samples; the weighted losses of a global batch are divided by its weight sum."""
        return float(self._host_weights[labels].sum(dtype=np.float64))

    def __call__(self, logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Weighted loss of each sample. The loss of a step is the sum over all ranks, divided by ``weight_sum`` of the global batch."""
        self.weights, self.logit_adjustment = self.weights.to(logits.device), self.logit_adjustment.to(logits.device)
        adjusted = logits.float() + self.logit_adjustment
        loss = functional.cross_entropy(adjusted, labels, reduction="none", label_smoothing=self.config.label_smoothing)
        return loss * self.weights[labels]
