"""Rows of tracklets with their chips -> a file, and back one tracklet after the other: memory does not grow with the video.

Who somebody is turns out at a video's end, and the video is decoded once: until then chips wait on the local disk. A temporary file has no
name, so that it is gone with the process, however that ends; a file with a name is what one worker hands to another.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from abaw_ray.core import schema

_ROWS = 32
"""Rows of one tracklet that are written together: a megabyte of chips or less."""
ROW = pa.schema([field for field in schema.FACE if field.name not in ("video", "track")])
"""A row of ``FACE`` whose person has no name yet."""


class Spool:
    """Rows as an Arrow file of small batches, each of one tracklet."""

    def __init__(self, path: Path | None = None) -> None:
        """``path``: None for a file without a name."""
        self._file = path.open("w+b") if path else tempfile.TemporaryFile(prefix="abaw-faces-")  # noqa: SIM115 - closed by ``close``
        self._writer = pa.ipc.new_file(self._file, ROW)
        self._waiting: dict[int, list[dict]] = {}
        self.batches: dict[int, list[int]] = {}
        """Numbers of the batches of each tracklet, in order."""
        self._count, self._closed = 0, False

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.finish()
        self._file.close()

    def add(self, tracklet: int, row: dict) -> None:
        """Put one row of a tracklet; its frames ascend."""
        waiting = self._waiting.setdefault(tracklet, [])
        waiting.append(row)
        if len(waiting) >= _ROWS:
            self._write(tracklet)

    def flush(self) -> None:
        """Write what waits in memory: at a cut nobody goes on."""
        for tracklet in list(self._waiting):
            self._write(tracklet)

    def finish(self) -> "Rows":
        """Write the end of the file; nothing can be added any more. The rows can be read while the spool is open."""
        if not self._closed:
            self.flush()
            self._writer.close()
            self._file.flush()
            self._closed = True
        return Rows(self._file, self.batches)

    def _write(self, tracklet: int) -> None:
        self._writer.write_batch(pa.RecordBatch.from_pylist(self._waiting.pop(tracklet), schema=ROW))
        self.batches.setdefault(tracklet, []).append(self._count)
        self._count += 1


class Rows:
    """What a spool holds, read from its file."""

    def __init__(self, file: BinaryIO, batches: dict[int, list[int]]) -> None:
        self._reader, self._batches = pa.ipc.open_file(file), batches

    def read(self, tracklet: int, later: int = 0) -> Iterator[pa.RecordBatch]:
        """The rows of a tracklet, ``later`` added to their frames."""
        for index in self._batches.get(tracklet, []):
            batch = self._reader.get_batch(index)
            if later:
                place = batch.schema.get_field_index("frame")
                batch = batch.set_column(place, ROW.field(place), pc.add(batch.column(place), pa.scalar(later, pa.int32())))
            yield batch
