"""Room for workers: placement groups that reserve it while the training waits, and make the autoscaler start machines where there is none.

A placement group ends with its job, so a driver that is killed leaves no request behind, which ``ray.autoscaler.sdk.request_resources`` would.
Machines that are being preempted give no room.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from ray.util import get_placement_group, placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

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

    def __init__(self, resources: Resources, name: str = "") -> None:
        """Request nothing yet.

        Args:
            resources: Size of a worker.
            name: Name of the request, if another process is to take it back.
        """
        self._request, self._name = resources.request, name
        self._groups: list[PlacementGroup] = []

    def request(self, workers: int) -> None:
        """Request room for this many workers, in addition to what is in use."""
        self._groups = [placement_group([dict(self._request)], name=f"{self._name}-{number}" * bool(self._name)) for number in range(workers)]

    def count(self) -> int:
        """Number of requested workers for which room is reserved now."""
        return sum(placement_group_table(group)["state"] == "CREATED" for group in self._groups)

    def release(self) -> None:
        """Take back the request; reserved room is free shortly after."""
        while self._groups:
            remove_placement_group(self._groups.pop())


def release_named(name: str, workers: int) -> None:
    """Take back a request that another process of this job has made, and may not have lived to take back.

    Args:
        name: Its name.
        workers: Largest number of workers of the request.
    """
    for number in range(workers):
        with suppress(ValueError):  # there is none
            remove_placement_group(get_placement_group(f"{name}-{number}"))


def allowed_sizes(workers: int, min_workers: int, batch_size: int) -> tuple[int, ...]:
    """Numbers of workers that a training may have, the largest first: ``workers``, and fewer that divide the batch."""
    return (workers, *(size for size in range(workers - 1, min_workers - 1, -1) if batch_size % size == 0))


def largest(sizes: Sequence[int], room: int) -> int:
    """The largest of these sizes for which there is room; 0 if there is none."""
    return max((size for size in sizes if size <= room), default=0)


class LargerSizes:
    """Waits, beside a training with few workers, for room for more."""

    def __init__(self, room: Room, sizes: Sequence[int], workers: int) -> None:
        """Request room for the missing workers.

        Args:
            room: Takes the request.
            sizes: Allowed numbers of workers, the largest first.
            workers: Number of workers of the training.
        """
        self._room, self._sizes, self._workers = room, sizes, workers
        room.request(sizes[0] - workers)

    def with_room(self) -> int:
        """The largest number of workers with room, the present ones included; 0 if it is not larger than their number."""
        size = largest(self._sizes, self._workers + self._room.count())
        return size if size > self._workers else 0
