"""Logits of many subjects -> smoothed probabilities and labels, the PREDICTION table and confusion matrices.

``scoring.postprocessing`` defines the order of temperature, smoothing and bias; ``fusion.evaluation.protocols`` decides which model may score which
subject.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, Int, Int8, Int64

from abaw_ray.core import schema
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.tables import name_array
from abaw_ray.fusion.frames import Frames, SubjectTrack
from abaw_ray.scoring.fill import fill_labels
from abaw_ray.scoring.metrics import confusion_matrix
from abaw_ray.scoring.postprocessing import Postprocessing, predict_labels

Boxes = Mapping[tuple[str, str], Float32[np.ndarray, "_ 4"]]
"""Face boxes by (video, track), one per frame in order, NaN where no face is detected."""


@dataclass(frozen=True, kw_only=True)
class SubjectPrediction:
    """Predictions for one subject's frames, ascending."""

    subject: SubjectTrack
    rows: Int[np.ndarray, " n"]
    """Row indices in the ``Frames``."""
    probabilities: Float[np.ndarray, "n 8"]
    """Smoothed and calibrated; NaN where the frame has no score."""
    labels: Int8[np.ndarray, " n"]
    """The most probable class; -1 where the frame has no score."""
    gate: Float[np.ndarray, " n"]
    """Weight of the visual vector; NaN where the frame itself has no score."""

    @property
    def scored(self) -> Bool[np.ndarray, " n"]:
        """Whether each frame has a predicted label."""
        return self.labels >= 0


def predict_subjects(
    frames: Frames,
    rows: Int[np.ndarray, " rows"],
    logits: Float[np.ndarray, "rows 8"],
    gate: Float[np.ndarray, " rows"],
    postprocessing: Postprocessing,
) -> list[SubjectPrediction]:
    """Predictions of each subject; subjects are smoothed independently.

    Args:
        frames: The frames that ``rows`` index.
        rows: Row indices, ascending, with all rows of each subject.
        logits: NaN where a frame has no score.
        gate: Weight of the visual vector.
        postprocessing: Steps from logits to labels.
    """
    predictions = []
    for index in np.unique(frames.subject_index[rows]):
        mask = frames.subject_index[rows] == index
        scored = np.all(np.isfinite(logits[mask]), axis=1)
        probabilities = postprocessing.probabilities(logits[mask], frames.time[rows[mask]], scored)
        predictions.append(
            SubjectPrediction(
                subject=frames.subjects[index],
                rows=rows[mask],
                probabilities=probabilities,
                labels=predict_labels(probabilities),
                gate=gate[mask],
            )
        )
    return predictions


def confusion_matrices(frames: Frames, predictions: Sequence[SubjectPrediction], default: int) -> Int64[np.ndarray, "subjects 8 8"]:
    """One matrix per subject over all labelled frames; an unscored frame takes the nearest scored frame's label, as in a submission.

    Args:
        frames: Holds the annotations.
        predictions: The subjects to count.
        default: Label of a subject without any scored frame.
    """
    matrices = [confusion_matrix(frames.labels[one.rows], fill_labels(one.labels, default)) for one in predictions]
    return np.array(matrices, dtype=np.int64).reshape(-1, 8, 8)


def prediction_table(frames: Frames, predictions: Sequence[SubjectPrediction], boxes: Boxes) -> pa.Table:
    """``PREDICTION`` rows of these subjects, one per frame."""
    rows = np.concatenate([one.rows for one in predictions]) if predictions else np.zeros(0, int)
    probabilities = np.concatenate([one.probabilities for one in predictions]) if predictions else np.zeros((0, len(EXPRESSIONS)))
    labels = np.concatenate([one.labels for one in predictions]) if predictions else np.zeros(0, np.int8)
    box = np.concatenate([_boxes_of(one, frames, boxes) for one in predictions]) if predictions else np.zeros((0, 4))
    subjects = [frames.subjects[index] for index in frames.subject_index[rows]]
    columns = {
        "video": pa.array([subject.video for subject in subjects], pa.string()),
        "track": pa.array([subject.track for subject in subjects], pa.string()),
        "frame": pa.array(frames.frame[rows]),
        "time": pa.array(frames.time[rows]),
        "seen": pa.array(frames.seen[rows]),
        "heard": pa.array(frames.heard[rows]),
        "scored": pa.array(labels >= 0),
        "box": _nullable(box, np.all(np.isfinite(box), axis=1)),
        "probability": _nullable(probabilities, labels >= 0),
        "label": name_array(labels, EXPRESSIONS),
    }
    return schema.conform(pa.table(columns), schema.PREDICTION, stage="predict")


def _boxes_of(prediction: SubjectPrediction, frames: Frames, boxes: Boxes) -> Float32[np.ndarray, "n 4"]:
    track_boxes = boxes.get((prediction.subject.video, prediction.subject.track))
    if track_boxes is None:
        return np.full((len(prediction.rows), 4), np.nan, np.float32)
    first = int(frames.frame[prediction.rows[0]])
    return track_boxes[frames.frame[prediction.rows] - first]


def _nullable(values: Float[np.ndarray, "n width"], present: Bool[np.ndarray, " n"]) -> pa.Array:
    """Fixed-size lists of float32, null where ``present`` is false."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(~present))
