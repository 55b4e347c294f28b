"""The analysis of a video -> one row per person: how much was seen, and the share, mean probability and episodes of each expression."""

from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.tables import rows_of_person
from abaw_ray.predict.analysis_data import AnalysisData

MIN_EPISODE_S = 0.2
"""Seconds: shorter runs of one expression are not counted as episodes. Default ours."""
_NAMES = tuple(name.lower() for name in EXPRESSIONS)
SUMMARY = pa.schema(
    [
        pa.field("video", pa.string(), nullable=False),
        pa.field("person", pa.string(), nullable=False),
        pa.field("first_time", pa.float64(), nullable=False),  # seconds, of the person's first row
        pa.field("last_time", pa.float64(), nullable=False),  # seconds, of the person's last row
        pa.field("frames", pa.int32(), nullable=False),  # rows of the person
        pa.field("share_seen", pa.float32(), nullable=False),  # fraction of the person's time with a face
        pa.field("share_heard", pa.float32(), nullable=False),  # fraction of the person's time with sound
        pa.field("share_scored", pa.float32(), nullable=False),  # fraction of the person's time with a score
        pa.field("dominant", pa.string()),  # expression with the largest share; null without a score
        *(pa.field(f"share_{name}", pa.float32()) for name in _NAMES),  # fraction of the scored time with this label; null without a score
        *(pa.field(f"mean_{name}", pa.float32()) for name in _NAMES),  # mean probability over the scored time
        *(pa.field(f"episodes_{name}", pa.int32()) for name in _NAMES),  # uninterrupted runs of this label of at least MIN_EPISODE_S
    ]
)
"""Columns of ``summary.csv``. Times are weighted by how long a frame is shown, so a variable frame rate does not distort shares."""


def summarize(analysis: AnalysisData) -> pa.Table:
    """One row of ``SUMMARY`` per person, the main person first."""
    rows = [_person(analysis, person) for person in analysis.people]
    return pa.Table.from_pylist(rows, schema=SUMMARY)


def _person(analysis: AnalysisData, person: str) -> dict[str, Any]:
    table = rows_of_person(analysis.table, person)
    time = table["time"].to_numpy()
    weight = frame_durations(time)
    seen, heard, scored = (table[name].to_numpy().astype(bool) for name in ("seen", "heard", "scored"))
    labels = table["label"].to_pylist()
    row = {"video": analysis.video.name, "person": person, "first_time": time[0], "last_time": time[-1], "frames": len(time)}
    row |= {name: _fraction(mask, weight) for name, mask in (("share_seen", seen), ("share_heard", heard), ("share_scored", scored))}
    if not scored.any():
        return row
    shares = {expression: _fraction(np.array([label == expression for label in labels])[scored], weight[scored]) for expression in EXPRESSIONS}
    row["dominant"] = max(shares, key=lambda expression: shares[expression])
    episodes = _episodes(labels, weight)
    for expression, name in zip(EXPRESSIONS, _NAMES, strict=True):
        column = table[f"p_{name}"]
        if column.null_count == len(column):  # the model does not have this expression
            continue
        probability = column.to_numpy(zero_copy_only=False)[scored]
        row |= {f"share_{name}": shares[expression], f"episodes_{name}": episodes.get(expression, 0)}
        row[f"mean_{name}"] = float(np.average(probability, weights=weight[scored]))
    return row


def frame_durations(time: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " frames"]:
    """Seconds until the next frame; of the last one the median of the others, and 1 for a single frame."""
    if len(time) < 2:
        return np.ones(len(time))
    steps = np.diff(time)
    return np.append(steps, np.median(steps)).clip(min=1e-6)


def _fraction(mask: np.ndarray, weight: np.ndarray) -> float:
    return float(weight[mask].sum() / weight.sum())


def _episodes(labels: list[str | None], weight: np.ndarray) -> dict[str, int]:
    """Number of runs of each label that last long enough."""
    counts: dict[str, int] = {}
    start = 0
    for label, group in groupby(labels):
        length = len(list(group))
        if label is not None and weight[start : start + length].sum() >= MIN_EPISODE_S:
            counts[label] = counts.get(label, 0) + 1
        start += length
    return counts
