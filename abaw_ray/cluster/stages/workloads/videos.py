"""Frames of videos from their headers, or from those of a sample: the input of estimates before faces exist."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.sources import videos
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.stage_store.record import Item, Record
from abaw_ray.media.playback.header import VideoHeader, read_headers
from abaw_ray.predict.config import AnalysisConfig, OutputConfig
from abaw_ray.predict.estimate.cost import Totals, extrapolated, totals
from abaw_ray.predict.estimate.measured import CPU
from abaw_ray.predict.estimate.text import Sample

_SAMPLE = 64
"""Most headers that are read; of more videos, those of a sample. Ours."""
_HEADER_S = 20.0
"""Longest time without progress while one header is read. Ours."""


def sampled_totals(rows: Sequence[dict], limits: ChildLimits, totals_of: Callable[[VideoHeader], Totals]) -> tuple[Sample, Totals]:
    """The sums over these videos, and what they are based on.

    Args:
        rows: VIDEO rows with ``uri`` and ``size``.
        limits: Limits of the child processes that read headers.
        totals_of: The sums of one video.
    """
    sample = list(rows) if len(rows) <= _SAMPLE else random.Random(0).sample(list(rows), _SAMPLE)
    found = read_headers([row["uri"] for row in sample], replace(limits, seconds=min(limits.seconds, _HEADER_S)))
    known = [(row["size"], header) for row, header in zip(sample, found, strict=True) if isinstance(header, VideoHeader)]
    stated = [(size, header) for size, header in known if header.duration_s]
    unreadable = sum(row["size"] for row, header in zip(sample, found, strict=True) if isinstance(header, str))
    sums = [totals_of(header) for _, header in stated]
    total = extrapolated(sums, unreadable + sum(size for size, _ in stated), sum(row["size"] for row in rows))
    basis = Sample(videos=len(rows), images=0, read=len(sample), unreadable=len(sample) - len(known), no_duration=len(known) - len(stated))
    return basis, total


@once_per_run
def video_totals(run: Run[Any]) -> Totals:
    """The sums over all videos of the run, whole and without files.

    Raises:
        PendingError: the videos do not exist yet.
    """
    analysis, outputs = AnalysisConfig(), OutputConfig(report=False)
    return sampled_totals(list(videos(run).values()), run.compute.limits, lambda header: totals(header, analysis, outputs))[1]


def totals_of_part(run: Run[Any], rows: Sequence[dict]) -> Totals:
    """The sums over some videos of the run, in proportion to the size of the files."""
    whole = sum(row["size"] for row in videos(run).values())
    return video_totals(run).times(sum(row["size"] for row in rows) / whole if whole else 0.0)


def face_rows(run: Run[Any], rows: Sequence[dict], faces: Record | None) -> float:
    """Number of faces that pass through an encoder: of the prepared faces the counted ones, else one per frame and named subject.

    Args:
        run: Settings and videos.
        rows: VIDEO rows of the part.
        faces: Record of the prepared faces; None where they are not prepared.
    """
    every = list(videos(run).values())
    weights = {row["video"]: row["size"] * max(len(row["subjects"]), 1) for row in every}
    share = sum(weights[row["video"]] for row in rows) / (sum(weights.values()) or 1)
    if faces is not None:
        return share * faces.figures.get("faces", faces.figures["rows"])
    return share * video_totals(run).frames * sum(weights.values()) / (sum(row["size"] for row in every) or 1)


def faces_workload(run: Run[Any], todo: Mapping[Item, dict] | None) -> Workload | None:
    """Decoding, detection, tracking and cropping of the unfinished videos; None for official crops, of which nothing is measured."""
    if todo is None or run.config.data.affwild2_crops:
        return None
    sums = totals_of_part(run, list(todo.values()))
    seconds = (sums.frames * CPU.frame_ms + sums.megapixels * CPU.megapixel_ms) / 1e3
    return Workload(text=f"{sums.frames:,.0f} frames", cpu_s=seconds, sources=(f"faces with YuNet: {CPU.source}",))
