"""The outputs of a stage in storage.

A stage's store is a folder named by the digest of everything that affects the outputs in it. Each item has one output, written atomically; the
record comes last: without a record there is no result. This module does not depend on the content of outputs or on where the work runs.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from abaw_ray.core.errors import ItemError, StageError
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.core.stage_store.provenance import code_digest, git_revision, versions
from abaw_ray.core.stage_store.record import Item, Record
from abaw_ray.core.stage_store.store_index import FAILURES, OUTPUTS, StoreIndex, StoreState
from abaw_ray.core.storage.storage import Storage

_FOLDER_COMPLETE = "/output.json"
"""File of an output of several files that is written last: their names and sizes."""


@dataclass(frozen=True)
class StageStore:
    """The folder with one stage's results for one choice of settings. All paths are relative to the storage root."""

    storage: Storage
    stage: str
    settings: Any
    revision: int
    inputs: tuple[str, ...] = ()
    """Paths of input stores, and identities of other inputs, that affect every output."""
    subfolder: str = ""
    """Folder below the store for outputs that replace its own when they are complete; empty for the store itself."""

    @property
    def path(self) -> str:
        """The store's folder below the storage root."""
        key = digest({"settings": self.settings, "revision": self.revision, "inputs": list(self.inputs)})
        return f"{self.stage}/{key}" + (f"/{self.subfolder}" if self.subfolder else "")

    def output(self, item: Item, suffix: str = ".parquet") -> str:
        """Path of an item's output; a run that writes several files uses a folder (``suffix=""``) and ``complete_folder``."""
        return f"{self.path}/{OUTPUTS}/{item.key}{suffix}"

    def exists(self, item: Item) -> bool:
        """Whether the item's output, one Parquet file, exists."""
        return self.storage.exists(self.output(item))

    def rows(self, item: Item) -> int:
        """Number of rows of the item's output, from the file's footer."""
        return self.storage.table_rows(self.output(item))

    def complete_folder(self, item: Item, figures: dict[str, Any]) -> None:
        """Mark an output of several files as complete: the list of its files with their sizes is written after all of them."""
        folder = self.output(item, "")
        files = self.storage.files(folder, recursive=True)
        body = {"files": files, "figures": to_plain(figures)}
        self.storage.write_bytes(f"{folder}{_FOLDER_COMPLETE}", json.dumps(body, indent=1).encode())

    def folder_figures(self, item: Item) -> dict[str, Any]:
        """The figures given to ``complete_folder``."""
        return json.loads(self.storage.read_bytes(f"{self.output(item, '')}{_FOLDER_COMPLETE}"))["figures"]

    def index(self) -> StoreIndex:
        """The index of its outputs and failures."""
        return StoreIndex(self.storage, self.path)

    def state(self, items: Iterable[Item], index: StoreIndex | None = None) -> StoreState:
        """Outputs and failures of these items now.

        Args:
            items: The items.
            index: The index to use and complete; None reads the one in storage.
        """
        index = index or self.index()
        index.refresh()
        outputs: dict[str, str] = {}
        failed: dict[str, str] = {}
        for item in items:
            for suffix, last in ((".parquet", ""), ("", _FOLDER_COMPLETE)):
                if index.has_file(f"{OUTPUTS}/{item.key}{suffix}{last}"):
                    outputs.setdefault(item.name, self.output(item, suffix))
            if index.has_file(failure := _failure_name(item)):
                failed[item.name] = failure
        rows = index.failures(failed.values())
        return StoreState(outputs=outputs, failures={name: rows[failure] for name, failure in failed.items()})

    def finished(self, items: Iterable[Item]) -> dict[str, str]:
        """Item name -> path of its output, for the items that have one."""
        return self.state(items).outputs

    def write_failure(self, item: Item, error: ItemError) -> dict:
        """Write the reason why an item failed; returns its ``FAILURE`` row."""
        row = {"item": item.name, "stage": self.stage, "reason": " ".join(str(error).split()), "last_frame": error.last_frame}
        self.storage.write_bytes(f"{self.path}/{_failure_name(item)}", json.dumps(row).encode())
        return row

    def failure(self, item: Item) -> dict | None:
        """The ``FAILURE`` row of an item; None where it has not failed."""
        try:
            return json.loads(self.storage.read_bytes(f"{self.path}/{_failure_name(item)}"))
        except FileNotFoundError:
            return None

    def failures(self, items: Iterable[Item]) -> dict[str, dict]:
        """Item name -> ``FAILURE`` row, of the items that failed before."""
        return self.state(items).failures

    def done(self, items: Iterable[Item]) -> set[str]:
        """As ``StoreState.done``, now."""
        return self.state(items).done

    def forget_failures(self, items: Iterable[Item]) -> None:
        """Delete the failures of these items, so that they are processed again (``--retry-failures``)."""
        for item in items:
            self.storage.delete(f"{self.path}/{_failure_name(item)}")

    def _record_path(self, items: Iterable[Item]) -> str:
        return f"{self.path}/records/{digest(sorted(item.key for item in items))}.json"

    def record(self, items: Iterable[Item]) -> Record | None:
        """The record of exactly this set of items; None where the stage is not complete for it."""
        items = list(items)
        try:
            return self._with_outputs(json.loads(self.storage.read_bytes(self._record_path(items))), items)
        except FileNotFoundError:
            return None

    def _with_outputs(self, body: dict[str, Any], items: list[Item]) -> Record:
        suffix, missing = body.pop("suffix"), set(body.pop("without_output"))
        outputs = {item.name: self.output(item, suffix) for item in items if item.name not in missing}
        return Record(outputs=dict(sorted(outputs.items())), **body)

    def _write_record(self, record: Record, items: list[Item]) -> None:
        """Write it without its outputs, which follow from the items: a record of 100,000 items is a small file."""
        (suffix,) = {".parquet" if path.endswith(".parquet") else "" for path in record.outputs.values()}
        missing = [item.name for item in items if item.name not in record.outputs]
        body = {name: value for name, value in vars(record).items() if name != "outputs"} | {"suffix": suffix, "without_output": missing}
        self.storage.write_bytes(self._record_path(items), json.dumps(body, indent=1).encode())

    def finish(
        self, items: list[Item], figures: dict[str, Any], seconds: float, max_failures: float = 0.01, *, state: StoreState | None = None
    ) -> Record:
        """Check that every item has its output or its failure, and write the record.

        Args:
            items: All items of the stage, done now or before.
            figures: Values that the stage reports, in types that JSON supports.
            seconds: Wall time of this run.
            max_failures: Fraction of the items that may fail; one item always may.
            state: Their outputs and failures now; None lists the store.

        Raises:
            StageError: more failed than allowed, or an item has neither output nor failure; good outputs are kept.
        """
        state = state or self.state(items)
        outputs, failures = state.outputs, state.failures
        missing = [item.name for item in items if item.name not in outputs and item.name not in failures]
        if missing:
            raise StageError(f"{self.stage}: {len(missing)} of {len(items)} items have no result, first {missing[0]}; run the same command again")
        if not outputs or not within_failure_budget(len(failures), len(items), max_failures):
            raise StageError(self._too_many(len(items), len(outputs), failures, max_failures))
        record = Record(
            stage=self.stage,
            store=self.path,
            outputs=dict(sorted(outputs.items())),
            failures=list(failures.values()),
            settings=to_plain(self.settings),
            inputs=list(self.inputs),
            figures=to_plain(figures),
            seconds=round(seconds, 2),
            revision=self.revision,
            versions=versions(),
            code=code_digest(),
            git=git_revision(),
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        self._write_record(record, items)
        return record

    def _too_many(self, total: int, kept: int, failures: dict[str, dict], max_failures: float) -> str:
        """The message for more failures than allowed: how many, the first reason, where outputs and reasons are, what to do."""
        row, root = next(iter(failures.values())), self.storage.uri(self.path)
        allowed = f"at most {max_failures:.1%} (always one) may" if kept else "none is good"
        failed = f"{self.stage}: {len(failures)} of {total} items failed, {allowed}; first {row['item']}: {row['reason']}"
        outputs = f"{kept} good outputs are kept in {root}/outputs, all reasons" if kept else "all reasons are"
        return f"{failed}; {outputs} in {root}/failures; fix them and add --retry-failures{', or raise --max-failures' if kept else ''}"


def within_failure_budget(failed: float, of: float, fraction: float) -> bool:
    """Whether this number of failures is allowed: up to the fraction, and always one."""
    return failed <= max(1, fraction * of)


def _failure_name(item: Item) -> str:
    """The file of an item's failure, relative to its store."""
    return f"{FAILURES}/{item.key}.json"
