"""A person's frames as a few hundred columns the page can draw: long videos are summed up, and each column says over how many frames.

Columns hold whole frames in their order, so a variable frame rate keeps its true times. Colours, axes and zooming are ``timeline.js``'s.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, UInt8

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.schema import MAIN_TRACK
from abaw_ray.report.inputs import Timeline

NONE = 255
"""A byte that stands for no value: no label, no prediction, no probability."""
_TOP = 254
"""A byte that stands for 1.0."""


@dataclass(frozen=True, kw_only=True)
class TimelineConfig:
    """How much of the frames goes into the page, so that its size has a bound."""

    columns: int = 1200
    """Most columns of one video; with more frames than that, each sums up several. Ours, not from the paper."""
    videos: int = 60
    """Most people shown. Ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse a page without a column to draw."""
        if min(self.columns, self.videos) < 1:
            raise ConfigError(f"report.timelines.columns={self.columns} and report.timelines.videos={self.videos} must be at least 1")


def timeline_of(
    table: pa.Table, *, label: Int[np.ndarray, " frames"] | None = None, gate: Float[np.ndarray, " frames"] | None = None, group: str = ""
) -> Timeline:
    """The ``PREDICTION`` rows of one track as a timeline.

    Args:
        table: Rows of one video and track, by ascending frame; at least one.
        label: The annotation of the same rows, -1 where there is none.
        gate: The face's weight in the same rows, NaN where not scored.
        group: Heading in the list of videos.
    """
    scored = table["scored"].to_numpy()
    probability = np.full((len(table), len(EXPRESSIONS)), np.nan, np.float32)
    probability[scored] = np.reshape(
        table["probability"].combine_chunks().filter(table["scored"].combine_chunks()).flatten().to_numpy(), (-1, len(EXPRESSIONS))
    )
    return Timeline(
        video=table["video"][0].as_py(),
        track=table["track"][0].as_py(),
        time=table["time"].to_numpy(),
        predicted=np.array([-1 if name is None else EXPRESSIONS.index(name) for name in table["label"].to_pylist()], np.int8),
        probability=probability,
        seen=table["seen"].to_numpy(),
        heard=table["heard"].to_numpy(),
        label=label,
        gate=gate,
        first_frame=table["frame"][0].as_py(),
        group=group,
    )


def right_share(timeline: Timeline) -> float | None:
    """Share of the labelled and scored frames whose class is right; None where there is no such frame."""
    if timeline.label is None:
        return None
    known = (timeline.label >= 0) & (timeline.predicted >= 0)
    return float((timeline.label == timeline.predicted)[known].mean()) if known.any() else None


def choose(timelines: Sequence[Timeline], most: int) -> list[Timeline]:
    """At most ``most`` of them, in their order: evenly from the worst to the best, so that the page does not flatter."""
    if len(timelines) <= most:
        return list(timelines)
    shares = [right_share(timeline) for timeline in timelines]
    ranked = sorted(range(len(timelines)), key=lambda i: (shares[i] is None, shares[i] or 0.0))
    kept = {ranked[round(place)] for place in np.linspace(0, len(ranked) - 1, most)}
    return [timelines[i] for i in sorted(kept)]


def pack(timeline: Timeline, config: TimelineConfig) -> dict[str, Any]:
    """What the page's script reads: texts, and byte strings of one value a column.

    ``time`` is little-endian float32, the column's first frame in seconds; all others are bytes, 0..254 for 0..1 where they are shares,
    255 where there is none.
    """
    frames = len(timeline.time)
    per = max(1, -(-frames // config.columns))
    starts = np.arange(0, frames, per)
    tail = float(np.median(np.diff(timeline.time))) if frames > 1 else 1 / 30
    times = timeline.time[starts] if frames else np.zeros(0)
    end = float(timeline.time[-1]) + tail if frames else 0.0
    return {
        "name": _name(timeline),
        "group": timeline.group,
        "facts": facts(timeline),
        "per": per,
        "frames": frames,
        "first_frame": timeline.first_frame,
        "end": round(end, 4),
        "time": _base64(times.astype("<f4")),
        "label": None if timeline.label is None else _base64(_most_frequent(timeline.label, starts)),
        "predicted": _base64(_most_frequent(timeline.predicted, starts)),
        "probability": _base64(_means(timeline.probability, starts)),
        "seen": _base64(_means(timeline.seen[:, None].astype(np.float32), starts)),
        "heard": _base64(_means(timeline.heard[:, None].astype(np.float32), starts)),
        "gate": None if timeline.gate is None else _base64(_means(timeline.gate[:, None], starts)),
    }


def _name(timeline: Timeline) -> str:
    if timeline.track == MAIN_TRACK:
        return timeline.video
    return timeline.track if timeline.track.startswith(timeline.video) else f"{timeline.video} · {timeline.track}"


def facts(timeline: Timeline) -> str:
    """The video in one sentence of figures."""
    frames = len(timeline.time)
    if not frames:
        return "no frames"
    said = [f"{frames:,} frames, {timeline.time[-1] - timeline.time[0]:,.1f} s"]
    if timeline.label is not None:
        said.append(f"{np.mean(timeline.label >= 0):.0%} labelled")
        share = right_share(timeline)
        said.append("nothing to compare" if share is None else f"{share:.0%} of the labelled and scored frames right")
    said += [f"face seen in {timeline.seen.mean():.0%}", f"voice heard in {timeline.heard.mean():.0%}"]
    unscored = int((timeline.predicted < 0).sum())
    return "; ".join([*said, f"{unscored:,} frames not scored" if unscored else "every frame scored"])


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _most_frequent(classes: Int[np.ndarray, " frames"], starts: Int[np.ndarray, " columns"]) -> UInt8[np.ndarray, " columns"]:
    """The commonest class of each column's frames that have one, else ``NONE``."""
    if not len(classes):
        return np.zeros(0, np.uint8)
    known: Bool[np.ndarray, "frames classes"] = classes[:, None] == np.arange(len(EXPRESSIONS))
    count = np.add.reduceat(known.astype(np.int32), starts, axis=0)
    return np.where(count.any(axis=1), count.argmax(axis=1), NONE).astype(np.uint8)


def _means(values: Float[np.ndarray, "frames n"], starts: Int[np.ndarray, " columns"]) -> UInt8[np.ndarray, "columns n"]:
    """Means over each column's finite values as bytes, ``NONE`` where there is none."""
    if not len(values):
        return np.zeros((0, values.shape[1]), np.uint8)
    finite = np.isfinite(values)
    total = np.add.reduceat(np.where(finite, values, 0.0).astype(np.float64), starts, axis=0)
    count = np.add.reduceat(finite.astype(np.int32), starts, axis=0)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return np.where(count > 0, np.rint(np.clip(mean, 0, 1) * _TOP), NONE).astype(np.uint8)
