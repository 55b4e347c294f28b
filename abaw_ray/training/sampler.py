"""Which samples a step sees: a function of seed and step alone, so that any number of ranks and restarts see the same.

Epochs are shuffled one by one and laid end to end; step k takes the k-th piece of this endless row, so no sample is ever left out.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Samples by step."""

    size: int
    """Samples in the set."""
    batch: int
    """Samples of a step, all ranks together."""
    seed: int
    _shuffled: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse an empty set."""
        if self.size < 1 or self.batch < 1:
            raise ConfigError(f"a sampler needs samples and a batch, got {self.size} samples and a batch of {self.batch}")

    @property
    def steps_per_epoch(self) -> int:
        """Whole number of steps nearest to one pass over the set, at least 1."""
        return max(1, round(self.size / self.batch))

    def indices(self, step: int) -> Int[np.ndarray, " batch"]:
        """Samples of a step, from 0; a sample is seen for the n-th time only after all were seen n - 1 times."""
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        rounds, within = np.divmod(places, self.size)
        return np.concatenate([self._round(int(number))[within[rounds == number]] for number in np.unique(rounds)])

    def share(self, step: int, rank: int, ranks: int) -> Int[np.ndarray, " share"]:
        """The part of a step's samples that one rank takes: equal pieces, in order.

        Raises:
            ConfigError: the ranks do not divide the batch.
        """
        if self.batch % ranks:
            raise ConfigError(f"global_batch={self.batch} cannot be shared by {ranks} workers; choose a multiple of {ranks}")
        part = self.batch // ranks
        return self.indices(step)[rank * part : (rank + 1) * part]

    def _round(self, number: int) -> np.ndarray:
        if number not in self._shuffled:
            for old in [key for key in list(self._shuffled) if key < number - 1]:  # a copy: batches are made in threads
                self._shuffled.pop(old, None)
            self._shuffled[number] = np.random.default_rng([self.seed, number]).permutation(self.size)
        return self._shuffled[number]
