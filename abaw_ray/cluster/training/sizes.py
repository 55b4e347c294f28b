"""Numbers of workers that a training may have, and the wait for more of them beside a training."""

from collections.abc import Sequence

from abaw_ray.cluster.machines.waiting.room import Room


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
