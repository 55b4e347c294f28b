"""Members of a population fold by fold: on a CPU, what the candidates of one fold compute in a step stays in the cache.

The candidates of a fold share its rows, so reading and standardizing them and the random numbers of dropout are done once for all of them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from abaw_ray.fusion.population.members import MemberSetup
from abaw_ray.fusion.population.stacked import StackedMembers


class FoldBlocks:
    """All members; each fold takes all steps before the next one."""

    def __init__(self, setup: MemberSetup) -> None:
        """Build the model of each fold; all members have the same initial weights."""
        self._folds = [StackedMembers(setup.of_fold(fold)) for fold in range(len(setup.folds))]

    @property
    def average(self) -> dict[str, Tensor]:
        """As in ``Members``."""
        return {name: torch.cat([fold.average[name] for fold in self._folds], dim=1) for name in self._folds[0].average}

    def train_steps(
        self, rows: Int64[np.ndarray, "steps folds batch"], first_step: int, multipliers: Sequence[float]
    ) -> Float[Tensor, "candidates folds"]:
        """As in ``Members``."""
        losses = [fold.train_steps(rows[:, at : at + 1], first_step, multipliers) for at, fold in enumerate(self._folds)]
        return torch.cat(losses, dim=1)

    def predict(self, rows: Int64[np.ndarray, "folds n"]) -> Int64[np.ndarray, "candidates folds n"]:
        """As in ``Members``."""
        return np.concatenate([fold.predict(rows[at : at + 1]) for at, fold in enumerate(self._folds)], axis=1)

    def keep(self, kept: Sequence[int]) -> None:
        """As in ``Members``."""
        for fold in self._folds:
            fold.keep(kept)

    def weights(self, candidate: int) -> dict[str, Tensor]:
        """As in ``Members``."""
        parts = [fold.weights(candidate) for fold in self._folds]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
