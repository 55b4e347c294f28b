"""The Ray Data actor that processes items: it takes a manifest row and returns it with the outcome. Outputs go to storage, never through Ray.

Workers may be chained: a later one passes on items that an earlier one failed, lost or found done.
"""

import json
import pickle
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from abaw_ray.cluster.engine.workers.worker_deaths import TaskRegistration
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.metrics.item_metrics import WorkerMetrics
from abaw_ray.core.errors import AbawError, ItemError, StorageError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error

Work = Callable[..., Mapping[str, float]]
"""Processes one item: ``work(store, item, payload)`` reads the payload, writes the output into the store, and returns figures to add up
(``Unfinished`` where other tasks do the rest). An operator that another one follows gets a fourth argument, ``take_slot``, and calls it before it
stores what the next one reads: it waits until fewer items than allowed lie between the operators.

Raises ItemError for a bad item; StorageError where a later attempt may succeed. A repeated call with the same arguments must give the same output.
"""
Task = tuple[Item, dict]
"""An item, or a chunk of one, and its payload."""
_OUTCOME = {"figures": "{}", "finished": False, "reason": "", "lost": "", "error": b"", "deaths": 0, "machine": "", "worker": ""}
"""What a worker adds to a manifest row: figures (JSON), whether the item's output is complete, why the item failed (``ItemError``), why it
was lost (``StorageError``), a pickled error that ends the job, how many processes died during it before, and the ids of the node and the actor."""

PACKED = "row"
"""The one column of a block on its way through Ray: a manifest row, pickled, which takes half the time of a column for each value."""


@runtime_checkable
class CloseableWork(Protocol):
    """Work that holds threads or processes; closed where it is done in the driver, which continues after the stage."""

    def close(self) -> None:
        """End them."""
        ...


class Unfinished(dict):
    """Figures of a task that does part of an item; the item's output is not complete yet."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One pool of actors and their work."""

    build: Callable[[], Work]
    """Builds the work inside an actor; must be picklable (a ``functools.partial`` of a class)."""
    resources: Resources
    """Size of the pool."""
    items_per_worker: int = 1
    """Items that one actor processes at the same time, in as many threads. With 2, the work of one item is prepared while another one is computed:
    the work must allow calls from several threads, and serializes what a device or a library does not."""


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """Settings of one actor."""

    store: StageStore
    build: Callable[[], Work]
    last: bool = True
    """Whether no further operator follows."""
    slots: Any = None
    """Actor of ``InFlightSlots``: the first operator takes a slot for each item before it stores anything, the last one releases it."""
    deaths: Any = None
    """Actor of ``WorkerDeaths``; None where the items are processed in the driver, whose death ends the command."""
    operator: int = 1
    """Number of the operator in its chain."""
    on_ray: bool = True
    """Whether this is an actor of Ray, not an object in the driver."""
    run: str = ""
    """Name of the run, for metrics; empty for none."""
    longest_pause: float = 15.0
    """Seconds. A worker that lost an item pauses before the next one, twice as long each time: otherwise a machine with a full disk or without
    network would take all items from the others and lose them. Ours."""


def manifest(tasks: list[Task], retried: Mapping[str, dict]) -> list[dict]:
    """One row per task, in the same order: the worker's input, and an empty outcome.

    Args:
        tasks: Items with their payloads, JSON values.
        retried: Failed items of an earlier run that are processed again, even if an output or a failure of them is stored.
    """
    return [
        {"task": number, "name": item.name, "identity": item.identity, "payload": json.dumps(payload), "retry": item.name in retried} | _OUTCOME
        for number, (item, payload) in enumerate(tasks)
    ]


class ItemWorker:
    """The actor: builds its work at its first item, then processes item after item, or several at a time in threads (``Operator.items_per_worker``).

    Each call has one item and returns its outcome, so an error of one item never reaches another one.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self.config, self.losses = config, 0
        self.work: Work | None = None
        self._building, self._pausing = threading.Lock(), threading.Lock()
        ray = sys.modules.get("ray") if config.on_ray else None  # in the driver, another thread may be importing it
        context = ray.get_runtime_context() if ray and ray.is_initialized() else None
        self.here = {"machine": context.get_node_id(), "worker": context.get_actor_id()} if context else {"machine": "driver", "worker": "driver"}
        self._registration = TaskRegistration(config.deaths, self.here["machine"], self.here["worker"])
        self.metrics = WorkerMetrics(config.store.stage, config.run) if context and config.run else None

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The rows of a batch with their outcomes."""
        return pa.table({PACKED: [pickle.dumps(self.process(pickle.loads(row))) for row in batch[PACKED].to_pylist()]})

    def process(self, row: dict) -> dict:
        """Process one task, unless an earlier operator has ended it."""
        ended = row["machine"] and (row["finished"] or row["reason"] or row["lost"] or row["error"])
        with self.metrics.in_progress() if self.metrics and not ended else nullcontext():
            done = row if ended else self._attempt(row)
        if self.config.last and self.config.slots is not None:
            _wait_for(self.config.slots.release.remote(_slot(row)))
        return done

    def _take_slot(self, row: dict) -> None:
        if self.config.slots is not None:
            _wait_for(self.config.slots.acquire.remote(_slot(row), self.here["machine"]))

    def close(self) -> None:
        """End the threads and processes of the work; not called inside an actor, which ends with its process."""
        if isinstance(self.work, CloseableWork):
            self.work.close()

    def _attempt(self, row: dict) -> dict:
        item = Item(name=row["name"], identity=row["identity"])
        outcome: dict[str, Any] = {}
        try:
            outcome = (None if row["retry"] else self._kept(item)) or self._do(item, row)
        except StorageError as error:
            outcome = {"lost": str(error)}
        except AbawError as error:  # ends the job; returned as a value, because Ray would wrap a raised one
            outcome = {"error": pickle.dumps(error)}
        self._pause(bool(outcome.get("lost")))
        return row | outcome | self.here

    def _do(self, item: Item, row: dict) -> dict:
        between = () if self.config.last else (partial(self._take_slot, row),)
        try:
            with disk_full_to_storage_error():  # covers ``build`` too: it may download a model; a full disk must not end the stage
                work = self._built()
                with self._registration.task(f"{self.config.operator} {row['task']}") as deaths:
                    figures = work(self.config.store, item, json.loads(row["payload"]), *between)
        except ItemError as error:
            failure = self.config.store.write_failure(item, error)
            return {"reason": _reason(failure), "finished": True}
        finished = self.config.last and not isinstance(figures, Unfinished)
        return {"figures": json.dumps(dict(figures)), "finished": finished, "deaths": row["deaths"] + deaths}

    def _built(self) -> Work:
        """The work; built once, also where several threads need it."""
        with self._building:
            if self.work is None:
                with self._registration.build():
                    self.work = self.config.build()
            return self.work

    def _kept(self, item: Item) -> dict | None:
        """The outcome of an item that is already complete: Ray repeats a task whose worker was lost after the output was written."""
        failure = self.config.store.failure(item)
        if failure is not None and (failure["last_frame"] is None or self.config.store.exists(item)):
            return {"reason": _reason(failure), "finished": True}
        if failure is None and self.config.store.exists(item):
            return {"figures": json.dumps({"rows": self.config.store.rows(item)}), "finished": True}
        return None

    def _pause(self, lost: bool) -> None:
        if not lost:
            self.losses = 0
            return
        with self._pausing:  # one pause after the other: a worker with several threads would lose as many times the items in the same time
            self.losses += 1
            time.sleep(min(2.0 ** min(self.losses - 1, 9), self.config.longest_pause))


def _reason(failure: dict) -> str:
    return failure["reason"] + (f"; {failure['last_frame']:,} good frames are kept" if failure["last_frame"] else "")


def _slot(row: dict) -> str:
    """The key of a task's slot."""
    return str(row["task"])


def _wait_for(ref: Any) -> None:
    import ray

    ray.get(ref)
