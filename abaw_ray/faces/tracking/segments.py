"""Division of a video's time into overlapping segments, each tracked on its own; and chunks: runs of segments for one worker.

The rows of a segment depend on its own frames only, and its start depends on the clock only. So several workers may process a long video at
once, and the rows equal those of one pass from start to end: both join the same segments (``stitch.py``).
"""

import math
from dataclasses import dataclass

from abaw_ray.faces.config import SegmentConfig


@dataclass(frozen=True)
class Segment:
    """One segment of a video's time line."""

    index: int
    """Any integer; segment 0 starts at 0 s."""
    config: SegmentConfig

    @property
    def start(self) -> float:
        """Seconds; the first moment that belongs to the segment."""
        return self.index * self.config.length_s

    @property
    def stop(self) -> float:
        """Seconds; the first moment that belongs to the next segment."""
        return (self.index + 1) * self.config.length_s

    def owns(self, time: float) -> bool:
        """Return whether a frame of this time gets its rows from this segment."""
        return self.start <= time < self.stop

    def covers(self, time: float) -> bool:
        """Return whether this segment processes a frame of this time, overlaps included."""
        return self.owns(time) or self.config.near_boundary(self.start, time) or self.config.near_boundary(self.stop, time)


@dataclass(frozen=True)
class Chunk:
    """Segments ``first`` to ``stop - 1`` of a video, for one worker; None for the start or the end of the video."""

    first: int | None = None
    stop: int | None = None

    def contains(self, index: int) -> bool:
        """Return whether the chunk contains the segment."""
        return (self.first is None or index >= self.first) and (self.stop is None or index < self.stop)


WHOLE_VIDEO = Chunk()


def segments_at(time: float, chunk: Chunk, config: SegmentConfig) -> list[Segment]:
    """Return the one or two segments of the chunk that cover a frame of this time, in order."""
    low = math.floor((time - config.overlap_s) / config.length_s) - 1  # one segment more on each side, because the quotient is rounded
    near = [Segment(index, config) for index in range(low, low + 4) if chunk.contains(index)]
    return [segment for segment in near if segment.covers(time)]


def split_into_chunks(start: float, duration: float, chunk_s: float, config: SegmentConfig) -> list[Chunk]:
    """Divide a video into chunks of about ``chunk_s`` seconds.

    Args:
        start: Time of its first frame in seconds, from the header.
        duration: Seconds, from the header. Headers may be wrong, so the first chunk starts with the video and the last one ends with it.
        chunk_s: Minimum duration of a chunk in seconds; rounded up to whole segments.
        config: The segments.

    Returns:
        At least one chunk; together they are the whole video.
    """
    size = max(math.ceil(chunk_s / config.length_s), 1)
    first, last = math.floor(start / config.length_s), math.floor((start + duration) / config.length_s)
    boundaries = list(range(first + size, last + 1, size))
    if boundaries and last + 1 - boundaries[-1] < size:  # the rest is added to the last chunk: a short one is not worth a task
        boundaries.pop()
    return [Chunk(a, b) for a, b in zip([None, *boundaries], [*boundaries, None], strict=True)]
