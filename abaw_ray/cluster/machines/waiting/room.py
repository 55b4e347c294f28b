"""Room for workers: placement groups that reserve it while something waits, and make the autoscaler start machines where there is none.

A placement group ends with its job, so a driver that is killed leaves no request behind, which ``ray.autoscaler.sdk.request_resources`` would.
Machines that are being preempted give no room.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from abaw_ray.cluster.machines.resources import Resources


class Room(Protocol):
    """Reserves room for workers of one size."""

    def request(self, workers: int) -> None:
        """Request room for this many workers, in addition to what is in use."""
        ...

    def count(self) -> int:
        """Number of requested workers for which room is reserved now."""
        ...

    def release(self) -> None:
        """Take back the request; reserved room is free shortly after."""
        ...


class PlacementGroups:
    """One placement group for each worker, so that it is known how many have room."""

    def __init__(self, resources: Resources, name: str = "", labels: Mapping[str, str] | None = None, strategy: str = "PACK") -> None:
        """Request nothing yet.

        Args:
            resources: Size of a worker.
            name: Name of the request, if another process is to take it back.
            labels: Labels that the machines must have.
            strategy: Ray's strategy for the bundles of a group; each has only one.
        """
        self._request, self._name, self._groups = resources.request, name, list[Any]()
        self._options: dict[str, Any] = {"strategy": strategy, "bundle_label_selector": [dict(labels)] if labels else None}

    def request(self, workers: int) -> None:
        """Request room for this many workers, in addition to what is in use."""
        from ray.util import placement_group

        for number in range(workers):  # one by one: those before an error are taken back
            name = f"{self._name}-{number}" * bool(self._name)
            self._groups.append(placement_group([dict(self._request)], name=name, **self._options))

    def count(self) -> int:
        """Number of requested workers for which room is reserved now."""
        from ray.util import placement_group_table

        return sum(placement_group_table(group)["state"] == "CREATED" for group in self._groups)

    def release(self) -> None:
        """Take back the request; reserved room is free shortly after."""
        from ray.util import remove_placement_group

        while self._groups:
            remove_placement_group(self._groups.pop())


def release_named(name: str, workers: int) -> None:
    """Take back a request that another process of this job has made, and may not have lived to take back.

    Args:
        name: Its name.
        workers: Largest number of workers of the request.
    """
    from ray.util import get_placement_group, remove_placement_group

    for number in range(workers):
        with suppress(ValueError):  # there is none
            remove_placement_group(get_placement_group(f"{name}-{number}"))
