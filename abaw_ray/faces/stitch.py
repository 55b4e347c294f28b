"""Chunks of one video -> the whole video: frames are numbered, and tracklets are continued from segment to segment.

Uses times, boxes and votes only: no frame is decoded and no chip is cropped again. A video processed in one pass goes through the same code.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int32

from abaw_ray.core.process.child import heartbeat
from abaw_ray.faces.boxes import iou, min_cost_assignment
from abaw_ray.faces.chunk_result import ChunkResult
from abaw_ray.faces.identity.config import VoteConfig
from abaw_ray.faces.identity.embedder import SimilarityThresholds
from abaw_ray.faces.identity.votes import select
from abaw_ray.faces.tracking.segment_tracker import segment_of
from abaw_ray.faces.tracking.summary import TrackletSummary

_MIN_IOU = 0.5
"""Mean intersection over union of the boxes of one person in two segments, over the frames that both cover; the detector ran on different frames."""


class ChunkMismatchError(Exception):
    """The frames of two chunks differ at their boundary: after a seek the file decodes to other frames, so it must be decoded from its start."""


@dataclass(eq=False)
class StitchedTracklet:
    """One tracklet over all of its segments."""

    summary: TrackletSummary
    sources: list[tuple[int, TrackletSummary]]
    """Where its rows are: pairs of the index of a chunk and the summary in it, in order of time."""


@dataclass(eq=False)
class StitchedVideo:
    """All chunks of a video joined; its frames are counted from 1."""

    times: Float[np.ndarray, " frames"]
    frame_offsets: list[int]
    """Added to the frame numbers of each chunk."""
    shots: Int32[np.ndarray, " frames"]
    """Number of the shot of each frame, from 0."""
    tracklets: list[StitchedTracklet]
    error: str | None


def stitch(chunks: list[ChunkResult], votes: VoteConfig, thresholds: SimilarityThresholds | None = None) -> StitchedVideo:
    """Number the frames and join the tracklets.

    Chunks after the one in which decoding fails are dropped: a decoder that starts at the beginning never reaches them.

    Args:
        chunks: All of a video's chunks in order.
        votes: How many votes are kept of a tracklet.
        thresholds: Of the embedder, where there are votes.

    Raises:
        ChunkMismatchError: two neighbors decoded different frames at their boundary, or frame times were estimated.

    Source: ours; defined by its result for one chunk that is the whole video.
    """
    if len(chunks) > 1 and any(chunk.repaired_times for chunk in chunks):
        raise ChunkMismatchError("its frames have no times of their own")
    used: list[ChunkResult] = []
    frame_offsets: list[int] = []
    count = 0
    for chunk in chunks:
        if used:
            _check_boundary(used[-1], chunk)
        used.append(chunk)
        frame_offsets.append(count + 1 - chunk.first_frame)
        count += len(chunk.times)
        if chunk.error is not None and not chunk.reached_end:
            break
    times = np.concatenate([np.asarray(chunk.times, dtype=np.float64) for chunk in used])
    starts = np.concatenate([np.asarray(chunk.shot_starts, dtype=np.int64) + offset for chunk, offset in zip(used, frame_offsets, strict=True)])
    shots = np.searchsorted(starts, np.arange(1, len(times) + 1), side="right")
    shots = np.maximum(shots - shots[used[0].skipped :][:1].max(initial=0), 0).astype(np.int32)  # from 0 at the first frame of the range
    return StitchedVideo(times, frame_offsets, shots, _join_tracklets(used, frame_offsets, votes, thresholds), used[-1].error)


def _check_boundary(before: ChunkResult, after: ChunkResult) -> None:
    if before.end_checksums != after.start_checksums or (before.times and after.times and before.times[-1] >= after.times[0]):
        raise ChunkMismatchError("its frames differ after a seek")


def _join_tracklets(
    chunks: list[ChunkResult], frame_offsets: list[int], votes: VoteConfig, thresholds: SimilarityThresholds | None
) -> list[StitchedTracklet]:
    joined: list[StitchedTracklet] = []
    by_segment: dict[int, list[tuple[TrackletSummary, StitchedTracklet]]] = {}
    for index, chunk in enumerate(chunks):
        for segment, summaries in _group_by_segment(chunk.tracklets).items():
            heartbeat()
            previous = by_segment.get(segment - 1, [])
            matches = _match([summary for summary, _ in previous], summaries, thresholds)
            by_segment[segment] = []
            for number, summary in enumerate(summaries):
                offset = frame_offsets[index]
                shifted = replace(summary, first_frame=summary.first_frame + offset, last_frame=summary.last_frame + offset)
                if number in matches:
                    tracklet = previous[matches[number]][1]
                    tracklet.summary, tracklet.sources = _merged(tracklet.summary, shifted, votes), [*tracklet.sources, (index, summary)]
                else:
                    tracklet = StitchedTracklet(shifted, [(index, summary)])
                    joined.append(tracklet)
                by_segment[segment].append((summary, tracklet))
    return joined


def _group_by_segment(summaries: list[TrackletSummary]) -> dict[int, list[TrackletSummary]]:
    groups: dict[int, list[TrackletSummary]] = {}
    for summary in summaries:
        groups.setdefault(segment_of(summary.id), []).append(summary)
    return groups


def _match(before: list[TrackletSummary], after: list[TrackletSummary], thresholds: SimilarityThresholds | None) -> dict[int, int]:
    """Return, for tracklets of a segment, the tracklet of the previous segment that is the same person: index to index."""
    if not before or not after:
        return {}
    possible = [[a.track == b.track and not _differ(a, b, thresholds) for b in after] for a in before]
    overlaps = np.array([[_mean_iou(a.end_boxes, b.start_boxes) for b in after] for a in before]) * possible
    return {b: a for a, b in min_cost_assignment(-overlaps) if overlaps[a, b] >= _MIN_IOU}


def _mean_iou(end_boxes: list[list[float]], start_boxes: list[list[float]]) -> float:
    """Return the mean intersection over union at the times that both have; 0 where there are none."""
    a, b = ({row[0]: row[1:] for row in rows} for rows in (end_boxes, start_boxes))
    common = sorted(a.keys() & b.keys())
    if not common:
        return 0.0
    return float(np.mean([iou(np.array([a[time]]), np.array([b[time]]))[0, 0] for time in common]))


def _differ(a: TrackletSummary, b: TrackletSummary, thresholds: SimilarityThresholds | None) -> bool:
    similarity = None if thresholds is None else a.similarity(b)
    return thresholds is not None and similarity is not None and similarity < thresholds.different


def _merged(a: TrackletSummary, b: TrackletSummary, votes: VoteConfig) -> TrackletSummary:
    return TrackletSummary(
        a.id,
        a.first_frame,
        b.last_frame,
        a.rows + b.rows,
        a.area_sum + b.area_sum,
        a.x_sum + b.x_sum,
        select([*a.votes, *b.votes], votes.max_votes),
        track=a.track,
    )
