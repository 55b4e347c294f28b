"""Rows of one person from the row buffer -> FACE tables: one row for each frame, with or without a face.

The row of a frame without a face has ``seen = false``.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int32

from abaw_ray.core import schema

MAX_ROWS = 256
"""Maximum number of rows of a table: a few megabytes of chips."""


def fill_frames(
    batches: Iterator[pa.RecordBatch],
    first: int,
    last: int,
    times: Float[np.ndarray, " frames"],
    shots: Int32[np.ndarray, " frames"] | None = None,
) -> Iterator[pa.Table]:
    """Yield one row for each frame from ``first`` to ``last``: that of a batch where there is one, else a row with ``seen = false``.

    Args:
        batches: Rows without track names, frames ascending.
        first: Number of the first frame.
        last: Number of the last frame.
        times: Presentation times in seconds of all frames of the video, frame 1 first.
        shots: Number of the shot of each frame; None where no cuts are known: one shot.
    """
    shots = np.zeros(len(times), np.int32) if shots is None else shots
    start = first
    for batch in batches:
        frames = np.asarray(batch.column("frame"))
        stop = int(frames[-1]) + 1
        index = np.full(stop - start, -1)
        index[frames - start] = np.arange(len(frames))
        yield from _tables(batch, index, start, times, shots)
        start = stop
    if start <= last:
        yield from _tables(None, np.full(last + 1 - start, -1), start, times, shots)


def to_face_table(table: pa.Table, video: str, track: str) -> pa.Table:
    """Return the rows of one person as a FACE table."""
    for index, (name, value) in enumerate((("video", video), ("track", track))):
        table = table.add_column(index, name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
    return schema.conform(table, schema.FACE, stage="CropFaces")


def _tables(batch: pa.RecordBatch | None, index: np.ndarray, start: int, times: np.ndarray, shots: np.ndarray) -> Iterator[pa.Table]:
    """Yield the rows of consecutive frames; ``index``: for each frame from ``start`` on its row in the batch, -1 where it has none."""
    for at in range(0, len(index), MAX_ROWS):
        rows = index[at : at + MAX_ROWS]
        frames = np.arange(start + at, start + at + len(rows))
        fixed = {
            "frame": pa.array(frames, pa.int32()),
            "time": pa.array(times[frames - 1], pa.float64()),
            "shot": pa.array(shots[frames - 1], pa.int32()),
            "seen": pa.array(rows >= 0),
        }
        taken = None if batch is None else batch.take(pa.array(rows, mask=rows < 0))
        columns = [
            fixed[field.name] if field.name in fixed else pa.nulls(len(rows), field.type) if taken is None else taken.column(field.name)
            for field in schema.FACE
            if field.name not in ("video", "track")
        ]
        yield pa.table(columns, names=[field.name for field in schema.FACE if field.name not in ("video", "track")])
