"""The index of a store: what is known of its outputs and failures, in one file, so that a run does not read each of them again.

A stage of 100,000 items would otherwise read 100,000 Parquet footers to add 50 items. The index is never used alone: an entry is valid for the size
and the modification time that a listing of the store shows. Files without a valid entry are read, several at a time, so a missing or damaged index
is built again.
"""

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.filesystems import FileStat
from abaw_ray.core.storage.storage import Storage

OUTPUTS, FAILURES = "outputs", "failures"
"""Subfolders of a store."""
_FILE = "index.parquet"
_READERS = 16
"""Files that are read at the same time. Ours."""
_SAVE_INTERVAL = 600.0
"""Seconds between two writes of the index while items are processed. Ours."""
_SCHEMA = pa.schema(
    [("file", pa.string()), ("size", pa.int64()), ("modified_ns", pa.int64()), ("rows", pa.int64()), ("failure", pa.string())],
)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Entry:
    stat: FileStat
    rows: int | None = None
    """Rows of an output."""
    failure: str | None = None
    """Content of a failure's file."""


@dataclass(frozen=True, kw_only=True)
class StoreState:
    """Outputs and failures of a set of items at one moment."""

    outputs: dict[str, str]
    """Item name -> path of its output, for the items that have one."""
    failures: dict[str, dict]
    """Item name -> ``FAILURE`` row, for the items that failed."""

    @property
    def done(self) -> set[str]:
        """Names of finished items: their output exists, or they failed.

        An item that failed after a last good frame has an output too, written after its failure: where only the failure exists, a run was
        killed in between.
        """
        return self.outputs.keys() | {name for name, row in self.failures.items() if row["last_frame"] is None}


class StoreIndex:
    """Rows of the outputs and reasons of the failures of one store. One process writes it, the one that has the store's lock."""

    def __init__(self, storage: Storage, folder: str) -> None:
        """Read nothing yet; ``folder`` is the store's, below the storage root."""
        self.storage, self.folder = storage, folder
        self._entries: dict[str, _Entry] | None = None
        self._files: dict[str, FileStat] = {}
        self._written_now: dict[str, int] = {}
        self._changed, self._saved_at = False, time.monotonic()

    def refresh(self) -> None:
        """List the store, and drop the entries of files that were replaced or deleted."""
        entries = self._load() if self._entries is None else self._entries
        self._files = {f"{part}/{name}": stat for part in (OUTPUTS, FAILURES) for name, stat in self.storage.stats(f"{self.folder}/{part}").items()}
        self._entries = {name: entry for name, entry in entries.items() if self._files.get(name) == entry.stat}
        for name, rows in self._written_now.items():
            if name in self._files:
                self._put(name, _Entry(self._files[name], rows=rows))
        self._written_now.clear()

    def has_file(self, name: str) -> bool:
        """Whether the last listing has this file; the name is relative to the store's folder."""
        return name in self._files

    def add(self, path: str, rows: int) -> None:
        """Add an output (its path below the storage root) that was written now; saved from time to time, so that a killed run leaves most of it."""
        self._written_now[self._name(path)] = rows
        if time.monotonic() - self._saved_at > _SAVE_INTERVAL:
            with suppress(StorageError):  # a later write may succeed; if the store is lost, writing an output raises the error
                self.refresh()
                self.save()

    def rows(self, paths: Iterable[str]) -> int:
        """Sum of the rows of these outputs (paths below the storage root), all of which the last listing has."""
        found = self._complete(map(self._name, paths), lambda entry: entry.rows, lambda name: _Entry(self._files[name], rows=self._read_rows(name)))
        return sum(entry.rows or 0 for entry in found.values())

    def has_output(self, path: str) -> bool:
        """Whether the last listing has this output (its path below the storage root)."""
        return self._name(path) in self._files

    def bytes(self, paths: Iterable[str]) -> int:
        """Sum of the sizes of these outputs (paths below the storage root), all of which the last listing has."""
        return sum(self._files[self._name(path)].size for path in paths)

    def failures(self, names: Iterable[str]) -> dict[str, dict]:
        """File -> ``FAILURE`` row of these failures, all of which the last listing has."""
        found = self._complete(names, lambda entry: entry.failure, lambda name: _Entry(self._files[name], failure=self._read_failure(name)))
        return {name: json.loads(entry.failure or "") for name, entry in found.items()}

    def save(self) -> None:
        """Write the entries of the last listing, if they have changed."""
        self._saved_at = time.monotonic()
        if not self._changed:
            return
        entries = self._entries or {}
        columns = [
            list(entries),
            [entry.stat.size for entry in entries.values()],
            [entry.stat.modified_ns for entry in entries.values()],
            [entry.rows for entry in entries.values()],
            [entry.failure for entry in entries.values()],
        ]
        self.storage.write_table(f"{self.folder}/{_FILE}", pa.table(columns, schema=_SCHEMA))
        self._changed = False

    def _name(self, path: str) -> str:
        return path.removeprefix(f"{self.folder}/")

    def _load(self) -> dict[str, _Entry]:
        try:
            columns = self.storage.read_table(f"{self.folder}/{_FILE}").select(_SCHEMA.names).to_pydict().values()
        except (FileNotFoundError, StorageError, pa.ArrowInvalid, KeyError):  # not written yet, damaged, or of another version
            return {}
        return {name: _Entry(FileStat(size, modified), rows, failure) for name, size, modified, rows, failure in zip(*columns, strict=True)}

    def _put(self, name: str, entry: _Entry) -> None:
        entries = self._entries = {} if self._entries is None else self._entries
        if entries.get(name) != entry:
            entries[name], self._changed = entry, True

    def _complete(self, names: Iterable[str], value: Callable[[_Entry], object], read: Callable[[str], _Entry]) -> dict[str, _Entry]:
        """The entries of these files; those that are missing are read."""
        names, entries = list(names), self._entries or {}
        missing = [name for name in names if name not in entries or value(entries[name]) is None]
        if missing:
            with ThreadPoolExecutor(_READERS, thread_name_prefix="index") as pool:
                for name, entry in zip(missing, pool.map(read, missing), strict=True):
                    self._put(name, entry)
        return {name: (self._entries or {})[name] for name in names}

    def _read_rows(self, name: str) -> int:
        return self.storage.table_rows(f"{self.folder}/{name}")

    def _read_failure(self, name: str) -> str:
        return self.storage.read_bytes(f"{self.folder}/{name}").decode()
