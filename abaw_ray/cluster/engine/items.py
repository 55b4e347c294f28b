"""Tasks -> actors of Ray Data, one row a task: who does them, what is tried again and where, and when to give up."""

import json
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from abaw_ray.core.errors import AbawError, ItemError, StorageError
from abaw_ray.core.progress import Progress, echo
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.core.storage.records import Item, StageStore

Work = Callable[[StageStore, Item, dict], Mapping[str, float]]
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
"""So many that each worker lost, and nothing done in between, mean that there is no storage; ours."""


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
    longest_rest: float = 15.0
    """Seconds. A worker that lost an item rests before it takes the next one, twice as long each time: a machine whose disk is full, or that
    sees no storage, must not take all items from the others and lose them. Ours."""


class _Worker:
    """The actor: builds the stage's work for its first item, then does item after item."""

    def __init__(self, store: StageStore, make: Callable[[], Work], longest_rest: float) -> None:
        import ray

        self.store, self.make, self.longest_rest, self.losses = store, make, longest_rest, 0
        self.work: Work | None = None
        here = ray.get_runtime_context() if ray.is_initialized() else None
        self.who = {"machine": here.get_node_id(), "worker": here.get_actor_id()} if here else {"machine": "", "worker": ""}

    def __call__(self, batch: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([self.one(row) for row in batch.to_pylist()])

    def one(self, row: dict) -> dict:
        item, figures, said = Item(name=row["name"], identity=row["identity"]), {}, {"reason": "", "lost": "", "error": b""}
        try:
            try:
                with disk_full_to_storage_error():  # around the building too, which may fetch a model: what fails there is no end of the stage
                    self.work = self.work or self.make()
                    figures = self.work(self.store, item, json.loads(row["payload"]))
            except ItemError as error:
                failure = self.store.write_failure(item, error)
                said["reason"] = failure["reason"] + (f"; {error.last_frame:,} good frames are kept" if error.last_frame else "")
        except StorageError as error:
            said["lost"] = str(error)
        except AbawError as error:  # ends the job; it travels as a value, for Ray would wrap it beyond recognition
            said["error"] = pickle.dumps(error)
        self.losses = self.losses + 1 if said["lost"] else 0
        if self.losses:
            time.sleep(min(2.0 ** min(self.losses - 1, 9), self.longest_rest))
        finished = not (isinstance(figures, Unfinished) or said["lost"])
        found = {"task": row["task"], "item": item.name, "figures": json.dumps(dict(figures)), "finished": finished}
        return found | said | self.who


def do_all(store: StageStore, tasks: list[Task], make: Callable[[], Work], pool: Pool, shown: Progress, again: Mapping[str, dict]) -> None:
    """Do all tasks; those that storage or a machine's disk would not give or take once more, when all others are done, and elsewhere.

    Args:
        store: Where the stage lives.
        tasks: In the order in which they are begun.
        make: Builds the work inside an actor; must be picklable.
        pool: Size of the actor pool.
        shown: Told of every task that is done.
        again: Failures of an earlier run that are tried again, by item.

    Raises:
        StorageError: some were lost every time; all others are done.
    """
    shown.set_total_work(sum(_work_of(task) for task in tasks))
    finished: set[str] = set()
    shunned: frozenset[str] = frozenset()
    for last in (number == _ROUNDS for number in range(1, _ROUNDS + 1)):
        once = _Round(pool.workers)
        for row in _stream(store, tasks, make, pool, shunned):
            task = tasks[row["task"]]
            if once.is_lost(row):
                continue
            if row["reason"]:
                echo(f"  {row['item']}: {row['reason']}")
            elif row["finished"] and row["item"] in again:
                store.forget_failures([task[0]])
            new = row["finished"] and row["item"] not in finished
            finished |= {row["item"]} if row["finished"] else set()
            shown.step(int(new), json.loads(row["figures"]) if new or not row["finished"] else {}, work=_work_of(task))
        if not once.lost:
            return
        if last:
            reason = next(iter(once.lost.values()))
            raise StorageError(f"{len(once.lost)} of {len(tasks)} could not be read or written, all others are done; first {reason}")
        echo(f"  {len(once.lost)} could not be read or written and are tried again")
        tasks, shunned = [tasks[number] for number in sorted(once.lost)], once.failing


class _Round:
    """What was lost in one pass over the tasks, and on which machines."""

    def __init__(self, workers: int) -> None:
        self.lost: dict[int, str] = {}
        """Task -> why."""
        self._in_a_row, self._workers, self._fewest = 0, set(), min(workers, 2)
        self._latest: dict[str, bool] = {}
        """Machine -> whether it lost the last of its tasks."""

    def is_lost(self, row: dict) -> bool:
        """Count one manifest row.

        Raises:
            StorageError: too many were lost in a row.
        """
        self._latest[row["machine"]] = bool(row["lost"])
        self._workers.add(row["worker"])
        self._in_a_row = self._in_a_row + 1 if row["lost"] else 0
        if row["lost"]:
            if not self.lost:
                echo(f"  {row['item']}: {row['lost']}; it is tried again when the others are done")
            self.lost[row["task"]] = row["lost"]
            if self._in_a_row >= _LOST * max(len(self._workers), self._fewest):
                raise StorageError(f"{row['lost']} ({self._in_a_row} times in a row)")
        return bool(row["lost"])

    @property
    def failing(self) -> frozenset[str]:
        """The machines that failed to the end while others did not: the fault is theirs."""
        found = frozenset(machine for machine, lost in self._latest.items() if lost)
        return found if len(found) < len(self._latest) else frozenset()


def _work_of(task: Task) -> float:
    """How much work a task is, beside others of its stage: the bytes that it reads where its payload says so."""
    return max(task[1].get("size", 1), 1)


def _stream(store: StageStore, tasks: list[Task], make: Callable[[], Work], pool: Pool, shunned: frozenset[str]) -> Iterator[dict]:
    """The manifest rows, as they come; the machines that are shunned get no task. One that was started anew is another one."""
    import ray

    blocks = min(len(tasks), _BLOCKS)
    rows = [{"task": number, "name": item.name, "identity": item.identity, "payload": json.dumps(body)} for number, (item, body) in enumerate(tasks)]
    dealt = [row for first in range(blocks) for row in rows[first::blocks]]  # the first of each block are begun first
    manifest = ray.data.from_items(dealt, override_num_blocks=blocks).map_batches(
        _Worker,
        fn_constructor_args=(store, make, pool.longest_rest),
        batch_format="pyarrow",
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(pool.workers, blocks)),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        memory=int(pool.memory_gb * 2**30),
        label_selector={"ray.io/node-id": f"!in({','.join(sorted(shunned))})"} if shunned else None,
    )
    for row in manifest.iter_rows():
        if row["error"]:
            raise pickle.loads(row["error"])
        yield row
