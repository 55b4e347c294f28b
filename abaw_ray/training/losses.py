"""Cross-entropy where classes are rare: from logits and labels to one number a sample, and how samples of all ranks add up to one loss.

Which rank holds which sample must not change a step, so a rank never divides by the weights of its own samples: it divides by those of the
whole global batch, which every rank knows from the labels alone.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from abaw_ray.core.expressions import class_weights
from abaw_ray.training.config import LossConfig


class ClassLoss:
    """Cross-entropy with the balance of one training set; classes without any sample weigh nothing."""

    def __init__(self, config: LossConfig, labels: Int[np.ndarray, " n"], classes: int) -> None:
        """Read the class counts of the training labels; labels below 0 do not count."""
        self.config = config
        count = np.bincount(labels[labels >= 0], minlength=classes).astype(np.float64)
        weights = class_weights(labels, classes) ** config.strength if config.balance == "weights" else np.ones(classes)
        self._counted = np.where(count > 0, weights, 0.0).astype(np.float32)  # read by threads that make batches, so never on a GPU
        self.weights = torch.from_numpy(self._counted)
        prior = np.log(np.maximum(count, 1) / max(count.sum(), 1))
        self.shift = torch.tensor(config.strength * prior if config.balance == "logits" else np.zeros(classes), dtype=torch.float32)

    def weight(self, labels: Int[np.ndarray, " n"]) -> float:
        """Sum of the weights of these samples: of a global batch, what its weighted losses are divided by."""
        return float(self._counted[labels].sum(dtype=np.float64))

    def __call__(self, logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Weighted loss of each sample; the loss of a step is their sum over all ranks, divided by ``weight`` of the global batch."""
        self.weights, self.shift = self.weights.to(logits.device), self.shift.to(logits.device)
        loss = functional.cross_entropy(logits.float() + self.shift, labels, reduction="none", label_smoothing=self.config.smoothing)
        return loss * self.weights[labels]
