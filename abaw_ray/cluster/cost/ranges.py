"""A quantity that is known only within limits, and its text: an estimate is a range, not digits."""

from dataclasses import dataclass

from abaw_ray.core.units import duration_text


@dataclass(frozen=True)
class Range:
    """From a low to a high value."""

    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: "Range") -> "Range":
        """The sum of two ranges."""
        return Range(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> "Range":
        """The range times a factor above 0."""
        return Range(self.low * factor, self.high * factor)

    def at_least(self, other: "Range") -> "Range":
        """The larger value at both ends."""
        return Range(max(self.low, other.low), max(self.high, other.high))

    @property
    def number_text(self) -> str:
        """Two significant digits: ``3.2 to 6.5``; one number where both are equal."""
        low, high = _two_digits(self.low), _two_digits(self.high)
        return low if low == high else f"{low} to {high}"

    @property
    def duration(self) -> str:
        """A range of seconds: ``2.1 h to 4.3 h``."""
        low, high = duration_text(self.low), duration_text(self.high)
        return low if low == high else f"{low} to {high}"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"
