"""Deletion of one column from the outputs of a store: chips are 99 % of the outputs of the stage ``faces``, and few stages read them, once.

An output without the column stays an output: it keeps its path, its other columns and its rows. So records stay valid, and a reader of the column
fails instead of taking deleted values for missing ones.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from abaw_ray.core.progress import progress
from abaw_ray.core.stage_store.record import Record
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.storage import Storage

_PARALLEL = 16
"""Outputs that are read or written at the same time. Ours."""
_SCHEMA = pa.schema([("output", pa.string()), ("deleted", pa.bool_())])


@dataclass(frozen=True)
class StoredColumn:
    """One column of the outputs of a store. A file of the store lists the outputs that may be without it; it is written under the store's lock."""

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
        index = self.store.index()
        index.refresh()
        outputs = [path for path in record.outputs.values() if not listed.get(path) and index.has_output(path)]
        if not outputs:
            return 0
        self._write(listed | dict.fromkeys(outputs, False))  # before the first output: one that is not listed has the column
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
        """Those of these outputs (paths below the storage root) that are without the column; opens none where nothing was deleted."""
        listed, paths = self._read(), list(outputs)
        deleted = {path for path in paths if listed.get(path)}
        unsure = [path for path in paths if listed.get(path) is False]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            found = zip(unsure, pool.map(partial(_has, self.store.storage, self.name), unsure), strict=True)
            return deleted | {path for path, has in found if not has}

    @property
    def is_listed(self) -> bool:
        """Whether there are outputs that may be without the column."""
        return bool(self._read())

    def expect(self, outputs: Iterable[str]) -> None:
        """State that these outputs get the column again; the caller holds the store's lock. They remain in the list, as some may not get it."""
        self._write(self._read() | dict.fromkeys(outputs, False))

    @property
    def _path(self) -> str:
        return f"{self.store.path}/without-{self.name}.parquet"

    def _read(self) -> dict[str, bool]:
        """Path of an output that may be without the column -> whether it was deleted; False where only the output itself shows it."""
        try:
            columns = self.store.storage.read_table(self._path).to_pydict()
        except FileNotFoundError:
            return {}
        return dict(zip(columns["output"], columns["deleted"], strict=True))

    def _write(self, listed: Mapping[str, bool]) -> None:
        self.store.storage.write_table(self._path, pa.table([list(listed), list(listed.values())], schema=_SCHEMA))


def _has(storage: Storage, column: str, path: str) -> bool:
    with suppress(FileNotFoundError):  # then there is no column either
        return column in storage.table_schema(path).names
    return False


def _delete(storage: Storage, column: str, path: str) -> int | None:
    """Write one output without the column; returns its rows, None where it has no such column."""
    names = storage.table_schema(path).names
    if column not in names:
        return None
    table = storage.read_table(path, columns=[name for name in names if name != column])
    storage.write_table(path, table)
    return len(table)
