"""Preemption notices: when the ranks of a training look for them, at the same step on every rank."""

import time
from collections.abc import Callable

import ray.train
import torch
from torch import Tensor


def preempted_nodes() -> frozenset[str]:
    """IDs of this training's nodes for which Ray has a preemption notice."""
    info = ray.train.get_preemption_info()
    return frozenset(info.preempted_node_ids if info else ())


class PreemptionPoll:
    """Looks for new notices about every few seconds."""

    def __init__(self, nodes: Callable[[], frozenset[str]] | None, interval_s: float, mean_over_ranks: Callable[[Tensor], Tensor], step: int) -> None:
        """Begin at a step.

        Args:
            nodes: Returns the IDs of nodes with a notice; all ranks call it together. None where nodes are not preempted.
            interval_s: Seconds between two calls.
            mean_over_ranks: Mean of a vector over the ranks.
            step: Number of steps taken.
        """
        self._nodes, self._interval_s, self._mean = nodes, interval_s, mean_over_ranks
        self._handled: frozenset[str] = frozenset()
        self._last, self._next_step = (step, time.monotonic()), step

    def new_nodes(self, step: int, epoch_end: int) -> frozenset[str]:
        """IDs of nodes whose notice was not returned before; empty between two polls. All ranks call this after the same steps.

        Args:
            step: Number of steps taken.
            epoch_end: Number of steps at the end of the present epoch. The next epoch begins with a poll: validation and the checkpoint between two
                epochs may take longer than their steps, and the duration of the steps alone would put the next poll many epochs ahead.
        """
        if self._nodes is None or step < self._next_step:
            return frozenset()
        new = self._nodes() - self._handled
        self._handled |= new
        self._schedule(step, epoch_end)
        return new

    def _schedule(self, step: int, epoch_end: int) -> None:
        """Set the step of the next poll from the mean duration of the steps since the last one; it is the same step on every rank."""
        last_step, moment = self._last
        self._last = (step, time.monotonic())
        seconds = float(self._mean(torch.tensor((self._last[1] - moment) / max(step - last_step, 1))))
        self._next_step = min(step + max(1, int(self._interval_s / max(seconds, 1e-3))), max(epoch_end, step) + 1)
