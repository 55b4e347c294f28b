"""A part of a video on its own clock, and what one decoding pass finds about the frames around it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TimeRange:
    """Frames with ``start <= time < end``; 0 means no limit."""

    start: float = 0.0
    """Seconds of presentation time; 0 for the first frame, also where that has a negative time."""
    end: float = 0.0
    """Seconds of presentation time; 0 for the end of the video."""

    def is_before(self, time: float) -> bool:
        """Return whether a frame of this time precedes the range."""
        return bool(self.start) and time < self.start

    def is_after(self, time: float) -> bool:
        """Return whether a frame of this time follows the range."""
        return bool(self.end) and time >= self.end


ALL_TIMES = TimeRange()


@dataclass(frozen=True, kw_only=True)
class RangeFrames:
    """The frames of a video around and in a range, in seconds of presentation time; None for a frame that does not exist."""

    skipped: int = 0
    """Number of frames before the range."""
    video_start: float | None = None
    """The first frame of the video."""
    before: float | None = None
    """The last frame before the range."""
    first: float | None = None
    """The first frame of the range."""
    last: float | None = None
    """The last frame of the range."""
    after: float | None = None
    """The first frame after the range; None where the video, or decoding, ended before."""
