"""Any stage whose items are independent, over Ray Data: one row an item, its part written by the worker, one manifest row back.

What happens to an item is a plain class of another folder; here stands only where it runs, what is already there, and what failed.
"""

import json
import pickle
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from abaw_ray.cluster.job import Run
from abaw_ray.core.errors import AbawError, DataError, ItemError
from abaw_ray.core.lock import only_writer
from abaw_ray.core.progress import Progress, progress, say
from abaw_ray.core.records import Home, Item, Record

if TYPE_CHECKING:
    from ray import ObjectRef

Work = Callable[[Home, Item, dict], Mapping[str, float]]
"""Does one item: reads its payload, writes its part into the home, returns figures to sum up. Raises ItemError for a bad item."""
_BLOCKS = 2000
"""Ray Data plans one task a block; more blocks than this only slow the driver."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The actors of one stage."""

    workers: int
    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 1.0


class _Worker:
    """The actor: builds the stage's work once, then does item after item."""

    def __init__(self, home: Home, make: Callable[[], Work]) -> None:
        self.home, self.work = home, make()

    def __call__(self, batch: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([self.one(row) for row in batch.to_pylist()])

    def one(self, row: dict) -> dict:
        item = Item(name=row["name"], identity=row["identity"])
        try:
            figures = self.work(self.home, item, json.loads(row["payload"]))
        except ItemError as error:
            return {"item": item.name, "figures": "{}", "reason": self.home.write_failure(item, error)["reason"], "error": b""}
        except AbawError as error:  # ends the job; it travels as a value, for Ray would wrap it beyond recognition
            return {"item": item.name, "figures": "{}", "reason": "", "error": pickle.dumps(error)}
        return {"item": item.name, "figures": json.dumps(dict(figures)), "reason": "", "error": b""}


def run_items(run: Run, home: Home, payloads: Mapping[Item, dict], make: Callable[[], Work], *, pool: Pool, unit: str) -> Record:
    """Bring a stage to completion for these items: only what is missing is done, the record is written last.

    Args:
        run: Engine, storage and what failures mean.
        home: Where the stage lives.
        payloads: What each item's work needs, JSON values.
        make: Builds the work inside an actor; must be picklable (a ``functools.partial`` of a class).
        pool: Size of the actor pool.
        unit: What an item is called in the progress line.

    Raises:
        StageError: too many items failed.
        BusyError: another run writes the same home.
    """
    items = list(payloads)
    record = home.record(items)
    if record is not None and not (run.policy.retry_failures and record.failures):
        say(f"{home.stage}: already there ({len(record.parts):,} {unit}) in {home.storage.uri(home.path)}")
        return record
    started = time.monotonic()
    with only_writer(home.storage, home.path):
        if run.policy.retry_failures:
            home.forget_failures(items)
        done = home.finished(items).keys() | home.failures(items).keys()
        todo = [item for item in items if item.name not in done]
        said = f"{home.stage}: {len(todo):,} of {len(items):,} {unit} to do" + (f", {len(done):,} already there" if done else "")
        say(f"{said}; {home.storage.uri(home.path)}")
        figures: dict[str, float] = {}
        if todo:
            run.engine.start(cpus=pool.cpus, gpus=pool.gpus)
            with progress(home.stage, len(todo), unit) as shown:
                _stream(home, {item: payloads[item] for item in todo}, make, pool, shown)
            figures = dict(shown.sums)
        figures["rows"] = figures.get("rows", 0) + _rows(home, home.finished([item for item in items if item.name in done]))
        return home.finish(items, figures, time.monotonic() - started, run.policy.max_failures)


def _stream(home: Home, payloads: Mapping[Item, dict], make: Callable[[], Work], pool: Pool, shown: Progress) -> None:
    import ray

    rows = [{"name": item.name, "identity": item.identity, "payload": json.dumps(body)} for item, body in payloads.items()]
    size = min(pool.workers, len(rows))
    manifest = ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS)).map_batches(
        _Worker,
        fn_constructor_args=(home, make),
        batch_format="pyarrow",
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=size),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        memory=int(pool.memory_gb * 2**30),
    )
    for row in manifest.iter_rows():
        if row["error"]:
            raise pickle.loads(row["error"])
        if row["reason"]:
            say(f"  {row['item']}: {row['reason']}")
        shown.step(1, json.loads(row["figures"]))


def run_once(home: Home, item: Item, work: Callable[[], dict[str, Any]]) -> Record:
    """Bring a stage to completion that is one run: its record is returned, or the work done and recorded.

    Args:
        home: Where the stage lives.
        item: The run, named by what it reads.
        work: Writes the run's part, marks it whole, and returns its figures.

    Raises:
        BusyError: another run writes the same home.
    """
    record = home.record([item])
    if record is not None:
        say(f"{home.stage}: already there in {home.storage.uri(home.path)}")
        return record
    started = time.monotonic()
    with only_writer(home.storage, home.path):
        figures = work()
        return home.finish([item], figures, time.monotonic() - started)


def needed(home: Home, record: Record | None, job: str) -> Record:
    """The record of an earlier stage.

    Raises:
        DataError: it is not there (yet); says which job makes it.
    """
    if record is None:
        where = home.storage.uri(home.path)
        raise DataError(f"{where}: {home.stage} is not done with these settings; run {job} with the same preset and options first")
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


def _rows(home: Home, parts: Mapping[str, str]) -> int:
    """Rows of parts that an earlier run wrote, from the foot of each file."""
    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(home.storage.table_rows, parts.values()))
