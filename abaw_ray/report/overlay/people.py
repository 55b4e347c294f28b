"""An ANALYSIS table of one video -> arrays for each person, in which a frame's row is found at once."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.tables import rows_of_person

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

    spacing: int = 1
    """Largest difference of two successive frame numbers of the main person: above 1 where only some frames have rows."""

    def at(self, frame: int) -> int | None:
        """Return the row of a frame, or of the last frame with a row before it, at a lower rate; None where the person has none."""
        row = int(np.searchsorted(self.frame, frame, side="right")) - 1
        return row if row >= 0 and frame - self.frame[row] < self.spacing else None


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
    names = table["person"].unique().to_pylist()
    people = [_person(rows_of_person(table, name), name) for name in names]
    people.sort(key=lambda person: person.name != schema.MAIN_TRACK)
    spacing = int(np.diff(people[0].frame).max(initial=1))
    return [replace(person, spacing=spacing) for person in people]


def _person(table: pa.Table, name: str) -> Person:
    table = table.sort_by("frame")
    index = {expression: number for number, expression in enumerate(EXPRESSIONS)}
    label = table["label"].to_pylist()
    return Person(
        name=name,
        frame=table["frame"].to_numpy(),
        time=table["time"].to_numpy(),
        seen=table["seen"].to_numpy(),
        heard=table["heard"].to_numpy(),
        label=np.array([index.get(expression, -1) for expression in label], np.int64),
        confidence=_floats(table, ["confidence"])[:, 0],
        probability=_floats(table, [f"p_{expression.lower()}" for expression in EXPRESSIONS]),
        box=_floats(table, list(_EDGES)),
    )


def _floats(table: pa.Table, names: list[str]) -> np.ndarray:
    """Columns as one array, null as NaN."""
    return np.stack([table[name].to_numpy() for name in names], axis=1).astype(np.float64)
