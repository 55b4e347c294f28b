"""Any stage whose items are independent, over Ray Data: one row an item, its part written by the worker, one manifest row back.

What happens to an item is a plain class of another folder; here stands only where it runs, what is already there, and what failed.
"""

import json
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from abaw_ray.cluster.job import Run
from abaw_ray.core.errors import AbawError, DataError, ItemError, StorageError
from abaw_ray.core.lock import only_writer
from abaw_ray.core.progress import Progress, progress, say
from abaw_ray.core.records import Home, Item, Record

if TYPE_CHECKING:
    from ray import ObjectRef

Work = Callable[[Home, Item, dict], Mapping[str, float]]
"""Does one item: reads its payload, writes its part into the home, returns figures to sum up (``Unfinished`` where others do the rest).

Raises ItemError for a bad item; StorageError where it may go well later.
"""
Task = tuple[Item, dict]
"""An item, or a share of one, and its payload."""
_BLOCKS = 2000
"""Ray Data plans one task a block; more blocks than this only slow the driver."""
_ROUNDS = 3
"""How often items are tried that storage would not give or take; ours."""
_LOST = 20
"""So many lost in a row, and nothing done in between, mean that there is no storage; ours."""


class Unfinished(dict):
    """Figures of a share of an item; the item's part is not there yet."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The actors of one stage."""

    workers: int
    """0 for as many as there is room for."""
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
        item, figures, said = Item(name=row["name"], identity=row["identity"]), {}, {"reason": "", "lost": "", "error": b""}
        try:
            try:
                figures = self.work(self.home, item, json.loads(row["payload"]))
            except ItemError as error:
                failure = self.home.write_failure(item, error)
                said["reason"] = failure["reason"] + (f"; the {error.last_frame:,} frames before are kept" if error.last_frame else "")
        except StorageError as error:
            said["lost"] = str(error)
        except AbawError as error:  # ends the job; it travels as a value, for Ray would wrap it beyond recognition
            said["error"] = pickle.dumps(error)
        finished = not (isinstance(figures, Unfinished) or said["lost"])
        return {"task": row["task"], "item": item.name, "figures": json.dumps(dict(figures)), "finished": finished, **said}


def run_items(
    run: Run,
    home: Home,
    payloads: Mapping[Item, dict],
    make: Callable[[], Work],
    *,
    pool: Pool,
    unit: str,
    divide: Callable[[Mapping[Item, dict], int], list[Task]] = lambda payloads, workers: list(payloads.items()),
) -> Record:
    """Bring a stage to completion for these items: only what is missing is done, the record is written last.

    Args:
        run: Engine, storage and what failures mean.
        home: Where the stage lives.
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
    record = home.record(items)
    if record is not None and not (run.policy.retry_failures and record.failures):
        say(f"{home.stage}: already there ({len(record.parts):,} {unit}) in {home.storage.uri(home.path)}")
        return record
    started = time.monotonic()
    with only_writer(home.storage, home.path):
        again = home.failures(items) if run.policy.retry_failures else {}
        done = home.done(items) - again.keys()
        todo = {item: payloads[item] for item in items if item.name not in done}
        said = f"{home.stage}: {len(todo):,} of {len(items):,} {unit} to do" + (f", {len(done):,} already there" if done else "")
        say(f"{said}; {home.storage.uri(home.path)}")
        figures: dict[str, float] = {}
        if todo:
            run.engine.start(cpus=pool.cpus, gpus=pool.gpus)
            pool = replace(pool, workers=pool.workers or run.engine.fits(cpus=pool.cpus, gpus=pool.gpus, memory_gb=pool.memory_gb))
            tasks = divide(todo, pool.workers)
            with progress(home.stage, len(todo), unit) as shown:
                shown.expect(sum(_work_of(task) for task in tasks))
                _rounds(home, tasks, make, pool, shown, again)
            figures = dict(shown.sums)
        uncounted = done | home.failures(items).keys()  # what broke has a part too, but came back without figures
        figures["rows"] = figures.get("rows", 0) + _rows(home, home.finished([item for item in items if item.name in uncounted]))
        return home.finish(items, figures, time.monotonic() - started, run.policy.max_failures)


def _rounds(home: Home, tasks: list[Task], make: Callable[[], Work], pool: Pool, shown: Progress, again: Mapping[str, dict]) -> None:
    """Do all tasks; those that storage would not give or take once more, when all others are done."""
    finished: set[str] = set()
    for last in (number == _ROUNDS for number in range(1, _ROUNDS + 1)):
        lost: dict[int, str] = {}
        in_a_row = 0
        for row in _stream(home, tasks, make, pool):
            item = tasks[row["task"]][0]
            in_a_row = in_a_row + 1 if row["lost"] else 0
            if row["lost"]:
                lost[row["task"]] = row["lost"]
                if in_a_row >= _LOST:
                    raise StorageError(f"{row['lost']} ({in_a_row} times in a row)")
                continue
            if row["reason"]:
                say(f"  {item.name}: {row['reason']}")
            elif row["finished"] and item.name in again:
                home.forget_failures([item])
            new = row["finished"] and item.name not in finished
            finished |= {item.name} if row["finished"] else set()
            shown.step(int(new), json.loads(row["figures"]) if new or not row["finished"] else {}, work=_work_of(tasks[row["task"]]))
        if not lost:
            return
        reason = next(iter(lost.values()))
        if last:
            raise StorageError(f"{len(lost)} of {len(tasks)} could not be read or written, all others are done; first {reason}")
        say(f"  {len(lost)} could not be read or written and are tried again; first {reason}")
        tasks = [tasks[number] for number in sorted(lost)]


def _work_of(task: Task) -> float:
    """How much work a task is, beside others of its stage: the bytes that it reads where its payload says so."""
    return max(task[1].get("size", 1), 1)


def _stream(home: Home, tasks: list[Task], make: Callable[[], Work], pool: Pool) -> Iterator[dict]:
    import ray

    blocks = min(len(tasks), _BLOCKS)
    rows = [{"task": number, "name": item.name, "identity": item.identity, "payload": json.dumps(body)} for number, (item, body) in enumerate(tasks)]
    dealt = [row for first in range(blocks) for row in rows[first::blocks]]  # the first of each block are begun first
    manifest = ray.data.from_items(dealt, override_num_blocks=blocks).map_batches(
        _Worker,
        fn_constructor_args=(home, make),
        batch_format="pyarrow",
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(pool.workers, blocks)),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        memory=int(pool.memory_gb * 2**30),
    )
    for row in manifest.iter_rows():
        if row["error"]:
            raise pickle.loads(row["error"])
        yield row


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
