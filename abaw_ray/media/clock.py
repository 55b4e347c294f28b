"""What a file says of its pictures' times -> times that ascend, whatever it says. Knows no pictures."""

JITTER = 0.001
"""Seconds by which the second of two pictures with the same time comes later."""
_LONGEST = 1.0
"""Seconds: no missing time is guessed further away than this."""


class Clock:
    """The times of one video's pictures, in the order in which they are shown."""

    def __init__(self, step: float) -> None:
        """``step``: seconds between two pictures until the file has shown better."""
        self.step, self.last, self.offset = step, None, 0.0

    def time(self, stamp: float | None) -> float:
        """Seconds of the next picture.

        A picture without a time gets the one before plus the last interval; the same time twice, or one a little too early, is put 1 ms
        after the one before; a clock that is set back by more than an interval goes on from where it was.

        Args:
            stamp: What the file says, in seconds; None where it says nothing.

        Source: ours.
        """
        time = self._guess() if stamp is None else self._ascending(stamp + self.offset)
        if self.last is not None and time - self.last > JITTER:
            self.step = min(time - self.last, _LONGEST)
        self.last = time
        return time

    def _guess(self) -> float:
        return 0.0 if self.last is None else self.last + self.step

    def _ascending(self, time: float) -> float:
        if self.last is None or time > self.last:
            return time
        if self.last - time <= self.step:
            return self.last + JITTER
        self.offset += self._guess() - time
        return self._guess()
