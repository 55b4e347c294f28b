"""Trains a population with successive halving: after some epochs, the better half of the candidates continues.

Candidates are compared by macro-F1 of held-out frames without smoothing. The number of epochs is chosen afterwards: for the candidates that reach the
end, the weights of every epoch that can be chosen are kept.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from abaw_ray.fusion.population.config import HalvingConfig
from abaw_ray.fusion.population.epochs import choose_epochs
from abaw_ray.fusion.population.training import Population
from abaw_ray.scoring.metrics import macro_f1

OnEpoch = Callable[[int, int], None]
"""Called after each epoch with its number and the number of candidates that were trained."""


@dataclass
class Curve:
    """One candidate's epochs."""

    loss: list[float] = field(default_factory=list)
    """Mean over the folds, by epoch."""
    counts: list[Int64[np.ndarray, "folds 8 8"]] = field(default_factory=list)
    """Confusion matrices of held-out frames without smoothing, by epoch."""
    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    """Averaged weights of all folds by epoch, from 1; empty for a candidate that was stopped."""

    def add_weights(self, weights: Callable[[], dict[str, Tensor]], *, all_epochs: bool) -> None:
        """Keep the weights of the epochs that ``choose_epochs`` can choose, the last one among them or not; or those of all epochs."""
        last = len(self.counts)
        kept = set(range(1, last + 1)) if all_epochs else choose_epochs(np.stack(self.counts)).numbers
        self.weights = {epoch: values for epoch, values in self.weights.items() if epoch in kept}
        if last in kept:
            self.weights[last] = weights()

    def macro_f1(self) -> list[float]:
        """Macro-F1 over the frames of all folds together, by epoch."""
        return [macro_f1(counts.sum(axis=0)) for counts in self.counts]

    def plain(self) -> list[dict[str, Any]]:
        """One row per epoch, for tables."""
        rows = zip(self.loss, self.counts, self.macro_f1(), strict=True)
        return [
            {"epoch": number, "loss": loss, "macro_f1": score, "folds": [macro_f1(fold) for fold in counts]}
            for number, (loss, counts, score) in enumerate(rows, 1)
        ]


def train_with_halving(
    population: Population,
    epochs: int,
    config: HalvingConfig,
    on_epoch: OnEpoch | None = None,
    *,
    all_epochs: bool,
    never_stopped: Collection[int] = (),
) -> list[Curve]:
    """Train all candidates, fewer after every rung; returns their curves in the order of the candidates.

    Args:
        population: The candidates, not trained yet; afterwards it holds those that reached the last epoch.
        epochs: Epochs of the candidates that are never stopped.
        config: The rungs.
        on_epoch: Called after each epoch; an exception in it ends the training.
        all_epochs: Keep the weights of all epochs; needed where these curves alone do not decide the number of epochs.
        never_stopped: Candidates that reach the last epoch besides the best. They are ranked like the others, so where they are poor, one candidate
            in ``config.reduction`` continues, and they do.
    """
    curves = [Curve() for _ in population.candidates]
    alive = list(range(len(curves)))
    for epoch in range(1, epochs + 1):
        losses, counts = population.train_epoch().mean(axis=1), population.score()
        for position, candidate in enumerate(alive):
            curves[candidate].loss.append(float(losses[position]))
            curves[candidate].counts.append(counts[position])
            curves[candidate].add_weights(partial(population.weights, position), all_epochs=all_epochs)
        if on_epoch:
            on_epoch(epoch, len(alive))
        if config.is_rung(epoch) and epoch < epochs and len(alive) > config.finalists:
            best = best_positions([max(curves[candidate].macro_f1()) for candidate in alive], config)
            kept = [position for position, candidate in enumerate(alive) if position in best or candidate in never_stopped]
            for position in set(range(len(alive))) - set(kept):
                curves[alive[position]].weights.clear()
            alive = [alive[position] for position in kept]
            population.keep(kept)
    return curves


def best_positions(scores: Sequence[float], config: HalvingConfig) -> list[int]:
    """Positions of the candidates that continue, ascending; among equal scores, the first."""
    return sorted(np.argsort(-np.asarray(scores), kind="stable")[: config.continuing(len(scores))].tolist())
