"""Losses of a rank's steps: averaged over the ranks once in a while, summed over the epoch, and written as events."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from abaw_ray.core.errors import StageError
from abaw_ray.training.events import EventLog
from abaw_ray.training.optim import OptimConfig, lr_multiplier


def check_finite(loss: float, step: int, optim: OptimConfig) -> float:
    """The loss.

    Raises:
        StageError: it is not finite.
    """
    if not math.isfinite(loss):
        remedy = f"lower optim.lr={optim.lr:g} or raise optim.warmup_ratio={optim.warmup_ratio:g}"
        raise StageError(f"encoder: the loss is not finite by step {step}; {remedy}")
    return loss


class LossLog:
    """Collects the losses on the device, so that no step waits for them."""

    def __init__(self, optim: OptimConfig, total_steps: int, mean_over_ranks: Callable[[Tensor], Tensor], events: EventLog | None) -> None:
        """Begin an empty log.

        Args:
            optim: Gives the learning rate of the events.
            total_steps: Number of steps of the whole training.
            mean_over_ranks: Mean of a vector over the ranks.
            events: Where the events go; None on all ranks but one.
        """
        self._optim, self._total_steps, self._mean, self._events = optim, total_steps, mean_over_ranks, events
        self._losses: list[Tensor] = []
        self._times: list[float] = []

    def add(self, loss: Tensor) -> None:
        """Add the loss of one step."""
        self._losses.append(loss)
        self._times.append(time.time())

    def sum(self, step: int) -> float:
        """Sum of the losses since the last call, each averaged over the ranks; writes their events. All ranks call this together.

        Args:
            step: Number of steps taken.

        Raises:
            StageError: the sum is not finite.
        """
        if not self._losses:
            return 0.0
        means = self._mean(torch.stack(self._losses)).tolist()
        if self._events:
            for before, (loss, moment) in enumerate(zip(means, self._times, strict=True), start=step - len(means)):
                self._events.add("train/loss", loss, before + 1, moment)
                self._events.add("train/learning_rate", self._optim.lr * lr_multiplier(before, self._total_steps, self._optim), before + 1, moment)
        self._losses, self._times = [], []
        return check_finite(sum(means), step, self._optim)
