"""Timelines of subjects, downsampled to a bounded number of columns and encoded as bytes for ``timeline.js``.

A column aggregates consecutive whole frames and keeps the time of the first one, so a variable frame rate keeps its true times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, UInt8

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.schema import MAIN_TRACK
from abaw_ray.core.tables import index_array, list_array
from abaw_ray.report.inputs import Timeline
from abaw_ray.report.web.encoding import MISSING_BYTE, quantize, to_base64


@dataclass(frozen=True, kw_only=True)
class TimelineConfig:
    """Limits on the timelines, which bound the size of the page."""

    max_columns: int = 1200
    """Maximum columns per timeline; with more frames, a column aggregates several. Default ours."""
    max_timelines: int = 60
    """Maximum number of timelines. Default ours."""

    def __post_init__(self) -> None:
        """Reject limits below 1."""
        if min(self.max_columns, self.max_timelines) < 1:
            limits = f"report.timelines.max_columns={self.max_columns} and report.timelines.max_timelines={self.max_timelines}"
            raise ConfigError(f"{limits} must be at least 1")


def timeline_of(
    table: pa.Table, *, label: Int[np.ndarray, " frames"] | None = None, gate: Float[np.ndarray, " frames"] | None = None, group: str = ""
) -> Timeline:
    """``PREDICTION`` rows of one track -> ``Timeline``.

    Args:
        table: Rows of one video and track, by ascending frame; at least one.
        label: The annotation of the same rows, -1 where there is none.
        gate: Weight of the visual features in the same rows, NaN where not scored.
        group: Heading in the list of videos.
    """
    return Timeline(
        video=table["video"][0].as_py(),
        track=table["track"][0].as_py(),
        time=table["time"].to_numpy(),
        predicted=index_array(table["label"], EXPRESSIONS).astype(np.int8),
        probability=list_array(table["probability"]),
        seen=table["seen"].to_numpy(),
        heard=table["heard"].to_numpy(),
        label=label,
        gate=gate,
        first_frame=table["frame"][0].as_py(),
        group=group,
    )


def frame_accuracy(timeline: Timeline) -> float | None:
    """Accuracy over the labelled, scored frames; None where there is none."""
    if timeline.label is None:
        return None
    known = (timeline.label >= 0) & (timeline.predicted >= 0)
    return float((timeline.label == timeline.predicted)[known].mean()) if known.any() else None


def sample_timelines(timelines: Sequence[Timeline], limit: int) -> list[Timeline]:
    """At most ``limit`` timelines in input order, sampled evenly from the ranking by accuracy, the worst and the best included."""
    if len(timelines) <= limit:
        return list(timelines)
    accuracies = [frame_accuracy(timeline) for timeline in timelines]
    ranked = sorted(range(len(timelines)), key=lambda i: (accuracies[i] is None, accuracies[i] or 0.0))
    kept = {ranked[round(place)] for place in np.linspace(0, len(ranked) - 1, limit)}
    return [timelines[i] for i in sorted(kept)]


def encode_timeline(timeline: Timeline, config: TimelineConfig) -> dict[str, Any]:
    """JSON values for ``timeline.js``: texts, and base64 strings of one value per column.

    ``time``: the first frame of each column in seconds, little-endian float32. All others are bytes: class indices, or 0..254 for 0..1;
    255 where there is no value.
    """
    frames = len(timeline.time)
    frames_per_column = max(1, -(-frames // config.max_columns))
    starts = np.arange(0, frames, frames_per_column)
    frame_duration = float(np.median(np.diff(timeline.time))) if frames > 1 else 1 / 30
    times = timeline.time[starts] if frames else np.zeros(0)
    end = float(timeline.time[-1]) + frame_duration if frames else 0.0
    return {
        "name": _name(timeline),
        "group": timeline.group,
        "facts": describe(timeline),
        "frames_per_column": frames_per_column,
        "frames": frames,
        "first_frame": timeline.first_frame,
        "end": round(end, 4),
        "time": to_base64(times.astype("<f4")),
        "label": None if timeline.label is None else to_base64(_most_frequent(timeline.label, starts)),
        "predicted": to_base64(_most_frequent(timeline.predicted, starts)),
        "probability": to_base64(_means(timeline.probability, starts)),
        "seen": to_base64(_means(timeline.seen[:, None].astype(np.float32), starts)),
        "heard": to_base64(_means(timeline.heard[:, None].astype(np.float32), starts)),
        "gate": None if timeline.gate is None else to_base64(_means(timeline.gate[:, None], starts)),
    }


def _name(timeline: Timeline) -> str:
    if timeline.track == MAIN_TRACK:
        return timeline.video
    return timeline.track if timeline.track.startswith(timeline.video) else f"{timeline.video} · {timeline.track}"


def describe(timeline: Timeline) -> str:
    """Statistics of the timeline as one line of text."""
    frames = len(timeline.time)
    if not frames:
        return "no frames"
    statistics = [f"{frames:,} frames, {timeline.time[-1] - timeline.time[0]:,.1f} s"]
    if timeline.label is not None:
        statistics.append(f"{np.mean(timeline.label >= 0):.0%} labelled")
        accuracy = frame_accuracy(timeline)
        statistics.append("no labelled and scored frame" if accuracy is None else f"accuracy {accuracy:.0%} on labelled and scored frames")
    statistics += [f"face detected in {timeline.seen.mean():.0%}", f"audio present in {timeline.heard.mean():.0%}"]
    unscored = int((timeline.predicted < 0).sum())
    return "; ".join([*statistics, f"{unscored:,} frames not scored" if unscored else "every frame scored"])


def _most_frequent(classes: Int[np.ndarray, " frames"], starts: Int[np.ndarray, " columns"]) -> UInt8[np.ndarray, " columns"]:
    """The most frequent class in each column, ``MISSING_BYTE`` where no frame has one."""
    if not len(classes):
        return np.zeros(0, np.uint8)
    known: Bool[np.ndarray, "frames classes"] = classes[:, None] == np.arange(len(EXPRESSIONS))
    count = np.add.reduceat(known.astype(np.int32), starts, axis=0)
    return np.where(count.any(axis=1), count.argmax(axis=1), MISSING_BYTE).astype(np.uint8)


def _means(values: Float[np.ndarray, "frames n"], starts: Int[np.ndarray, " columns"]) -> UInt8[np.ndarray, "columns n"]:
    """Mean of the finite values of each column as a byte; ``MISSING_BYTE`` where there is none."""
    if not len(values):
        return np.zeros((0, values.shape[1]), np.uint8)
    finite = np.isfinite(values)
    total = np.add.reduceat(np.where(finite, values, 0.0).astype(np.float64), starts, axis=0)
    count = np.add.reduceat(finite.astype(np.int32), starts, axis=0)
    return quantize(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))
