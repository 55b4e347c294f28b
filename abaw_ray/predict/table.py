"""FACE rows and scores of one video -> the ANALYSIS table: each person is smoothed and calibrated separately."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int8

from abaw_ray.core import schema
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.tables import list_array, name_array
from abaw_ray.predict.models.scores import FrameScores
from abaw_ray.scoring.postprocessing import Postprocessing, predict_labels

FACE_COLUMNS = ("video", "track", "frame", "time", "seen", "source", "box")
"""Columns of FACE that the table needs."""
_EDGES = ("x0", "y0", "x1", "y1")


def analysis_table(faces: pa.Table, scores: Sequence[FrameScores], postprocessing: Postprocessing) -> pa.Table:
    """The ANALYSIS rows of one video, in the order of its FACE rows.

    Args:
        faces: ``FACE_COLUMNS`` of its rows, by person, frames ascending.
        scores: Scores of all these rows, in one or more parts.
        postprocessing: Smoothing and calibration.
    """
    logits = np.concatenate([part.logits for part in scores]) if scores else np.zeros((0, len(EXPRESSIONS)))
    probabilities = np.full(logits.shape, np.nan)
    tracks, times = faces["track"].to_numpy(), faces["time"].to_numpy()
    for rows in _people(tracks):
        scored = np.logical_not(np.any(np.isnan(logits[rows]), axis=1))
        probabilities[rows] = postprocessing.probabilities(logits[rows], times[rows], scored)
    labels = predict_labels(probabilities)
    columns = {name: faces[name] for name in ("video", "frame", "time", "seen", "source")}
    columns["person"] = faces["track"]
    columns["heard"] = pa.array(_concatenated([part.heard for part in scores], bool))
    columns["gate"] = _nullable(_concatenated([part.gate for part in scores], np.float32))
    columns |= _score_columns(probabilities, labels, missing=np.asarray(np.isneginf(logits).any(axis=0)))
    columns |= {f"box_{edge}": _nullable(column) for edge, column in zip(_EDGES, list_array(faces["box"]).T, strict=True)}
    return schema.conform(pa.table(columns), schema.ANALYSIS, stage="analyze")


def _people(tracks: np.ndarray) -> list[slice]:
    """The rows of each person: runs of equal names."""
    starts = [0, *(1 + np.flatnonzero(tracks[1:] != tracks[:-1]))]
    return [slice(first, last) for first, last in zip(starts, [*starts[1:], len(tracks)], strict=True)] if len(tracks) else []


def _score_columns(
    probabilities: Float[np.ndarray, "rows 8"], labels: Int8[np.ndarray, " rows"], missing: Bool[np.ndarray, " 8"]
) -> dict[str, pa.Array]:
    """Label, confidence and one column per expression; an expression that the model does not have is null in every row."""
    scored = labels >= 0
    confidence = np.where(scored, probabilities[np.arange(len(labels)), labels], np.nan)
    columns = {
        "scored": pa.array(scored),
        "label": name_array(labels, EXPRESSIONS),
        "confidence": _nullable(confidence),
    }
    for index, name in enumerate(EXPRESSIONS):
        columns[f"p_{name.lower()}"] = _nullable(np.where(missing[index], np.nan, probabilities[:, index]))
    return columns


def _concatenated(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _nullable(values: Float[np.ndarray, " rows"]) -> pa.Array:
    """float32, null where NaN."""
    return pa.array(values.astype(np.float32), mask=np.isnan(values))
