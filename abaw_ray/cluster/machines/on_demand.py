"""On-demand machines for workers that have waited long for spot machines.

Autoscaler v2 starts a type of machines again and again while the cloud refuses it, whatever the priority of another type (``docs/ray.md``). So the
driver, which knows how long a stage has waited, requests on-demand machines by their label. The workers request no label: they take the room of the
machines that have joined, of either kind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from abaw_ray.cluster.machines.capacity import ON_DEMAND, max_workers, on_demand_machines
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.room import PlacementGroups
from abaw_ray.core.units import duration_text


class Request(Protocol):
    """Part of ``PlacementGroups``."""

    def request(self, workers: int) -> None:
        """Request room for this many workers."""
        ...

    def waiting(self) -> int:
        """Number of requested workers without room."""
        ...

    def release(self) -> None:
        """Take back the request."""
        ...

    def release_reserved(self) -> None:
        """Free the room that is reserved now."""
        ...


def _request(size: Resources) -> Request:
    return PlacementGroups(size, labels=ON_DEMAND)


def _fits(size: Resources) -> bool:
    return max_workers(on_demand_machines(), size) > 0


@dataclass(kw_only=True)
class OnDemandRequest:
    """Requests on-demand machines during one wait, once it has taken long enough."""

    after_minutes: float
    """Time of the wait before machines are requested; 0 for never."""
    show: Callable[[str], None]
    """Shows a line to the user."""
    request: Callable[[Resources], Request] = _request
    """Size of a worker -> a request for machines on demand."""
    fits: Callable[[Resources], bool] = _fits
    """Whether such a worker fits on any type of on-demand machines that the cluster file lists."""
    _requests: dict[Resources, Request] = field(default_factory=dict, init=False)
    _requested_s: float = field(default=0.0, init=False)
    """Seconds of the wait at the last request. It is repeated: what was requested may have come and gone again."""

    def update(self, seconds: float, missing: Mapping[Resources, int]) -> None:
        """Make a request if it is time for one, and give the machines that have joined to the workers.

        Args:
            seconds: Time since the wait began.
            missing: Size of a worker -> number of workers without room, of the sizes that no running machine has room for.
        """
        for request in self._requests.values():
            request.release_reserved()
        if not self.after_minutes or seconds < self._requested_s + 60 * self.after_minutes:
            return
        self.release()
        self._requested_s = seconds
        for size, count in missing.items():
            if count > 0 and self.fits(size):
                self._requests[size] = self.request(size)
                self._requests[size].request(count)
                workers = f"{count} {'worker' if count == 1 else 'workers'} with {size.size_text}"
                self.show(f"no machine in {duration_text(seconds)}; requests on-demand machines for {workers} (compute.on_demand_after_minutes)")

    def waiting(self, size: Resources) -> int:
        """Number of requests of this size without a machine; Ray counts them among those of the workers."""
        return self._requests[size].waiting() if size in self._requests else 0

    def release(self) -> None:
        """Take back what is requested, at the end of the wait; machines that have joined end when they are idle."""
        self._requested_s = 0.0
        while self._requests:
            self._requests.popitem()[1].release()
