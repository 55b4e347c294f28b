"""Any stage whose items are independent, over Ray Data: one row an item, its part written by the worker, one manifest row back.

What happens to an item is a plain class of another folder; here stands what is already there, what is left to do, and what failed.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from abaw_ray.cluster.engine.items import Pool, Task, Work, do_all
from abaw_ray.cluster.engine.run import Run
from abaw_ray.core.errors import AbawError, DataError
from abaw_ray.core.progress import echo, progress
from abaw_ray.core.storage.lock import writer_lock
from abaw_ray.core.storage.records import Item, Record, StageStore

if TYPE_CHECKING:
    from ray import ObjectRef

Divide = Callable[[Mapping[Item, dict], int], list[Task]]
"""Items with their payloads, and how many workers share them -> tasks."""


def run_items(
    run: Run,
    store: StageStore,
    payloads: Mapping[Item, dict],
    make: Callable[[], Work],
    *,
    pool: Pool,
    unit: str,
    divide: Divide = lambda payloads, workers: list(payloads.items()),
) -> Record:
    """Bring a stage to completion for these items: only what is missing is done, the record is written last.

    Args:
        run: Engine, storage and what failures mean.
        store: Where the stage lives.
        payloads: What each item's work needs, JSON values.
        make: Builds the work inside an actor; must be picklable (a ``functools.partial`` of a class).
        pool: Size of the actor pool.
        unit: What an item is called in the progress line.
        divide: The tasks that these items mean for so many workers, in the order in which they are begun; several may share an item.

    Raises:
        StageError: too many items failed.
        StorageError: storage did not give or take some items, however often it was tried; all others are done.
        BusyError: another run writes the same home.
    """
    items = list(payloads)
    record = store.record(items)
    if record is not None and not (run.policy.retry_failures and record.failures):
        echo(f"{store.stage}: already there ({len(record.parts):,} {unit}) in {store.storage.uri(store.path)}")
        return record
    with writer_lock(store.storage, store.path):
        return _complete(run, store, payloads, make, pool, unit, divide)


def _complete(run: Run, store: StageStore, payloads: Mapping[Item, dict], make: Callable[[], Work], pool: Pool, unit: str, divide: Divide) -> Record:
    started, items = time.monotonic(), list(payloads)
    again = store.failures(items) if run.policy.retry_failures else {}
    done = store.done(items) - again.keys()
    todo = {item: payloads[item] for item in items if item.name not in done}
    said = f"{store.stage}: {len(todo):,} of {len(items):,} {unit} to do" + (f", {len(done):,} already there" if done else "")
    echo(f"{said}; {store.storage.uri(store.path)}")
    figures: dict[str, float] = {}
    if todo:
        run.engine.start(cpus=pool.cpus, gpus=pool.gpus, memory_gb=pool.memory_gb)
        pool = replace(pool, workers=pool.workers or run.engine.fits(cpus=pool.cpus, gpus=pool.gpus, memory_gb=pool.memory_gb))
        with progress(store.stage, len(todo), unit) as shown:
            do_all(store, divide(todo, pool.workers), make, pool, shown, again)
        figures = dict(shown.sums)
    uncounted = done | store.failures(items).keys()  # what broke has a part too, but came back without figures
    figures["rows"] = figures.get("rows", 0) + _rows(store, store.finished([item for item in items if item.name in uncounted]))
    return store.finish(items, figures, time.monotonic() - started, run.policy.max_failures)


def run_once(store: StageStore, item: Item, work: Callable[[], dict[str, Any]]) -> Record:
    """Bring a stage to completion that is one run: its record is returned, or the work done and recorded.

    Args:
        store: Where the stage lives.
        item: The run, named by what it reads.
        work: Writes the run's part, marks it whole, and returns its figures.

    Raises:
        BusyError: another run writes the same home.
    """
    record = store.record([item])
    if record is not None:
        echo(f"{store.stage}: already there in {store.storage.uri(store.path)}")
        return record
    started = time.monotonic()
    with writer_lock(store.storage, store.path):
        return store.record([item]) or store.finish([item], work(), time.monotonic() - started)  # it may have waited for another's


def needed(store: StageStore, record: Record | None, job: str) -> Record:
    """The record of an earlier stage.

    Raises:
        DataError: it is not there (yet); says which job makes it.
    """
    if record is None:
        where = store.storage.uri(store.path)
        raise DataError(f"{where}: {store.stage} is not done with these settings; run {job} with the same preset and options first")
    return record


def fetch(ref: "ObjectRef") -> Any:
    """What a task returned; an error of ours that it raised comes out as itself, without Ray's wrapping."""
    import ray

    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        raise ours(error) from None


def ours(error: Exception) -> Exception:
    """The error of ours inside one of Ray's, or what was given."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, AbawError) else error


def _rows(store: StageStore, parts: Mapping[str, str]) -> int:
    """Rows of parts that an earlier run wrote, from the foot of each file."""
    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(store.storage.table_rows, parts.values()))
