"""Named people and the rows that wait on disk -> FACE tables: one row a frame, seen or not, in small pieces.

Whoever must have a row for every frame has one here; nothing is made up for a frame without a face.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from abaw_ray.core import schema

CHUNK = 256
"""Rows of a table at most: some megabytes of chips."""


def fill_frames(batches: Iterator[pa.RecordBatch], first: int, last: int, times: Float[np.ndarray, " frames"]) -> Iterator[pa.Table]:
    """One row for each frame from ``first`` to ``last``: that of a batch where there is one, else a row with ``seen = false``.

    Args:
        batches: Rows without names, frames ascending.
        first: Number of the first frame.
        last: Number of the last frame.
        times: Of all frames of the video, frame 1 first.
    """
    due = first
    for batch in batches:
        frames = np.asarray(batch.column("frame"))
        stop = int(frames[-1]) + 1
        place = np.full(stop - due, -1)
        place[frames - due] = np.arange(len(frames))
        yield from _pieces(batch, place, due, times)
        due = stop
    if due <= last:
        yield from _pieces(None, np.full(last + 1 - due, -1), due, times)


def named(table: pa.Table, video: str, track: str) -> pa.Table:
    """The rows of one person as a FACE table."""
    for index, (name, value) in enumerate((("video", video), ("track", track))):
        table = table.add_column(index, name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
    return schema.conform(table, schema.FACE, stage="CropFaces")


def _pieces(batch: pa.RecordBatch | None, place: np.ndarray, due: int, times: np.ndarray) -> Iterator[pa.Table]:
    """``place``: for each frame from ``due`` on its row in the batch, -1 where it has none."""
    for at in range(0, len(place), CHUNK):
        rows = place[at : at + CHUNK]
        frames = np.arange(due + at, due + at + len(rows))
        fixed = {
            "frame": pa.array(frames, pa.int32()),
            "time": pa.array(times[frames - 1], pa.float64()),
            "seen": pa.array(rows >= 0),
        }
        taken = None if batch is None else batch.take(pa.array(rows, mask=rows < 0))
        columns = [
            fixed[field.name] if field.name in fixed else pa.nulls(len(rows), field.type) if taken is None else taken.column(field.name)
            for field in schema.FACE
            if field.name not in ("video", "track")
        ]
        yield pa.table(columns, names=[field.name for field in schema.FACE if field.name not in ("video", "track")])
