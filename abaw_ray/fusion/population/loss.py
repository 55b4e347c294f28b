"""Balanced cross-entropy of the members of a population: weights from the class counts of a fold's training rows, settings of a candidate."""

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from abaw_ray.core.expressions import class_counts
from abaw_ray.scoring.metrics import CLASSES
from abaw_ray.training.config import LossConfig
from abaw_ray.training.losses import balancing


class PopulationLoss:
    """The loss of every member."""

    def __init__(self, configs: Sequence[LossConfig], labels_of_folds: Sequence[np.ndarray], device: torch.device) -> None:
        """Count the classes of each fold's labels."""
        counts = [class_counts(labels, CLASSES) for labels in labels_of_folds]
        values = np.array([[balancing(config, count) for count in counts] for config in configs])
        self.weights, self.adjustment = torch.tensor(values, dtype=torch.float32, device=device).unbind(dim=2)
        self.smoothing = torch.tensor([config.label_smoothing for config in configs], device=device).view(-1, 1, 1)

    def __call__(self, logits: Float[Tensor, "candidates folds n 8"], labels: Int64[Tensor, "folds n"]) -> Float[Tensor, "candidates folds"]:
        """Weighted mean of each member's losses over the rows with a label of 0 or more."""
        log_probabilities = functional.log_softmax(logits + self.adjustment[:, :, None], dim=-1)
        index = labels.clamp(min=0).expand(len(logits), -1, -1)
        correct = log_probabilities.gather(-1, index[..., None]).squeeze(-1)
        losses = -(1 - self.smoothing) * correct - self.smoothing * log_probabilities.mean(dim=-1)
        weights = self.weights.gather(-1, index) * (labels >= 0)
        return _sum_rows(losses * weights) / _sum_rows(weights).clamp(min=1e-12)

    def of_fold(self, fold: int) -> "PopulationLoss":
        """The loss of the members of one fold."""
        part = copy(self)
        part.weights, part.adjustment = self.weights[:, fold : fold + 1], self.adjustment[:, fold : fold + 1]
        return part

    def keep(self, kept: Int64[Tensor, " candidates"]) -> None:
        """Continue with these candidates alone."""
        self.weights, self.adjustment, self.smoothing = self.weights[kept], self.adjustment[kept], self.smoothing[kept]


def _sum_rows(values: Float[Tensor, "candidates folds n"]) -> Float[Tensor, "candidates folds"]:
    """Sums over the rows: on a CPU each by itself, for the rounding of a sum over one of several dimensions depends on the shape of the whole."""
    if values.device.type != "cpu":
        return values.sum(dim=-1)
    return torch.stack([one.sum() for one in values.flatten(0, 1).unbind()]).view(values.shape[:2])
