"""The time of a video -> stretches that are watched each on its own and overlap a little; and spans of stretches for one worker.

What is seen in a stretch hangs on its own frames alone, and where it begins on the clock alone. So a long video may be watched by several
workers at once, and the rows are those of one that watched it from beginning to end: both put the same stretches together (``stitch.py``).
"""

import math
from dataclasses import dataclass

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class StretchConfig:
    """How a video's time is divided. Ours, not from the paper."""

    seconds: float = 120.0
    """Seconds of a stretch. Within one, people are followed; from one to the next they are matched by their boxes."""
    overlap: float = 1.0
    """Seconds for which a stretch goes on before its beginning and behind its end: there its people are matched with its neighbours'."""

    def __post_init__(self) -> None:
        """Refuse stretches that overlap more than one neighbour."""
        if self.overlap <= 0 or self.seconds < 4 * self.overlap:
            raise ConfigError(f"stretches.overlap={self.overlap} s must be above 0, stretches.seconds={self.seconds} s at least four times as long")

    def about(self, seam: float, time: float) -> bool:
        """Whether both stretches that meet at ``seam`` watch a frame of this time."""
        return abs(time - seam) <= self.overlap


@dataclass(frozen=True)
class Stretch:
    """One stretch of a video's clock."""

    number: int
    """From minus infinity up; 0 begins at 0 s."""
    config: StretchConfig

    @property
    def begin(self) -> float:
        """Seconds; the first moment that is its own."""
        return self.number * self.config.seconds

    @property
    def end(self) -> float:
        """Seconds; the first moment that is the next one's."""
        return (self.number + 1) * self.config.seconds

    def owns(self, time: float) -> bool:
        """Whether a frame of this time gets its rows here."""
        return self.begin <= time < self.end

    def watches(self, time: float) -> bool:
        """Whether a frame of this time is looked at here."""
        return self.owns(time) or self.config.about(self.begin, time) or self.config.about(self.end, time)


@dataclass(frozen=True)
class Span:
    """Stretches ``first`` to ``stop - 1``, or from the beginning, or to the end: what one worker watches in one go."""

    first: int | None = None
    stop: int | None = None

    def has(self, number: int) -> bool:
        """Whether the stretch is one of its own."""
        return (self.first is None or number >= self.first) and (self.stop is None or number < self.stop)


WHOLE = Span()


def stretches_of(time: float, span: Span, config: StretchConfig) -> list[Stretch]:
    """The one or two stretches of the span that watch a frame of this time, in order."""
    low = math.floor((time - config.overlap) / config.seconds) - 1  # one further down and up: the shares above are rounded
    near = [Stretch(number, config) for number in range(low, low + 4) if span.has(number)]
    return [stretch for stretch in near if stretch.watches(time)]


def spans_of(begin: float, seconds: float, piece: float, config: StretchConfig) -> list[Span]:
    """Divide a video into spans of about ``piece`` seconds.

    Args:
        begin: Time of its first frame in seconds, about.
        seconds: How long it is, about: its header may say anything, so the first span begins with the video and the last one ends with it.
        piece: Seconds of a span at least; whole stretches.
        config: The stretches.

    Returns:
        At least one span; together they are the whole video.
    """
    many = max(math.ceil(piece / config.seconds), 1)
    start, last = math.floor(begin / config.seconds), math.floor((begin + seconds) / config.seconds)
    seams = list(range(start + many, last + 1, many))
    if seams and last + 1 - seams[-1] < many:  # no piece at the end that is hardly worth the trip
        seams.pop()
    return [Span(first, stop) for first, stop in zip([None, *seams], [*seams, None], strict=True)]
