"""What a file says of its pictures' times -> times that ascend, whatever it says. Knows no pictures."""

JITTER = 0.001
"""Seconds by which the second of two pictures with the same time comes later."""
SET_BACK = 1.0
"""Seconds: a clock that goes back by more than this has begun anew, as where files were strung together; by less, it only wavers."""
_LONGEST = 1.0
"""Seconds: no missing time is guessed further away than this."""
_FALLBACK_STEP = 0.04
"""Seconds between pictures of a file that states neither times nor a rate."""


class Clock:
    """The times of one video's pictures, in the order in which they are shown."""

    def __init__(self, step: float = _FALLBACK_STEP) -> None:
        """``step``: seconds between two pictures until the file has shown better."""
        self.step, self.mended = step, False
        """``mended``: whether any time so far was guessed, moved or set on, so that it depends on those before it."""
        self._last: float | None = None
        self._stated: list[float] = []  # the last two times that the file stated, as placed on this clock
        self._since = 0  # pictures since the last of them
        self._offset, self._former = 0.0, None  # added to stamps; what was added before the clock was set back by the last one

    def time(self, stamp: float | None, *, exact: bool = True) -> float:
        """Seconds of the next picture.

        Pictures without a time follow the last one that has one, at the last interval. A stamp that is not after the picture before is put
        1 ms after it. One that is set back by more than a second goes on from there, and so do those after it, unless one of the two
        was a single wrong one.

        Args:
            stamp: What the file says, in seconds; None where it says nothing.
            exact: False where the stamp was derived from what the file says of other pictures.

        Source: ours.
        """
        self._since += 1
        time = self._guess() if stamp is None else self._place(stamp)
        if self._last is not None and time <= self._last:
            time = self._last + JITTER
        self.mended |= not exact or time != stamp
        self._last = time
        return time

    def _guess(self) -> float:
        if self._last is None:
            return 0.0
        guess = self._stated[-1] + self._since * self.step if self._stated else self._last + self.step
        return max(guess, self._last + JITTER)

    def _place(self, stamp: float) -> float:
        """A stated time on a clock that is never set back far; it becomes the one from which missing ones are guessed."""
        time, former, self._former = stamp + self._offset, self._former, None
        if self._last is not None:
            guess = self._guess()
            if former is not None and abs(stamp + former - guess) < abs(time - guess):  # the one before was a single wrong one
                time, self._offset = stamp + former, former
            elif self._last - time > SET_BACK and time <= min(self._stated, default=time):
                time, self._offset, self._former = guess, self._offset + guess - time, self._offset
        if self._stated and time - self._stated[-1] > JITTER:
            self.step = min((time - self._stated[-1]) / self._since, _LONGEST)
        self._stated, self._since = [*self._stated[-1:], time], 0
        return time
