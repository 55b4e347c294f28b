"""Logits of many people -> each one's smoothed probabilities and labels, their PREDICTION table and their confusion matrices.

The order of temperature, smoothing and bias is ``scoring.decision``'s; which model may score whom is ``fusion.protocols``' part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, Int, Int8, Int64

from abaw_ray.core import schema
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.fusion.frames import Frames, Person
from abaw_ray.scoring.decision import Decision, choose_labels
from abaw_ray.scoring.filling import fill_labels
from abaw_ray.scoring.metrics import confusion

Boxes = Mapping[tuple[str, str], Float32[np.ndarray, "frames 4"]]
"""Boxes by (video, track), one a frame in order, NaN where no face is seen."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """One person's frames, ascending."""

    person: Person
    rows: Int[np.ndarray, " n"]
    """Their rows in the ``Frames``."""
    probabilities: Float[np.ndarray, "n 8"]
    """Smoothed and calibrated; NaN where there is no score."""
    labels: Int8[np.ndarray, " n"]
    """The most probable class; -1 where there is no score."""
    gate: Float[np.ndarray, " n"]
    """Weight of the visual vector; NaN where there is no score of the frame itself."""

    @property
    def scored(self) -> Bool[np.ndarray, " n"]:
        """Whether a frame has a label of its own."""
        return self.labels >= 0


def predict_people(
    frames: Frames,
    rows: Int[np.ndarray, " rows"],
    logits: Float[np.ndarray, "rows 8"],
    gate: Float[np.ndarray, " rows"],
    decision: Decision,
) -> list[Predicted]:
    """Decide person by person; nobody's scores reach another's.

    Args:
        frames: Where the rows are from.
        rows: Ascending rows of whole people.
        logits: NaN where a frame has no score.
        gate: Weight of the visual vector.
        decision: How logits become labels.
    """
    found = []
    for index in np.unique(frames.person[rows]):
        mine = frames.person[rows] == index
        scored = np.isfinite(logits[mine]).all(axis=1)
        probabilities = decision.probabilities(logits[mine], frames.time[rows[mine]], scored)
        found.append(
            Predicted(
                person=frames.people[index],
                rows=rows[mine],
                probabilities=probabilities,
                labels=choose_labels(probabilities),
                gate=gate[mine],
            )
        )
    return found


def confusions(frames: Frames, people: Sequence[Predicted], default: int) -> Int64[np.ndarray, "people 8 8"]:
    """One matrix a person over all annotated frames; a frame without a score takes its nearest neighbour's label, as a submission would.

    Args:
        frames: Holds the annotations.
        people: Whom to count.
        default: Label of a person without any scored frame.
    """
    return np.array([confusion(frames.labels[one.rows], fill_labels(one.labels, default)) for one in people]).reshape(-1, 8, 8)


def prediction_table(frames: Frames, people: Sequence[Predicted], boxes: Boxes) -> pa.Table:
    """``PREDICTION`` rows of these people, one for every frame."""
    rows = np.concatenate([one.rows for one in people]) if people else np.zeros(0, int)
    probabilities = np.concatenate([one.probabilities for one in people]) if people else np.zeros((0, len(EXPRESSIONS)))
    labels = np.concatenate([one.labels for one in people]) if people else np.zeros(0, np.int8)
    box = np.concatenate([_boxes_of(one, frames, boxes) for one in people]) if people else np.zeros((0, 4))
    person = [frames.people[index] for index in frames.person[rows]]
    columns = {
        "video": pa.array([one.video for one in person], pa.string()),
        "track": pa.array([one.track for one in person], pa.string()),
        "frame": pa.array(frames.frame[rows]),
        "time": pa.array(frames.time[rows]),
        "seen": pa.array(frames.seen[rows]),
        "heard": pa.array(frames.heard[rows]),
        "scored": pa.array(labels >= 0),
        "box": _nullable(box, np.isfinite(box).all(axis=1)),
        "probability": _nullable(probabilities, labels >= 0),
        "label": pa.array([EXPRESSIONS[label] if label >= 0 else None for label in labels], pa.string()),
    }
    return schema.conform(pa.table(columns), schema.PREDICTION, stage="predict")


def _boxes_of(one: Predicted, frames: Frames, boxes: Boxes) -> Float32[np.ndarray, "n 4"]:
    known = boxes.get((one.person.video, one.person.track))
    if known is None:
        return np.full((len(one.rows), 4), np.nan, np.float32)
    first = int(frames.frame[one.rows[0]])
    return known[frames.frame[one.rows] - first]


def _nullable(values: Float[np.ndarray, "n width"], there: Bool[np.ndarray, " n"]) -> pa.Array:
    """Fixed-size lists of float32, null where there is nothing."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(~there))
