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
from abaw_ray.cluster.machines.waiting.room import PlacementGroups, Room
from abaw_ray.core.units import duration_text


def _request(size: Resources) -> Room:
    # Ray's autoscaler places groups of this strategy first; else other requests might take a machine that is starting, and another one is started
    return PlacementGroups(size, labels=ON_DEMAND, strategy="STRICT_PACK")


@dataclass(frozen=True)
class _Need:
    """Machines for workers of one size."""

    machines: int
    types: tuple[str, ...]
    """Node types of which they may be."""
    workers: int
    """Per machine."""


@dataclass(kw_only=True)
class OnDemandRequest:
    """Requests on-demand machines for workers of whose size no machine has run for some time.

    A request is for machines with room for all of these workers. It is taken back when as many are starting, which then count as room for the
    workers, or when a machine for them runs. It is repeated after the same time, since the cloud may have refused it.
    """

    after_minutes: float
    """Time without a machine before one is requested; 0 for never."""
    show: Callable[[str], None]
    """Shows a line to the user."""
    request: Callable[[Resources], Room] = _request
    """Size of the part of a machine that is requested -> a request for machines on demand."""
    machines: Callable[[], Mapping[str, Machine]] = on_demand_machines
    """Node type -> the on-demand machines that may start."""
    running: Callable[[], list[Machine]] = running_machines
    starting: Callable[[], Mapping[str, int]] = starting_machines
    """Node type -> number of machines that are starting."""
    clock: Callable[[], float] = time.monotonic
    requested_at: float | None = field(default=None, init=False)
    """When machines were last requested in this wait, on ``clock``."""
    _since: dict[Resources, float] = field(default_factory=dict, init=False)
    """Size of a worker -> when it was first without a machine."""
    _due: dict[Resources, float] = field(default_factory=dict, init=False)
    """Size of a worker -> when machines are requested next."""
    _requests: dict[Resources, tuple[Room, _Need]] = field(default_factory=dict, init=False)
    """Size of a worker -> what is requested for it."""

    def update(self, missing: Mapping[Resources, int]) -> None:
        """Make a request if it is time for one, and take back those that have had their effect.

        Args:
            missing: Size of a worker -> number of workers without room.
        """
        if not self.after_minutes:
            return
        running, now = self.running(), self.clock()
        without_machine = {size: count for size, count in missing.items() if count > 0 and not max_workers(running, size)}
        self._since = {size: self._since.get(size, now) for size in without_machine}
        self._due = {size: self._due.get(size, now + 60 * self.after_minutes) for size in without_machine}
        for size, (room, need) in list(self._requests.items()):
            if size not in without_machine or self._are_starting(need):
                del self._requests[size]
                room.release()
        for size, count in without_machine.items():
            if now >= self._due[size] and (need := self._need(size, count)) and not self._are_starting(need):
                self._start(size, count, need, now)

    def _are_starting(self, need: _Need) -> bool:
        starting = self.starting()
        return sum(starting.get(kind, 0) for kind in need.types) >= need.machines

    def _need(self, size: Resources, count: int) -> _Need | None:
        """What these workers need; None where no type of on-demand machines has room for one."""
        fitting = {name: machine for name, machine in _of_the_same_kind(self.machines(), size).items() if size.per_machine(machine.resources)}
        if not fitting:
            return None
        machine = next(iter(fitting.values()))
        each = min(size.per_machine(machine.resources), count)
        return _Need(min(math.ceil(count / each), machine.count), tuple(fitting), each)

    def _start(self, size: Resources, count: int, need: _Need, now: float) -> None:
        if size in self._requests:
            self._requests.pop(size)[0].release()
        each = need.workers
        room = self.request(replace(size, cpus=each * size.cpus, gpus=each * size.gpus, memory_gb=each * size.memory_gb))
        self._requests[size], self._due[size], self.requested_at = (room, need), now + 60 * self.after_minutes, now
        room.request(need.machines)
        machines = f"{need.machines} on-demand {'machine' if need.machines == 1 else 'machines'}"
        workers = f"{count} {'worker' if count == 1 else 'workers'} with {size.size_text}"
        self.show(f"no machine in {duration_text(now - self._since[size])}; requests {machines} for {workers} (compute.on_demand_after_minutes)")

    def counted(self, size: Resources) -> int:
        """Number of requests of exactly this size: Ray counts them among those of the workers."""
        _, need = self._requests.get(size, (None, None))
        return need.machines if need and need.workers == 1 else 0

    def release(self) -> None:
        """Take back what is requested, at the end of the wait; machines that have joined end when they are idle."""
        self.requested_at = None
        self._since.clear()
        self._due.clear()
        while self._requests:
            self._requests.popitem()[1][0].release()


def _of_the_same_kind(machines: Mapping[str, Machine], size: Resources) -> dict[str, Machine]:
    """Those with GPUs for workers with GPUs, and those without for others: work on CPUs is not worth the price of a GPU."""
    return {name: machine for name, machine in machines.items() if bool(machine.resources.get("GPU")) == bool(size.gpus)}
