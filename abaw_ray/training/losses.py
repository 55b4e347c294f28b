"""Cross-entropy where classes are rare: from logits and labels to one number a sample, and how samples of all ranks add up to one loss.

Which rank holds which sample must not change a step, so a rank never divides by the weights of its own samples: it divides by those of the
whole global batch, which every rank knows from the labels alone.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import class_weights


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """How rare classes are heard. The paper says only "cross-entropy"; all values ours."""

    balance: Literal["weights", "logits", "none"] = "weights"
    """``weights``: each sample counts n_max / n_c (several first places of earlier ABAW competitions). ``logits``: log priors are
    added to the logits in training only (Menon et al., Long-tail learning via logit adjustment, ICLR 2021). ``none``: neither."""
    strength: float = 1.0
    """Exponent of the weights, or factor of the log priors; 0 is the same as ``none``."""
    smoothing: float = 0.1
    """Share of a label's mass that is spread over all classes."""

    def __post_init__(self) -> None:
        """Refuse shares outside of 0 and 1."""
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"loss.smoothing={self.smoothing} must be at least 0 and below 1")
        if self.strength < 0:
            raise ConfigError(f"loss.strength={self.strength} must not be negative")


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
