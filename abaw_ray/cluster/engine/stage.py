"""A stage of the pipeline as one object: its name, settings, inputs and work. Plan, records, jobs and report derive from a list of these.

A stage's outputs are in a store whose address is computed from its settings, its revision and the stores of its inputs. ``ItemWork`` is done item by
item on Ray Data, with one output each; ``RunWork`` is one run over all inputs.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from abaw_ray.cluster.engine.items import remake_items, run_items
from abaw_ray.cluster.engine.run import Run, RunConfig
from abaw_ray.cluster.engine.stage_work import ItemWork, RunWork
from abaw_ray.cluster.engine.workers.rounds import Chain
from abaw_ray.cluster.engine.workers.worker import Operator
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.waiting.watch import watch_waits
from abaw_ray.core.errors import DataError
from abaw_ray.core.progress import echo
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.lock import writer_lock
from abaw_ray.core.stage_store.record import RUN, Item, Record
from abaw_ray.core.stage_store.stage_store import StageStore

_ConfigT = TypeVar("_ConfigT", bound=RunConfig)


class PendingError(DataError):
    """An input does not exist yet; the message names it and the job that makes it."""


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[_ConfigT]):
    """One stage of the pipeline."""

    name: str
    """Folder of its results, and its name in messages and reports."""
    revision: int
    """Raised when the same settings and inputs give other outputs."""
    settings: Callable[[_ConfigT], Any]
    """The part of a job's settings that affects its outputs."""
    work: ItemWork[_ConfigT] | RunWork[_ConfigT]
    """Its work, with the workers that it needs."""
    job: str
    """Command that runs this stage, for messages: abaw-ray faces."""
    inputs: tuple["Stage[Any]", ...] = ()
    """Stages whose outputs it reads, as far as the settings need them."""
    is_needed: Callable[[_ConfigT], bool] = lambda config: True
    """Whether any stage reads its outputs with these settings; else it is left out of runs and plans."""
    sources: Callable[[Run[_ConfigT]], tuple[str, ...]] = lambda run: ()
    """Identities of files that affect its outputs and belong to no stage, such as pretrained weights."""
    check: Callable[[Run[_ConfigT]], object] = lambda run: None
    """Raises errors that would stop the stage later, before anything starts: missing weights, unusable annotations."""
    workloads: Callable[[Run[_ConfigT], Mapping[Item, dict] | None], tuple[Workload | None, ...]] = lambda run, todo: ()
    """The run and its unfinished items (None where they are not known yet) -> what each of its worker pools computes, for the plan; None where
    nothing is measured."""
    warnings: Callable[[Run[_ConfigT]], tuple[str, ...]] = lambda run: ()
    """Sentences about settings that do not fit together; printed by the plan, and before an unfinished stage runs."""

    def store(self, run: Run[_ConfigT]) -> StageStore:
        """Its store for this run's settings."""
        inputs = (*(stage.store(run).path for stage in needed(run, self.inputs)), *self.sources(run))
        return StageStore(run.storage, self.name, self.settings(run.config), self.revision, inputs)

    def items(self, run: Run[_ConfigT]) -> Mapping[Item, dict]:
        """All items with their payloads; of ``RunWork`` the one run, named by everything that it reads.

        Raises:
            PendingError: an input does not exist yet.
            DataError: the user's data cannot be used.
        """
        if isinstance(self.work, ItemWork):
            return self.work.items(run)
        read = [stage.require(run).identity for stage in needed(run, self.inputs)]
        return {Item(name=RUN, identity=digest([*read, self.work.identity(run)])): {}}

    def record(self, run: Run[_ConfigT]) -> Record | None:
        """The record of the complete stage; None where it is incomplete."""
        if self.name not in run.records:
            try:
                items = self.items(run)  # before the store: it names a missing input first
            except PendingError:
                return None
            if (record := self.store(run).record(items)) is None:
                return None
            run.records[self.name] = record
        return run.records[self.name]

    def require(self, run: Run[_ConfigT]) -> Record:
        """The record, for a later stage.

        Raises:
            PendingError: the stage is not complete with these settings; names the job that runs it.
        """
        if (record := self.record(run)) is None:
            for stage in needed(run, self.inputs):
                stage.require(run)  # names the first job that is missing
            where = run.storage.uri(self.store(run).path)
            raise PendingError(f"{where}: {self.name} is not done with these settings; run {self.job} with the same preset and options first")
        return record

    def resources(self, run: Run[_ConfigT]) -> tuple[Resources, ...]:
        """Resources of each of its worker pools; empty for work in the driver."""
        if isinstance(self.work, RunWork) and self.work.in_driver(run.config):
            return ()
        pools = self.work.operators if isinstance(self.work, ItemWork) else (self.work,)
        return tuple(pool.resources(run.compute) for pool in pools if pool.resources is not None)

    def complete(self, run: Run[_ConfigT]) -> Record:
        """Bring the stage to completion: only what is missing is done, the record is written last.

        Raises:
            StageError: too many items failed.
            StorageError: some items could not be read or written in any attempt; all others are done.
            BusyError: another run writes the same store.
        """
        work = self.work
        with self._watch_waits(run):
            run.records[self.name] = self._complete_items(run, work) if isinstance(work, ItemWork) else self._complete_run(run, work)
        return run.records[self.name]

    def make_again(self, run: Run[_ConfigT], select: Callable[[], Mapping[Item, dict]], keys: tuple[str, ...], reason: str) -> None:
        """Make outputs of the complete stage again; its record stays.

        Args:
            run: The run.
            select: Returns the items with their payloads; called once the store is locked.
            keys: Columns of the output in which its rows must be the same.
            reason: Why, for the message.

        Raises:
            StorageError: some items could not be read or written in any attempt; all others are made.
            BusyError: another run writes the same store.
        """
        work = self.work
        assert isinstance(work, ItemWork)  # the output of a run is never made in part
        echo(f"{self.name}: {work.unit} are processed again, because {reason}")
        remake_items(run, self.store(run), select, partial(self._chain, run, work), unit=work.unit, split=work.split, keys=keys)

    def check_all(self, run: Run[_ConfigT]) -> None:
        """``check``, and that of the stage some of whose items have to be processed again before this one."""
        self.check(run)
        if isinstance(self.work, ItemWork) and self.work.column:
            self.work.column.check(run)

    @property
    def unit(self) -> str:
        """Plural noun for its items; runs for ``RunWork``."""
        return self.work.unit if isinstance(self.work, ItemWork) else "runs"

    def _watch_waits(self, run: Run[_ConfigT]) -> AbstractContextManager[None]:
        gang = isinstance(self.work, RunWork) and self.work.gang  # a training says itself what it waits for
        if not run.session.shared or gang:
            return nullcontext()
        run.session.sizes.clear()
        return watch_waits(self.name, lambda: tuple(run.session.sizes), run.compute.on_demand_after_minutes)

    def _chain(self, run: Run[_ConfigT], work: ItemWork[_ConfigT], todo: Mapping[Item, dict]) -> Chain:
        """The operators for the unfinished items, after deleted columns of their inputs are made again."""
        if work.column:
            work.column.restore(run, todo)
        operators = [
            Operator(build=one.build(run), resources=one.resources(run.compute), items_per_worker=one.items_per_worker(run.compute))
            for one in work.operators
        ]
        return Chain(operators=operators, in_driver=work.in_driver(todo))

    def _complete_items(self, run: Run[_ConfigT], work: ItemWork[_ConfigT]) -> Record:
        store, items, chain, summarize = self.store(run), self.items(run), partial(self._chain, run, work), partial(work.summarize, run)
        record = run_items(run, store, items, chain, unit=work.unit, split=work.split, between=work.between(run.config), summarize=summarize)
        work.verify(run, store, record)
        return record

    def _complete_run(self, run: Run[_ConfigT], work: RunWork[_ConfigT]) -> Record:
        store, (item,) = self.store(run), self.items(run)
        if (record := store.record([item])) is not None:
            echo(f"{self.name}: already done in {run.storage.uri(store.path)}")
            return record
        started = time.monotonic()
        with writer_lock(store.storage, store.path):
            if (record := store.record([item])) is not None:  # another run has completed it while this one waited for the lock
                return record
            for resources in self.resources(run):
                run.session.start(resources, gang=work.gang)
            return store.finish([item], work.run(run, store, item), time.monotonic() - started)


def needed(run: Run[Any], stages: Iterable[Stage[Any]]) -> tuple[Stage[Any], ...]:
    """Those of the stages whose outputs are read with these settings, in the same order."""
    return tuple(stage for stage in stages if stage.is_needed(run.config))


def stage_summary(record: Record, *, failed: int | None = None) -> dict[str, Any]:
    """A stage's row in the report: seconds, rows, items (None where the stage is one run) and failures."""
    items = None if record.is_run else len(record.outputs)
    failures = len(record.failures) if failed is None else failed
    return {"seconds": record.seconds, "rows": record.figures.get("rows", 0), "items": items, "failed": failures}
