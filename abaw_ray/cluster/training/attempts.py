"""Attempts at a training: each has a fixed number of workers, and between them the driver waits for machines.

Ray Train would wait too, but without a message or an answer to Ctrl-C, with a budget of failures that never resets, and, where it may vary the
number of workers, with numbers that do not divide the batch. So each attempt ends at the first failure, and this module decides what follows.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ray.train import TrainingFailedError

from abaw_ray.cluster.machines.recovery import RecoveryConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.waiting.notice import WaitNotice, with_reason
from abaw_ray.cluster.machines.waiting.on_demand import OnDemandRequest
from abaw_ray.cluster.machines.waiting.room import Room
from abaw_ray.cluster.training.sizes import largest
from abaw_ray.core.errors import StageError
from abaw_ray.core.units import duration_text

_LOG = logging.getLogger(__name__)
_POLL_S = 1.0
"""Seconds between two checks for room."""
FailureKind = Literal["not started", "preempted", "failed"]


@dataclass(frozen=True)
class Restart:
    """What every rank returns after a checkpoint, instead of metrics, so that the training continues with other workers."""

    workers: int = 0
    """Number of workers for which there is room; 0 for as many as before, on other machines, after a preemption notice."""


@dataclass(kw_only=True)
class Attempts:
    """Runs attempts until one of them completes the training."""

    fit: Callable[[int], dict | Restart]
    """Trains with this number of workers from the last checkpoint; raises ``TrainingFailedError``."""
    failure_kind: Callable[[TrainingFailedError], FailureKind]
    failure_error: Callable[[TrainingFailedError], Exception]
    """The error for the user."""
    checkpoints: Callable[[], int]
    """Number of checkpoints that have been reported in all attempts."""
    room: Room
    sizes: Sequence[int]
    """Allowed numbers of workers, the largest first."""
    worker: Resources
    """Size of a worker."""
    recovery: RecoveryConfig
    on_demand: OnDemandRequest
    show: Callable[[str], None]
    why: Callable[[], str] = lambda: ""
    """Why the autoscaler starts no machines; empty where nothing is known."""
    stage: str = "encoder"
    """Name of the stage, for messages."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _failures: int = field(default=0, init=False)
    """Since the last new checkpoint."""
    _preemptions: int = field(default=0, init=False)
    """Since the last new checkpoint."""
    _first_error: Exception | None = field(default=None, init=False)
    """Of the failures since the last new checkpoint: those after it are often consequences, such as processes that a full disk does not let start."""
    _idle_s: float = field(default=0.0, init=False)
    """Time without machines since the last new checkpoint, in seconds."""

    def run(self) -> dict:
        """Train to the end; returns the metrics.

        Raises:
            StageError: too many failures without a new checkpoint, or no machines for too long.
            AbawError: an error that another attempt cannot fix.
        """
        target = self.sizes[0]
        while True:
            workers = self._wait(target)
            before, started = self.checkpoints(), self.clock()
            try:
                result = self.fit(workers)
            except TrainingFailedError as error:
                self._reset_if_new_checkpoint(before)
                self._after_failure(error, self.clock() - started)
                target = workers
                continue
            if not isinstance(result, Restart):
                return result
            self._reset_if_new_checkpoint(before)
            target = result.workers or workers

    def _wait(self, target: int) -> int:
        """Wait for room for ``target`` workers, or, after some minutes, for fewer; returns the number to start."""
        notice, before = WaitNotice(self.show, self.clock), 0
        self.room.request(self.sizes[0])
        try:
            while (room := self.room.count()) < target:
                self._check_idle_time(target, notice.seconds)
                workers = largest(self.sizes, room)
                settled = room == before  # the workers of a machine that has just joined get their room one after the other
                if workers and settled and self._waited(notice) >= self.recovery.wait_minutes * 60:
                    self.show(f"starts with {workers} of {self.sizes[0]} workers; more are started after a checkpoint, as soon as they have room")
                    return workers
                notice.update(lambda room=room: self._missing(target, room))
                self.on_demand.update({self.worker: target - room})
                before = room
                self.sleep(_POLL_S)
            self._check_idle_time(target, notice.seconds)
            return largest(self.sizes, room)
        finally:
            self._idle_s += notice.seconds
            self.room.release()
            self.on_demand.release()

    def _waited(self, notice: WaitNotice) -> float:
        """Seconds since the wait began, or since on-demand machines were last requested: these need their time to become ready, too."""
        requested_at = self.on_demand.requested_at
        return notice.seconds if requested_at is None else self.clock() - requested_at

    def _missing(self, target: int, room: int) -> str:
        return with_reason(f"{target} workers with {self.worker.size_text} each; there is room for {room}", self.why())

    def _check_idle_time(self, target: int, seconds: float) -> None:
        hours = self.recovery.give_up_after_hours
        if self._idle_s + seconds > hours * 3600:
            raise StageError(
                f"{self.stage}: no machines for {target} workers with {self.worker.size_text} each in {duration_text(hours * 3600)}"
                f" (compute.recovery.give_up_after_hours); see `ray status`; the same command continues from the last checkpoint"
            )

    def _reset_if_new_checkpoint(self, before: int) -> None:
        if self.checkpoints() > before:
            self._failures, self._preemptions, self._first_error, self._idle_s = 0, 0, None, 0.0

    def _after_failure(self, error: TrainingFailedError, seconds: float) -> None:
        """Say what happened; raises the error for the user where the limit is reached."""
        _LOG.warning("an attempt at the training failed: %s", error)
        kind = self.failure_kind(error)
        if kind == "not started":
            self._idle_s += seconds
            self.show(f"the workers were not ready within {duration_text(seconds)}; this is tried again")
        elif kind == "preempted":
            self._preemptions += 1
            if self._preemptions > self.recovery.max_preemptions:
                raise StageError(
                    f"{self.stage}: machines were preempted {self._preemptions} times without a new checkpoint between them "
                    "(compute.recovery.max_preemptions); lower compute.recovery.checkpoint_minutes, or use on-demand machines; the same command "
                    "continues from the last checkpoint"
                ) from error
            self.show("a machine was preempted; continues from the last checkpoint")
        else:
            self._failures += 1
            latest = self.failure_error(error)
            self._first_error = self._first_error or latest
            if self._failures > self.recovery.max_failures:
                raise self._first_error from error
            text, limit = str(latest).removeprefix(f"{self.stage}: "), self.recovery.max_failures
            self.show(f"{text} (failure {self._failures}, at most {limit} without a new checkpoint)")
