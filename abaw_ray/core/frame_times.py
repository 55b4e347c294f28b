"""The frames of one video that have rows in a table -> for how long each is shown. Every share, duration and episode is computed from this."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

SINGLE_FRAME_S = 0.04
"""Nominal seconds of the only frame of a video, or of an image: it has no duration of its own. Ours; shares do not depend on it."""


def frame_ends(time: Float[np.ndarray, " frames"], end: float | None = None) -> Float[np.ndarray, " frames"]:
    """The end of each frame in seconds: the time of the next frame.

    The last frame gets the median duration of the others, but does not last beyond the end of the video. A single frame gets ``SINGLE_FRAME_S``.

    Args:
        time: Presentation times in seconds, strictly ascending, of all frames that have rows.
        end: End of the video's last frame in seconds. None, or a time that is not after the last one: unknown.

    Source: ours.
    """
    if not len(time):
        return time
    last = time[-1] + (float(np.median(np.diff(time))) if len(time) > 1 else SINGLE_FRAME_S)
    return np.append(time[1:], min(last, end) if end is not None and end > time[-1] else last)


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameTimes:
    """The frames of one video for which any person has a row, ascending.

    Each of them is shown until the next one: at a lower rate (``--fps``) a scored frame stands for the frames after it that were not scored. A row
    lasts as long as its frame. Where one of these frames has no row of a person, none of that person's rows lasts through it.
    """

    frame: Int[np.ndarray, " frames"]
    """Frame numbers."""
    time: Float[np.ndarray, " frames"]
    """Presentation times in seconds."""
    ends: Float[np.ndarray, " frames"]
    """``frame_ends``."""

    @classmethod
    def of(cls, frame: Int[np.ndarray, " rows"], time: Float[np.ndarray, " rows"], end: float | None = None) -> "FrameTimes":
        """The frames of these rows.

        Args:
            frame: Frame number of each row, in any order.
            time: Presentation time of each row.
            end: As for ``frame_ends``.
        """
        numbers, first = np.unique(frame, return_index=True)
        times = time[first]
        return cls(frame=numbers.astype(np.int64), time=times, ends=frame_ends(times, end))

    @property
    def durations(self) -> Float[np.ndarray, " frames"]:
        """Seconds."""
        return self.ends - self.time

    def positions(self, frame: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """Index of each of these frame numbers, which must have rows."""
        return np.searchsorted(self.frame, frame)

    def shown(self, frame: int) -> int | None:
        """The frame number whose rows are shown with a frame of the video: its own, or the last one before it; None before the first."""
        position = int(np.searchsorted(self.frame, frame, side="right")) - 1
        return int(self.frame[position]) if position >= 0 else None
