"""What is measured of a stage whose items are independent: the driver counts outcomes, each worker what it has in work."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from abaw_ray.cluster.metrics.prometheus import ITEMS, ITEMS_IN_PROGRESS, ITEMS_REMAINING, Metrics
from abaw_ray.cluster.metrics.run_events import RunEvents

_INTERVAL_S = 10.0
"""Seconds between two points of a curve. Ours."""
Outcome = Literal["done", "failed", "lost"]
"""An item is done or failed once; it may be lost several times before that."""


class ItemMetrics:
    """In the driver: counts what became of the items, for Prometheus where the items are processed on Ray, and as curves of the run."""

    def __init__(self, stage: str, run: str, events: RunEvents, *, items: int, on_ray: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with no item ended.

        Args:
            stage: Name of the stage.
            run: Name of the run.
            events: The curves of the run.
            items: Number of items to process.
            on_ray: Whether they are processed on Ray.
            clock: Seconds.
        """
        self._stage, self._events, self._clock = stage, events, clock
        self._metrics = Metrics(stage, run) if on_ray else None
        self._counts: dict[Outcome, int] = {"done": 0, "failed": 0, "lost": 0}
        self._items, self._sums, self._last_sums, self._last = items, {"items": 0.0}, {}, clock()
        self._set_remaining()

    def add_ended(self, outcome: Outcome) -> None:
        """Count an item that is done or failed, or one loss."""
        self._counts[outcome] += 1
        self._sums["items"] = self._ended
        if self._metrics:
            self._metrics.add(ITEMS, 1, outcome=outcome)
        self._set_remaining()

    def add_figures(self, figures: Mapping[str, float]) -> None:
        """Count the frames, faces and rows of a task."""
        for name in figures.keys() & {"frames", "faces", "rows"}:
            self._sums[name] = self._sums.get(name, 0.0) + figures[name]
        if self._metrics:
            self._metrics.add_figures(figures)

    @contextmanager
    def last_point_added(self) -> Iterator[None]:
        """Add the last point to the curves at the end of the block, however it ends."""
        try:
            yield
        finally:
            self._add_point(self._clock() - self._last)

    def update_curves(self) -> None:
        """Add a point to the curves if the last one is old enough."""
        if (seconds := self._clock() - self._last) >= _INTERVAL_S:
            self._add_point(seconds)

    def _add_point(self, seconds: float) -> None:
        rates = {f"{name}_per_second": (value - self._last_sums.get(name, 0.0)) / max(seconds, 1e-3) for name, value in self._sums.items()}
        totals = {"items_failed": self._counts["failed"], "items_lost": self._counts["lost"], "items_remaining": self._items - self._ended}
        self._events.add(self._stage, {f"items/{name}": value for name, value in (rates | totals).items()}, self._ended)
        self._last, self._last_sums = self._clock(), dict(self._sums)

    @property
    def _ended(self) -> int:
        return self._counts["done"] + self._counts["failed"]

    def _set_remaining(self) -> None:
        if self._metrics:
            self._metrics.set(ITEMS_REMAINING, self._items - self._ended)


class WorkerMetrics:
    """In a worker on Ray: the number of items in work, and the peak of the GPU memory."""

    def __init__(self, stage: str, run: str) -> None:
        self._metrics, self._lock, self._count = Metrics(stage, run), threading.Lock(), 0

    @contextmanager
    def in_progress(self) -> Iterator[None]:
        """Count an item as in work while the block runs."""
        self._add(1)
        try:
            yield
        finally:
            self._add(-1)
            self._metrics.set_gpu_memory()

    def _add(self, count: int) -> None:
        with self._lock:  # a worker may process several items in threads
            self._count += count
            self._metrics.set(ITEMS_IN_PROGRESS, self._count)
