"""Columns of an earlier stage's outputs that may be deleted once they were read, and are made again where a stage reads them once more."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.core.progress import echo
from abaw_ray.core.stage_store.lock import writer_lock
from abaw_ray.core.stage_store.record import Item, Record
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.stage_store.stored_column import StoredColumn
from abaw_ray.core.units import size_text


class _ItemStage(Protocol):
    """What is used of an item stage here; ``Stage`` has it."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def store(self, run: Run[Any]) -> StageStore: ...
    def items(self, run: Run[Any]) -> Mapping[Item, dict]: ...
    def record(self, run: Run[Any]) -> Record | None: ...
    def require(self, run: Run[Any]) -> Record: ...
    def make_again(self, run: Run[Any], select: Callable[[], Mapping[Item, dict]], keys: tuple[str, ...], reason: str) -> None: ...
    def resources(self, run: Run[Any]) -> tuple[Resources, ...]: ...
    @property
    def check(self) -> Callable[[Run[Any]], object]: ...
    @property
    def workloads(self) -> Callable[[Run[Any], Mapping[Item, dict] | None], tuple[Workload | None, ...]]: ...


@dataclass(frozen=True, kw_only=True)
class ColumnRead:
    """A column that the work of an item stage reads from the outputs of an earlier item stage."""

    stage: _ItemStage
    """The earlier stage."""
    column: str
    text: str
    """Plural noun for its values in messages: face crops."""
    output: Callable[[dict], str]
    """Payload of an item -> path of the output that its work reads."""
    keys: tuple[str, ...]
    """Columns of the output in which its rows must be the same when it is made again."""
    keep: Callable[[Any], bool]
    """The settings of a job -> whether the column stays when a job that reads it is complete."""

    def deleted(self, run: Run[Any], todo: Mapping[Item, dict] | None) -> dict[Item, dict]:
        """Items of the earlier stage whose outputs are without the column.

        Args:
            run: The run.
            todo: Unfinished items of the later stage: those whose outputs they read. None where they are not known yet: all.
        """
        if (record := self.stage.record(run)) is None:
            return {}
        missing = self._stored(run).without(set(record.outputs.values()) if todo is None else {self.output(payload) for payload in todo.values()})
        items = self.stage.items(run) if missing else {}
        return {item: payload for item, payload in items.items() if record.outputs.get(item.name) in missing}

    def check(self, run: Run[Any]) -> None:
        """Check the earlier stage where some of its items may have to be processed again: raises what would stop that."""
        if self.stage.record(run) is not None and self._stored(run).is_listed:
            self.stage.check(run)

    def restore(self, run: Run[Any], todo: Mapping[Item, dict]) -> None:
        """Make the outputs again from which the column was deleted and which these unfinished items read.

        Raises:
            StorageError: some could not be made; all others are.
            BusyError: another run writes the earlier stage's store.
        """
        if not self.deleted(run, todo):
            return
        record, stored = self.stage.require(run), self._stored(run)

        def select() -> dict[Item, dict]:
            items = self.deleted(run, todo)  # again: another run may have made them
            stored.expect(record.outputs[item.name] for item in items)
            return items

        self.stage.make_again(run, select, self.keys, reason=f"their {self.text} were deleted")

    def delete(self, run: Run[Any]) -> None:
        """Delete the column from all outputs of the complete earlier stage.

        Raises:
            StorageError: an output cannot be read or written.
            BusyError: another run writes the earlier stage's store.
        """
        stored, record = self._stored(run), self.stage.require(run)
        with writer_lock(run.storage, stored.store.path):
            freed = stored.delete(record, self.text, self.stage.unit)
        if freed:
            echo(f"{self.stage.name}: {self.text} deleted, {size_text(freed)} are free")

    def _stored(self, run: Run[Any]) -> StoredColumn:
        return StoredColumn(self.stage.store(run), self.column)
