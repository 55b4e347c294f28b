"""Dropout of hidden units and of modalities, whose random numbers depend on the seed and the step alone and are shared by all candidates.

So a candidate of a population trains as it would alone: a member's mask is where the shared numbers are below its own probability.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from abaw_ray.fusion.config import FusionConfig


class TrainingNoise:
    """The random numbers of one step; each call draws the next ones. A fold has its own, whichever others are trained beside it."""

    def __init__(self, candidates: Sequence[FusionConfig], folds: Sequence[int], seed: int, step: int, device: torch.device) -> None:
        """Seed the generators of this step, one for each fold by its number."""
        self._generators = [torch.Generator(device).manual_seed((seed * 1_000_003 + step) * 1_009 + number) for number in folds]
        self._dropout, self._modality_dropout = (
            torch.tensor([getattr(one, name) for one in candidates], device=device) for name in ("dropout", "modality_dropout")
        )

    def hidden(self, x: Float[Tensor, "candidates folds n width"]) -> Float[Tensor, "candidates folds n width"]:
        """Hidden units, each set to 0 with its candidate's probability and else enlarged, so that their expectation stays."""
        rate = self._dropout.view(-1, 1, 1, 1)
        return x * ((self._uniform(x.shape[1:], x.device) >= rate) / (1 - rate))

    def modalities(
        self, seen: Bool[Tensor, "folds n"], heard: Bool[Tensor, "folds n"]
    ) -> tuple[Bool[Tensor, "candidates folds n"], Bool[Tensor, "candidates folds n"]]:
        """Masks with one modality removed from some frames that have both, so that each alone can be classified."""
        uniform, half = self._uniform(seen.shape, seen.device), self._modality_dropout.view(-1, 1, 1) / 2
        both = seen & heard
        return seen & ~(both & (uniform < half)), heard & ~(both & (uniform > 1 - half))

    def _uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return torch.stack([torch.rand(tuple(shape[1:]), generator=generator, device=device) for generator in self._generators])


def dropout(x: Tensor, noise: TrainingNoise | None) -> Tensor:
    """Hidden units after the dropout of a training step; unchanged without noise."""
    return x if noise is None else noise.hidden(x)
