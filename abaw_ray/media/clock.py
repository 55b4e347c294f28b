"""Repair of the presentation times of a file's frames: missing, repeated, decreasing or wrong times are replaced by ascending ones."""

from fractions import Fraction

JITTER = 0.001
"""Seconds between two frames that have the same timestamp."""
CLOCK_RESET = 1.0
"""Seconds: a larger step back means that the clock was reset, as in concatenated files; a smaller one is jitter."""
_MAX_STEP = 1.0
"""Seconds: largest interval per frame with which missing times are extrapolated."""
_FALLBACK_STEP = 0.04
"""Seconds between frames of a file that states neither times nor a rate."""
_MAX_TIME = 2.0**32
"""Seconds (136 years, so that a timestamp may be a date): a timestamp further from 0 is damaged. Up to here a float is exact to a microsecond;
far beyond it, adding a frame's interval has no effect. Ours."""


def to_seconds(ticks: int | None, time_base: Fraction | None) -> float | None:
    """A timestamp in seconds; None where the file states none, or one of more than 136 years, which is damaged."""
    time = None if ticks is None or time_base is None else float(ticks * time_base)
    return None if time is None or abs(time) > _MAX_TIME else time


class Clock:
    """The times of one video's frames, in presentation order."""

    def __init__(self, step: float = _FALLBACK_STEP) -> None:
        """``step``: seconds between two frames until the stated times give a better estimate."""
        self.step, self.repaired = step, False
        """``repaired``: whether any time so far was extrapolated, moved or offset, and so depends on those before it."""
        self._last: float | None = None
        self._stated: list[float] = []  # the last two times that the file stated, on this clock
        self._since = 0  # frames since the last of them
        self._offset, self._previous_offset = 0.0, None  # added to stamps; its value before the last stamp reset the clock

    def time(self, stamp: float | None, *, exact: bool = True) -> float:
        """Presentation time of the next frame, in seconds.

        A missing stamp is extrapolated from the last stamp, at the last interval. A stamp that is not after the previous frame is moved to 1 ms
        after it. A step back by more than a second is taken as a reset of the clock: this stamp and the following ones continue from the
        expected time, unless only one stamp was wrong.

        Args:
            stamp: The time that the file states, in seconds; None where it states none.
            exact: False where the stamp was derived from those of other frames.

        Source: ours.
        """
        self._since += 1
        time = self._extrapolate() if stamp is None else self._place(stamp)
        if self._last is not None and time <= self._last:
            time = self._last + JITTER
        self.repaired |= not exact or time != stamp
        self._last = time
        return time

    def _extrapolate(self) -> float:
        if self._last is None:
            return 0.0
        time = self._stated[-1] + self._since * self.step if self._stated else self._last + self.step
        return max(time, self._last + JITTER)

    def _place(self, stamp: float) -> float:
        """The time of a stamp on a clock without resets; later missing times are extrapolated from it."""
        time, previous, self._previous_offset = stamp + self._offset, self._previous_offset, None
        if self._last is not None:
            expected = self._extrapolate()
            if previous is not None and abs(stamp + previous - expected) < abs(time - expected):  # only the previous stamp was wrong
                time, self._offset = stamp + previous, previous
            elif self._last - time > CLOCK_RESET and time <= min(self._stated, default=time):
                time, self._offset, self._previous_offset = expected, self._offset + expected - time, self._offset
        if self._stated and time - self._stated[-1] > JITTER:
            self.step = min((time - self._stated[-1]) / self._since, _MAX_STEP)
        self._stated, self._since = [*self._stated[-1:], time], 0
        return time
