"""Lines for the user while something waits for machines: what for, for how long, and why there are none."""

import time
from collections.abc import Callable

from abaw_ray.core.units import duration_text

_FIRST_S, _INTERVAL_S = 15.0, 60.0
"""Seconds before the first line, and between two lines. Ours."""


class WaitNotice:
    """Shows a line after a short wait, and then one a minute."""

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._show, self._clock = show, clock
        self._started = clock()
        self._next = self._started + _FIRST_S

    @property
    def seconds(self) -> float:
        """Time since the wait began."""
        return self._clock() - self._started

    def update(self, describe: Callable[[], str]) -> None:
        """Show a line if it is time for one.

        Args:
            describe: Returns what is missing and why; called only if a line is shown.
        """
        if self._clock() >= self._next:
            self._next = self._clock() + _INTERVAL_S
            self._show(f"waiting {duration_text(self.seconds)} for {describe()}")


def with_reason(missing: str, why: str) -> str:
    """What is missing, and why if that is known."""
    return f"{missing}: {why}" if why else missing
