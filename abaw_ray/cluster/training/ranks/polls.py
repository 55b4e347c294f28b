"""What the ranks of a training look for within an epoch, at the same step on every rank: preemption notices, and a checkpoint that is due."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import ray.train
import torch
from torch import Tensor

from abaw_ray.cluster.machines.compute import ComputeConfig


def preempted_nodes() -> frozenset[str]:
    """IDs of this training's nodes for which Ray has a preemption notice."""
    info = ray.train.get_preemption_info()
    return frozenset(info.preempted_node_ids if info else ())


@dataclass(frozen=True)
class Poll:
    """What one look has found; the same on every rank."""

    preempted: frozenset[str] = frozenset()
    """IDs of nodes with a notice that was not returned before."""
    checkpoint_due: bool = False
    """Whether the last checkpoint is old."""

    @property
    def checkpoint(self) -> bool:
        """Whether a checkpoint is to be written now."""
        return bool(self.preempted) or self.checkpoint_due


_NOTHING = Poll()


class RankPolls:
    """Looks for notices and for the age of the last checkpoint about every few seconds."""

    def __init__(
        self, nodes: Callable[[], frozenset[str]] | None, compute: ComputeConfig, mean_over_ranks: Callable[[Tensor], Tensor], step: int
    ) -> None:
        """Begin at a step.

        Args:
            nodes: Returns the IDs of nodes with a notice; all ranks call it together. None where nodes are not preempted.
            compute: Gives the time between two looks, and between two checkpoints.
            mean_over_ranks: Mean of a vector over the ranks.
            step: Number of steps taken.
        """
        self._nodes, self._mean = nodes, mean_over_ranks
        self._interval_s, self._checkpoint_s = compute.preemption_poll_s, compute.recovery.checkpoint_minutes * 60
        self._handled: frozenset[str] = frozenset()
        self._last, self._next_step = (step, time.monotonic()), step
        self._saved = time.monotonic()

    def saved(self) -> None:
        """A checkpoint has been written."""
        self._saved = time.monotonic()

    def after(self, step: int, epoch_end: int) -> Poll:
        """What is to be done after this step; nothing between two looks. All ranks call this after the same steps.

        Args:
            step: Number of steps taken.
            epoch_end: Number of steps at the end of the present epoch. The next epoch begins with a look: validation and the checkpoint between two
                epochs may take longer than their steps, and the duration of the steps alone would put the next one many epochs ahead.
        """
        if step < self._next_step:
            return _NOTHING
        new = self._nodes() - self._handled if self._nodes else frozenset()
        self._handled |= new
        return Poll(new, checkpoint_due=self._schedule(step, epoch_end) >= self._checkpoint_s)

    def _schedule(self, step: int, epoch_end: int) -> float:
        """Set the step of the next look from the mean duration of the steps since the last one; returns the age of the last checkpoint in seconds.

        Both are means over the ranks, so that every rank takes the same decision.
        """
        (last_step, moment), now = self._last, time.monotonic()
        self._last = (step, now)
        seconds, age = self._mean(torch.tensor([(now - moment) / max(step - last_step, 1), now - self._saved])).tolist()
        self._next_step = min(step + max(1, int(self._interval_s / max(seconds, 1e-3))), max(epoch_end, step) + 1)
        return age
