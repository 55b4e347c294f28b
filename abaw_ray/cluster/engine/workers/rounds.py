"""Rounds over the tasks of a stage: tasks lost to a storage or disk error are retried after all others, on other machines."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from abaw_ray.cluster.engine.workers.in_flight import start_slots
from abaw_ray.cluster.engine.workers.outcomes import Outcomes, work_of
from abaw_ray.cluster.engine.workers.worker import PACKED, ItemWorker, Operator, Task, WorkerConfig, manifest
from abaw_ray.cluster.engine.workers.worker_deaths import worker_deaths
from abaw_ray.cluster.machines.placement import nodes_without_cpus, not_on
from abaw_ray.core.errors import StorageError
from abaw_ray.core.progress import echo
from abaw_ray.core.stage_store.stage_store import StageStore

_MAX_ROUNDS = 3
"""Attempts at a task that fails with storage errors. Ours."""
_MAX_LOSSES_IN_A_ROW = 20
"""Consecutive losses per worker after which storage counts as unreachable. Ours."""
_TASKS_PER_WORKER = 2
"""Tasks that Ray Data assigns to a worker at the same time: the one in work, and one that waits for it or, with two threads, is in work too. Ray's
default for one thread."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The operators of a stage: each item passes through all of them, one after the other."""

    operators: Sequence[Operator]
    in_flight_per_worker: int = 2
    """Maximum number of items in storage between the first and the last operator, those in work at the last one included, per worker of the last one;
    unused with one operator. Ours."""
    longest_pause: float = 15.0
    """See ``WorkerConfig``."""
    in_driver: bool = False
    """Whether the items are processed in this process, one after the other, without Ray."""
    run: str = ""
    """Name of the run, for the metrics of the workers; empty for none."""

    @property
    def in_flight(self) -> int:
        """Maximum number of items in storage between the first and the last operator."""
        return self.in_flight_per_worker * self.operators[-1].resources.workers


def process_items(store: StageStore, tasks: list[Task], chain: Chain, outcomes: Outcomes) -> None:
    """Process all tasks; lost ones are retried after all others, without machines that lose every task.

    Args:
        store: The stage's storage.
        tasks: In the order in which they are started.
        chain: The operators; their numbers of workers are known.
        outcomes: Shows and counts what becomes of the tasks.

    Raises:
        StorageError: some tasks were lost in every round; all others are done.
    """
    outcomes.shown.set_total_work(sum(map(work_of, tasks)))
    excluded: frozenset[str] = frozenset()
    for last in (number == _MAX_ROUNDS for number in range(1, _MAX_ROUNDS + 1)):
        losses = Losses(chain.operators[0].resources.workers)
        for row in stream(store, tasks, chain, outcomes.retried, excluded):
            task = tasks[row["task"]]
            if losses.add(row):
                outcomes.add_lost()
            else:
                outcomes.add(row, task)
        if not losses.lost:
            return
        if last:
            reason = next(iter(losses.lost.values()))
            raise StorageError(f"{len(losses.lost)} of {len(tasks)} could not be read or written, all others are done; first {reason}")
        echo(f"  {len(losses.lost)} could not be read or written and are retried")
        tasks, excluded = [tasks[number] for number in sorted(losses.lost)], losses.failing_machines


class Losses:
    """Tasks lost in one round, and the machines that lost them."""

    def __init__(self, workers: int) -> None:
        self.lost: dict[int, str] = {}
        """Task number -> reason."""
        self._in_a_row, self._workers, self._min_workers = 0, set(), min(workers, 2)
        self._latest: dict[str, bool] = {}
        """Machine -> whether it lost the last of its tasks."""

    def add(self, row: dict) -> bool:
        """Count one manifest row; returns whether its task was lost.

        Raises:
            StorageError: too many were lost in a row.
        """
        self._latest[row["machine"]] = bool(row["lost"])
        self._workers.add(row["worker"])
        self._in_a_row = self._in_a_row + 1 if row["lost"] else 0
        if row["lost"]:
            if not self.lost:
                echo(f"  {row['name']}: {row['lost']}; it is retried after the others")
            self.lost[row["task"]] = row["lost"]
            if self._in_a_row >= _MAX_LOSSES_IN_A_ROW * max(len(self._workers), self._min_workers):
                raise StorageError(f"{row['lost']} ({self._in_a_row} times in a row)")
        return bool(row["lost"])

    @property
    def failing_machines(self) -> frozenset[str]:
        """Machines whose last task was lost, where other machines succeeded."""
        failing = frozenset(machine for machine, lost in self._latest.items() if lost)
        return failing if len(failing) < len(self._latest) else frozenset()


def stream(store: StageStore, tasks: list[Task], chain: Chain, retried: Mapping[str, dict], excluded: frozenset[str]) -> Iterator[dict]:
    """Yield the manifest rows with their outcomes, in the order of completion.

    Each task is a block of its own: a row leaves a block only when the block ends, and a lost worker repeats its whole block.
    """
    rows = manifest(tasks, retried)
    for row in _in_driver(store, rows, chain) if chain.in_driver else _on_ray(store, rows, chain, excluded):
        if row["error"]:
            raise pickle.loads(row["error"])
        yield row


def _in_driver(store: StageStore, rows: list[dict], chain: Chain) -> Iterator[dict]:
    last = chain.operators[-1]
    workers = [
        ItemWorker(WorkerConfig(store=store, build=operator.build, last=operator is last, on_ray=False, longest_pause=chain.longest_pause))
        for operator in chain.operators
    ]
    try:
        for row in rows:
            for worker in workers:
                row = worker.process(row)
            yield row
    finally:
        for worker in workers:
            worker.close()


def _on_ray(store: StageStore, rows: list[dict], chain: Chain, excluded: frozenset[str]) -> Iterator[dict]:
    slots = start_slots(chain.in_flight) if len(chain.operators) > 1 else None
    with worker_deaths() as deaths:  # both actors end when nothing refers to them
        build, pause = chain.operators[0].build, chain.longest_pause
        config = WorkerConfig(store=store, build=build, slots=slots, deaths=deaths, longest_pause=pause, run=chain.run)
        # ``iter_rows`` would yield each outcome only when the next one has come.
        for block in _dataset(config, rows, chain, excluded).iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from map(pickle.loads, block[PACKED].to_pylist())


def _dataset(config: WorkerConfig, rows: list[dict], chain: Chain, excluded: frozenset[str]) -> Any:
    import ray

    dataset = ray.data.from_items([{PACKED: pickle.dumps(row)} for row in rows], override_num_blocks=len(rows))
    for number, operator in enumerate(chain.operators, start=1):
        last, resources = number == len(chain.operators), operator.resources
        worker = replace(config, build=operator.build, last=last, operator=number)
        dataset = dataset.map_batches(
            ItemWorker,
            fn_constructor_args=(worker,),
            batch_format="pyarrow",
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                size=min(resources.workers, len(rows)),
                max_tasks_in_flight_per_actor=max(_TASKS_PER_WORKER, operator.items_per_worker),
                max_concurrent_calls_per_actor=operator.items_per_worker,
                enable_true_multi_threading=operator.items_per_worker > 1,
            ),
            num_cpus=resources.cpus,
            num_gpus=resources.gpus or None,
            memory=resources.memory,
            label_selector=not_on(excluded if resources.cpus else excluded | nodes_without_cpus()),
        )
    return dataset
