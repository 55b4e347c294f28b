"""What the members of a population are built from, and what they read of a batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.network.heads import Windows
from abaw_ray.fusion.population.loss import PopulationLoss


class Batch(NamedTuple):
    """Vectors as extracted, with their masks, arrangement and labels, for rows (folds, n) or (n)."""

    visual: Tensor
    speech: Tensor
    seen: Tensor
    heard: Tensor
    windows: Windows | None
    """For a temporal head."""
    labels: Tensor


ReadBatch = Callable[[np.ndarray], Batch]
"""The batch of rows."""


class Moments(NamedTuple):
    """Mean and standard deviation of the training vectors of each fold."""

    mean: Float[Tensor, "folds width"]
    std: Float[Tensor, "folds width"]


@dataclass(frozen=True, kw_only=True)
class MemberSetup:
    """Candidates x folds, before the first step."""

    candidates: Sequence[FusionConfig]
    """Settings of one shape."""
    folds: Sequence[int]
    """Number of each fold, which seeds its dropout."""
    moments: tuple[Moments, Moments]
    """Of the visual and of the speech vectors."""
    loss: PopulationLoss
    read: ReadBatch
    device: torch.device

    @property
    def widths(self) -> tuple[int, int]:
        """Widths of the visual and of the speech vectors."""
        return self.moments[0].mean.shape[1], self.moments[1].mean.shape[1]

    def of_fold(self, fold: int) -> "MemberSetup":
        """The members of one fold, given by its position."""
        at = slice(fold, fold + 1)
        visual, speech = (Moments(one.mean[at], one.std[at]) for one in self.moments)
        return replace(self, folds=self.folds[at], moments=(visual, speech), loss=self.loss.of_fold(fold))


@runtime_checkable
class Members(Protocol):
    """Members in training: ``stacked`` and ``blocks`` compute the same in two ways."""

    @property
    def average(self) -> Mapping[str, Tensor]:
        """Averaged weights by parameter (candidates, folds, ...)."""
        ...

    def train_steps(
        self, rows: Int64[np.ndarray, "steps folds batch"], first_step: int, multipliers: Sequence[float]
    ) -> Float[Tensor, "candidates folds"]:
        """Take the steps of an epoch; returns the sum of the losses of each member.

        Args:
            rows: Rows of each step.
            first_step: Number of the first step, which seeds the dropout.
            multipliers: Fraction of every learning rate in each step.
        """
        ...

    def predict(self, rows: Int64[np.ndarray, "folds n"]) -> Int64[np.ndarray, "candidates folds n"]:
        """Classes by the averaged weights."""
        ...

    def keep(self, kept: Sequence[int]) -> None:
        """Continue with these candidates alone, given by their current positions."""
        ...

    def weights(self, candidate: int) -> dict[str, Tensor]:
        """Averaged weights of one candidate, by parameter (folds, ...), on the CPU."""
        ...
