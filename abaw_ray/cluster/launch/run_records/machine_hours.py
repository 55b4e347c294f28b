"""Machine hours of a run: how many machines of which type were there, sampled while it runs."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from abaw_ray.cluster.machines.autoscaler import machine_types
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.repeated import repeated

_logger = logging.getLogger(__name__)
_INTERVAL_S = 15.0
"""Seconds between two samples. Ours."""
THIS_MACHINE = "this machine"


def machines_now(session: RaySession) -> Mapping[str, int]:
    """Type of machine -> number of machines that are paid for now: those of the joined cluster, also those that are starting, or this one.

    Nothing where the cluster is not joined yet, or does not answer.
    """
    return machine_types(starting=not session.size_unknown) if session.shared else {THIS_MACHINE: 1}


class MachineHours:
    """Adds up the hours of the machines by stage, in a thread of its own, while the block of ``sampled`` runs."""

    def __init__(
        self, machines: Callable[[], Mapping[str, int]], clock: Callable[[], float] = time.monotonic, on_sample: Callable[[], None] = lambda: None
    ) -> None:
        """``on_sample`` is called after each sample of the thread."""
        self._machines, self._clock, self._on_sample = machines, clock, on_sample
        self._stage, self._last, self._known = "", clock(), dict[str, int]()
        self._hours: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def sampled(self) -> Iterator[None]:
        """Take samples while the block runs, and the last one at its end."""
        try:
            with repeated(self._sample_again, _INTERVAL_S, end_s=_INTERVAL_S):
                yield
        finally:
            self.sample()

    def begin(self, stage: str) -> None:
        """The hours from now on are those of this stage."""
        self.sample()
        self._stage = stage

    def of(self, stage: str) -> dict[str, float]:
        """Type of machine -> hours in this stage so far."""
        with self._lock:
            return {kind: round(hours, 4) for kind, hours in self._hours.get(stage, {}).items()}

    def sample(self) -> None:
        """Add the time since the last sample for the machines that are there now; a cluster that does not answer counts as at its last answer."""
        machines = self._answer()
        with self._lock:
            machines = self._known = dict(machines or self._known)
            now = self._clock()
            hours, self._last = (now - self._last) / 3600, now
            counter = self._hours.setdefault(self._stage, Counter())
            for kind, count in machines.items():
                counter[kind] += count * hours  # pyright: ignore[reportArgumentType] (a Counter adds any numbers)

    def _answer(self) -> Mapping[str, int]:
        try:
            return self._machines()
        except Exception:  # of Ray: the run itself goes on, and so do the hours
            _logger.debug("The machines could not be counted", exc_info=True)
            return {}

    def _sample_again(self) -> None:
        self.sample()
        self._on_sample()
