"""The candidates of the search of Stage I's hyperparameters, and how many epochs their trials take together."""

import math
from typing import Any

import numpy as np

from abaw_ray.encoder.search.config import EncoderSearchConfig


def sample_candidates(config: EncoderSearchConfig) -> list[dict[str, Any]]:
    """Overrides of the encoder's settings by dotted path, one mapping per trial; the first is empty. A larger search extends a smaller one."""
    rng, space = np.random.default_rng(config.seed), config.space
    candidates: list[dict[str, Any]] = [{}]
    for _ in range(config.trials - 1):
        candidates.append(
            {
                "optim.lr": float(f"{np.exp(rng.uniform(*np.log(space.lr))):.2e}"),
                "optim.layer_decay": float(rng.choice(space.layer_decay)),
                "augment.strength": float(rng.choice(space.strength)),
            }
        )
    return candidates


def expected_epochs(config: EncoderSearchConfig) -> int:
    """Expected number of epochs of all trials together, if their scores at a rung come in random order."""
    alive, total, rung = float(config.trials), 0.0, config.grace_epochs
    for epoch in range(1, config.epochs + 1):
        total += alive
        if epoch == rung:
            alive, rung = _continuing(alive, config.reduction), rung * config.reduction
    return round(total)


def _continuing(trials: float, reduction: int) -> float:
    """Expected number of trials that continue after a rung.

    A trial continues unless its score is below the interpolated (1 - 1 / ``reduction``) quantile of the earlier ones there. So the first one always
    continues, and the one after n others with probability (n + reduction - 1) / (reduction * (n + 1)).
    """
    probabilities = [1.0] + [(n + reduction - 1) / (reduction * (n + 1)) for n in range(1, math.ceil(trials))]
    return sum(probabilities[:-1]) + (trials - len(probabilities) + 1) * probabilities[-1]
