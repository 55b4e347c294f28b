"""An ANALYSIS table of one video -> arrays for each person, in which a frame's row is found at once."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.frame_times import FrameTimes
from abaw_ray.core.tables import float_array, index_array, rows_of_person

_EDGES = ("box_x0", "box_y0", "box_x1", "box_y1")


@dataclass(frozen=True, eq=False, kw_only=True)
class Person:
    """Rows of one person, frames ascending."""

    name: str
    frame: Int[np.ndarray, " rows"]
    time: Float[np.ndarray, " rows"]
    """Seconds."""
    seen: Bool[np.ndarray, " rows"]
    heard: Bool[np.ndarray, " rows"]
    label: Int[np.ndarray, " rows"]
    """Index into ``EXPRESSIONS``; -1 where not scored."""
    confidence: Float[np.ndarray, " rows"]
    """Probability of that expression; NaN where not scored."""
    probability: Float[np.ndarray, "rows classes"]
    """NaN where not scored, and for expressions that the model does not have."""
    box: Float[np.ndarray, "rows 4"]
    """x0 y0 x1 y1 in pixels of the upright frame; NaN where not seen."""

    frames: FrameTimes
    """All frames of the table."""

    def at(self, frame: int) -> int | None:
        """Return the row that is shown with a frame of the video: its own, at a lower rate that of the last frame in the table; None without one."""
        shown = self.frames.shown(frame)
        row = 0 if shown is None else int(np.searchsorted(self.frame, shown))
        return row if row < len(self.frame) and self.frame[row] == shown else None


def read_people(table: pa.Table) -> list[Person]:
    """Return the people of a video, the main one first, the others in the order of the table.

    Raises:
        StageError: the table is not an ANALYSIS table.
        DataError: it has no rows, or those of several videos.
    """
    table = schema.conform(table, schema.ANALYSIS, stage="overlay")
    videos = table["video"].unique().to_pylist()
    if len(videos) != 1:
        raise DataError(f"the table holds the rows of {len(videos)} videos; pass those of one video")
    frames = FrameTimes.of(table["frame"].to_numpy(), table["time"].to_numpy())
    names = sorted(table["person"].unique().to_pylist(), key=lambda name: name != schema.MAIN_TRACK)
    return [_person(rows_of_person(table, name), name, frames) for name in names]


def _person(table: pa.Table, name: str, frames: FrameTimes) -> Person:
    return Person(
        name=name,
        frame=table["frame"].to_numpy(),
        time=table["time"].to_numpy(),
        seen=table["seen"].to_numpy(),
        heard=table["heard"].to_numpy(),
        label=index_array(table["label"], EXPRESSIONS),
        confidence=table["confidence"].to_numpy().astype(np.float64),
        probability=float_array(table, [f"p_{expression.lower()}" for expression in EXPRESSIONS]),
        box=float_array(table, _EDGES),
        frames=frames,
    )
