"""Rows of tracklets with their chips -> a temporary file, and back one tracklet after the other: memory does not grow with the video.

Who somebody is turns out at a video's end, and the video is decoded once: until then chips wait on the local disk. The file has no name, so
that it is gone with the process, however that ends.
"""

import tempfile
from collections.abc import Iterator

import pyarrow as pa

from abaw_ray.core import schema

_ROWS = 32
"""Rows of one tracklet that are written together: a megabyte of chips or less."""
ROW = pa.schema([field for field in schema.FACE if field.name not in ("video", "track")])
"""A row of ``FACE`` whose person has no name yet."""


class Spool:
    """One video's rows, as an Arrow file of small batches, each of one tracklet."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="abaw-faces-")  # noqa: SIM115 - closed by ``close``
        self._writer, self._reader = pa.ipc.new_file(self._file, ROW), None
        self._waiting: dict[int, list[dict]] = {}
        self._batches: dict[int, list[int]] = {}
        self._count = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def read(self, tracklets: list[int]) -> Iterator[pa.RecordBatch]:
        """The rows of these tracklets, in this order; after the first call nothing can be added any more."""
        if self._reader is None:
            self.flush()
            self._writer.close()
            self._file.flush()
            self._reader = pa.ipc.open_file(self._file)
        for tracklet in tracklets:
            for index in self._batches.get(tracklet, []):
                yield self._reader.get_batch(index)

    def close(self) -> None:
        """Give the disk back."""
        if self._reader is None:
            self._writer.close()
        self._file.close()

    def _write(self, tracklet: int) -> None:
        self._writer.write_batch(pa.RecordBatch.from_pylist(self._waiting.pop(tracklet), schema=ROW))
        self._batches.setdefault(tracklet, []).append(self._count)
        self._count += 1
