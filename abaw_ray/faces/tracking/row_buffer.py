"""Rows of tracklets with their chips -> a file on the local disk, read back one tracklet at a time: memory does not grow with the video.

People are named at the end of a video, and the video is decoded once, so chips are kept on disk until then. A temporary file has no name, so it
disappears with the process, however that ends. A file with a name is passed from one worker to another.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abaw_ray.core import schema

_BATCH_ROWS = 32
"""Rows of one tracklet that are written together: a megabyte of chips or less."""
ROW_SCHEMA = pa.schema([field for field in schema.FACE if field.name not in ("video", "track", "shot")])
"""A row of ``FACE`` before its person is named and all shots are known."""


class RowBuffer:
    """Rows as an Arrow file of small record batches, each of one tracklet."""

    def __init__(self, path: Path | None = None) -> None:
        """Open the file; ``path`` None opens a temporary file without a name."""
        self._file = path.open("w+b") if path else tempfile.TemporaryFile(prefix="abaw-faces-")  # noqa: SIM115 - closed by ``__exit__``
        self._writer = pa.ipc.new_file(self._file, ROW_SCHEMA)
        self._pending: dict[int, list[dict]] = {}
        self.batches: dict[int, list[int]] = {}
        """Indices of the record batches of each tracklet, in order."""
        self._count, self._closed = 0, False

    def __enter__(self) -> "RowBuffer":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.finish()
        self._file.close()

    def add(self, tracklet: int, row: dict) -> None:
        """Add one row of a tracklet, frames ascending."""
        pending = self._pending.setdefault(tracklet, [])
        pending.append(row)
        if len(pending) >= _BATCH_ROWS:
            self._write(tracklet)

    def flush(self) -> None:
        """Write the pending rows of all tracklets; called at a cut, where all tracklets end."""
        for tracklet in list(self._pending):
            self._write(tracklet)

    def finish(self) -> "RowReader":
        """Write the file's footer and return a reader; no row can be added any more. The file stays open until the buffer is closed."""
        if not self._closed:
            self.flush()
            self._writer.close()
            self._file.flush()
            self._closed = True
        return RowReader(self._file, self.batches)

    def _write(self, tracklet: int) -> None:
        self._writer.write_batch(pa.RecordBatch.from_pylist(self._pending.pop(tracklet), schema=ROW_SCHEMA))
        self.batches.setdefault(tracklet, []).append(self._count)
        self._count += 1


class RowReader:
    """Reads the rows of a finished row buffer from its file."""

    def __init__(self, file: BinaryIO, batches: dict[int, list[int]]) -> None:
        self._reader, self._batches = pa.ipc.open_file(file), batches

    def read(self, tracklet: int, first: int, last: int, frame_offset: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a tracklet from frame ``first`` to ``last``, with ``frame_offset`` added to their frame numbers."""
        for index in self._batches.get(tracklet, []):
            batch = self._reader.get_batch(index)
            column = batch.schema.get_field_index("frame")
            start, stop = np.searchsorted(np.asarray(batch.column(column)), [first, last + 1]).tolist()
            batch = batch.slice(start, stop - start)
            if not len(batch):
                continue
            if frame_offset:
                shifted = pc.add(batch.column(column), pa.scalar(frame_offset, pa.int32()))  # pyright: ignore[reportAttributeAccessIssue] (pyarrow.compute defines its functions at import)
                batch = batch.set_column(column, ROW_SCHEMA.field(column), shifted)
            yield batch
