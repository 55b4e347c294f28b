"""Axis of a table of differences: 0 in the middle, the same length to both sides, places in percent of its width."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DifferenceAxis:
    """The axis from ``-limit`` to ``limit``."""

    limit: float

    def place(self, value: float) -> float:
        """Place of a value in percent of the width, from the left end."""
        return 50 + 50 * value / self.limit


def difference_axis(values: Iterable[float], *, steps_per_unit: int) -> DifferenceAxis:
    """The shortest axis for values of both signs whose end is a whole number of steps, at least one.

    Args:
        values: All values that are shown; may be empty.
        steps_per_unit: Steps from 0 to 1.
    """
    largest = max(map(abs, values), default=0.0)
    return DifferenceAxis(limit=max(math.ceil(largest * steps_per_unit), 1) / steps_per_unit)
