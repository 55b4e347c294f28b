"""Sample indices of each step: a function of seed and step alone, so that any number of ranks and restarts use the same samples.

Epochs are shuffled separately and concatenated; step k takes the k-th batch of this endless sequence, so no sample is left out.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Sample indices by step."""

    size: int
    """Samples in the set."""
    global_batch_size: int
    """Samples of a step, over all ranks."""
    seed: int
    """Seed of the shuffling."""
    _permutations: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse an empty set."""
        if self.size < 1 or self.global_batch_size < 1:
            raise ConfigError(f"a sampler needs samples and a batch size, got {self.size} samples and a batch size of {self.global_batch_size}")

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps nearest to one pass over the set, at least 1."""
        return max(1, round(self.size / self.global_batch_size))

    def indices(self, step: int) -> Int[np.ndarray, " global_batch_size"]:
        """Indices of a step's samples, from 0; a sample occurs for the n-th time only after all have occurred n - 1 times."""
        positions = np.arange(step * self.global_batch_size, (step + 1) * self.global_batch_size)
        epochs, offsets = np.divmod(positions, self.size)
        return np.concatenate([self._permutation(int(epoch))[offsets[epochs == epoch]] for epoch in np.unique(epochs)])

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch not in self._permutations:
            for old in [
                key for key in list(self._permutations) if key < epoch - 1
            ]:  # a copy of the keys: prefetching threads call this at the same time
                self._permutations.pop(old, None)
            self._permutations[epoch] = np.random.default_rng([self.seed, epoch]).permutation(self.size)
        return self._permutations[epoch]
