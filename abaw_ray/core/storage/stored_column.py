"""Deletion of one column from the outputs of a store: the chips of faces are 99 % of their output, and no stage reads them once features exist.

An output without the column stays an output: it keeps its path, its other columns and its rows. So records stay valid, and a reader of the column
fails instead of taking deleted values for missing ones.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from abaw_ray.core.progress import progress
from abaw_ray.core.storage.records import Record, StageStore
from abaw_ray.core.storage.storage import Storage

_PARALLEL = 16
"""Outputs that are read or written at the same time. Ours."""
_SCHEMA = pa.schema([("output", pa.string()), ("deleted", pa.bool_())])


@dataclass(frozen=True)
class StoredColumn:
    """One column of the outputs of a store. A file of the store lists the outputs that may be without it."""

    store: StageStore
    name: str

    def delete(self, record: Record, text: str, unit: str) -> int:
        """Delete the column from all outputs of a record that have it; the caller holds the store's lock.

        Only the other columns are read and written. Where it is interrupted, another call continues.

        Args:
            record: The outputs.
            text: Plural noun for the values, for the progress.
            unit: Plural noun for the items, for the progress.

        Returns:
            Freed bytes; 0 where all was deleted before.
        """
        listed = self._read()
        outputs = [path for path in record.outputs.values() if not listed.get(path)]
        if not outputs:
            return 0
        self._write(listed | dict.fromkeys(outputs, False))  # before the first output: one that is not listed has the column
        index = self.store.index()
        index.refresh()
        before = index.bytes(outputs)
        with progress(f"{self.store.stage}, {text} deleted", len(outputs), unit) as shown, ThreadPoolExecutor(_PARALLEL) as pool:
            for path, rows in zip(outputs, pool.map(partial(_delete, self.store.storage, self.name), outputs), strict=True):
                if rows is not None:
                    index.add(path, rows)
                shown.step()
        index.refresh()
        index.save()
        self._write(listed | dict.fromkeys(outputs, True))
        return before - index.bytes(outputs)

    def without(self, outputs: Iterable[str]) -> set[str]:
        """Those of these outputs (paths below the storage root) that are without the column; reads one file where nothing was deleted."""
        listed = self._read()
        paths = [path for path in outputs if path in listed]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return {path for path, found in zip(paths, pool.map(partial(_has, self.store.storage, self.name), paths), strict=True) if not found}

    def expect(self, outputs: Iterable[str]) -> None:
        """State that these outputs get the column again: they remain in the list, as some may not get it, and ``delete`` looks at them."""
        self._write(self._read() | dict.fromkeys(outputs, False))

    @property
    def _path(self) -> str:
        return f"{self.store.path}/without-{self.name}.parquet"

    def _read(self) -> dict[str, bool]:
        """Path of an output that may be without the column -> whether it is for certain."""
        try:
            columns = self.store.storage.read_table(self._path).to_pydict()
        except FileNotFoundError:
            return {}
        return dict(zip(columns["output"], columns["deleted"], strict=True))

    def _write(self, listed: Mapping[str, bool]) -> None:
        self.store.storage.write_table(self._path, pa.table([list(listed), list(listed.values())], schema=_SCHEMA))


def _has(storage: Storage, column: str, path: str) -> bool:
    return column in storage.table_schema(path).names


def _delete(storage: Storage, column: str, path: str) -> int | None:
    """Write one output without the column; returns its rows, None where it has no such column."""
    names = storage.table_schema(path).names
    if column not in names:
        return None
    table = storage.read_table(path, columns=[name for name in names if name != column])
    storage.write_table(path, table)
    return len(table)
