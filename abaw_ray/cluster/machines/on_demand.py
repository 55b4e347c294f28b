"""On-demand machines for workers that have waited long for spot machines.

Autoscaler v2 starts a type of machines again and again while the cloud refuses it, whatever the priority of another type (``docs/ray.md``). So the
driver, which measures how long workers have waited, requests on-demand machines by their label. The workers request no label: they take the room of
the machines that have joined, of either kind.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from abaw_ray.cluster.machines.autoscaler import starting_machines
from abaw_ray.cluster.machines.capacity import ON_DEMAND, Machine, max_workers, on_demand_machines, running_machines
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.room import PlacementGroups, Room
from abaw_ray.core.units import duration_text


def _request(size: Resources) -> Room:
    # Ray's autoscaler places groups of this strategy first; else other requests might take a machine that is starting, and another one is started
    return PlacementGroups(size, labels=ON_DEMAND, strategy="STRICT_PACK")


@dataclass(frozen=True)
class _Requested:
    room: Room
    machines: int
    workers: int
    """Per machine."""


@dataclass(kw_only=True)
class OnDemandRequest:
    """Requests on-demand machines for workers of whose size no machine has run for some time.

    A request is for whole machines. It is taken back when as many on-demand machines are starting, which then count as room for the workers, or when
    a machine for these workers runs. It is repeated after the same time, since a machine may fail to start.
    """

    after_minutes: float
    """Time without a machine before one is requested; 0 for never."""
    show: Callable[[str], None]
    """Shows a line to the user."""
    request: Callable[[Resources], Room] = _request
    """Size of the part of a machine that is requested -> a request for machines on demand."""
    machines: Callable[[], list[Machine]] = on_demand_machines
    """The on-demand machines that may start."""
    running: Callable[[], list[Machine]] = running_machines
    starting: Callable[[], int] = starting_machines
    """Number of on-demand machines that are starting."""
    clock: Callable[[], float] = time.monotonic
    requested_at: float | None = field(default=None, init=False)
    """When machines were last requested in this wait, on ``clock``."""
    _since: dict[Resources, float] = field(default_factory=dict, init=False)
    """Size of a worker -> when it was first without a machine, or when one was last requested."""
    _requests: dict[Resources, _Requested] = field(default_factory=dict, init=False)
    """Size of a worker -> what is requested for it."""

    def update(self, missing: Mapping[Resources, int]) -> None:
        """Make a request if it is time for one, and take back those that have had their effect.

        Args:
            missing: Size of a worker -> number of workers without room.
        """
        running, now = self.running(), self.clock()
        without_machine = {size: count for size, count in missing.items() if count > 0 and not max_workers(running, size)}
        self._since = {size: self._since.get(size, now) for size in without_machine}
        for size, requested in list(self._requests.items()):
            if size not in without_machine or self.starting() >= requested.machines:
                self._requests.pop(size).room.release()
        for size, count in without_machine.items():
            if self.after_minutes and now - self._since[size] >= 60 * self.after_minutes:
                self._start(size, count, now)

    def _start(self, size: Resources, count: int, now: float) -> None:
        waited, self._since[size] = now - self._since[size], now
        if size in self._requests:
            self._requests.pop(size).room.release()
        fitting = [(machine, size.per_machine(machine.resources)) for machine in _of_the_same_kind(self.machines(), size)]
        machine, workers = next(((machine, workers) for machine, workers in fitting if workers), (None, 0))
        if machine is None:
            return
        each = min(workers, count)
        machines = min(math.ceil(count / each), machine.count)
        room = self.request(replace(size, cpus=each * size.cpus, gpus=each * size.gpus, memory_gb=each * size.memory_gb))
        room.request(machines)
        self._requests[size], self.requested_at = _Requested(room, machines, each), now
        named = f"{machines} on-demand {'machine' if machines == 1 else 'machines'}"
        workers_text = f"{count} {'worker' if count == 1 else 'workers'} with {size.size_text}"
        self.show(f"no machine in {duration_text(waited)}; requests {named} for {workers_text} (compute.on_demand_after_minutes)")

    def counted(self, size: Resources) -> int:
        """Number of requests of exactly this size: Ray counts them among those of the workers."""
        requested = self._requests.get(size)
        return requested.machines if requested and requested.workers == 1 else 0

    def release(self) -> None:
        """Take back what is requested, at the end of the wait; machines that have joined end when they are idle."""
        self.requested_at = None
        self._since.clear()
        while self._requests:
            self._requests.popitem()[1].room.release()


def _of_the_same_kind(machines: list[Machine], size: Resources) -> list[Machine]:
    """Those with GPUs for workers with GPUs, and those without for others: work on CPUs is not worth the price of a GPU."""
    return [machine for machine in machines if bool(machine.resources.get("GPU")) == bool(size.gpus)]
