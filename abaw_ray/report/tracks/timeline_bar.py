"""The states of a track over the whole video as a timeline bar, with its time axis and the labels of its gaps.

Each pixel column shows the fractions of its time in each state; every gap is visible, however short.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from abaw_ray.core.frame_times import frame_ends
from abaw_ray.report.tracks.canvas import FAINT, MUTED, STATE_COLORS, WARNING, Box, Canvas, font, format_time
from abaw_ray.report.tracks.track import STATES, Gap, Track

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
"""Seconds between two ticks."""
_MIN_GAP_HEIGHT = 3
"""Minimum height of a gap in a pixel column, in pixels, however short the gap is."""
_LABEL, _LANE, _LANES = 12, 20, 4
"""Pixels of a label's font and of a lane of labels; number of lanes."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Seconds -> pixels."""

    left: float
    right: float
    start: float
    stop: float
    """Seconds at both ends."""

    def x(self, seconds: float) -> float:
        """Return the pixel of a time."""
        return self.left + (seconds - self.start) / (self.stop - self.start) * (self.right - self.left)


def state_shares(track: Track, axis: Axis) -> Float[np.ndarray, "pixels states"]:
    """Return the fraction of each pixel's time in each of ``STATES``, 0 to 1; the remainder is time without rows of the track."""
    edges = np.linspace(axis.start, axis.stop, round(axis.right - axis.left) + 1)
    knots = np.append(track.time, frame_ends(track.time)[-1])
    durations = np.diff(knots)[:, None] * (track.state[:, None] == np.arange(len(STATES)))
    elapsed = np.concatenate([np.zeros((1, len(STATES))), np.cumsum(durations, axis=0)])
    interpolated = np.stack([np.interp(edges, knots, column) for column in elapsed.T], axis=1)
    return np.diff(interpolated, axis=0) / np.diff(edges)[:, None]


def draw_timeline_bar(canvas: Canvas, track: Track, axis: Axis, top: float, height: int) -> None:
    """Draw the bar: the sources in their colors from the bottom, hatching where there is no face, pale where the track has no rows."""
    left, top = round(axis.left), round(top)
    shares = state_shares(track, axis)
    canvas.fill((left, top, left + len(shares), top + height), FAINT)
    canvas.hatch((left, top, left + len(shares), top + height))
    for offset, column in enumerate(shares):
        x, floor = left + offset, top + height
        unseen = 0 if column[0] <= 1e-9 else max(_MIN_GAP_HEIGHT, round(height * column[0]))
        empty = round(height * (1 - column.sum()))
        canvas.fill((x, top, x + 1, top + empty), FAINT)
        available, cumulative = max(height - unseen - empty, 0), np.cumsum(column[1:])
        for index, share in enumerate(cumulative):
            to = top + height - round(available * share / cumulative[-1]) if cumulative[-1] > 1e-9 else floor
            canvas.fill((x, to, x + 1, floor), STATE_COLORS[STATES[index + 1]])
            floor = min(floor, to)


def draw_axis(canvas: Canvas, axis: Axis, top: float) -> float:
    """Draw the time axis above a bar; returns the ``y`` below it."""
    span = axis.stop - axis.start
    step = next((step for step in _STEPS if step / span * (axis.right - axis.left) >= 84), _STEPS[-1])
    first = int(np.ceil(axis.start / step - 1e-9))
    for number in range(first, int(np.floor(axis.stop / step + 1e-9)) + 1):
        x, text = axis.x(number * step), format_time(number * step, 1 if step < 1 else 0)
        half = font(12).getlength(text) / 2
        middle = min(max(x, axis.left + half), axis.right - half)
        canvas.text(middle, top, text, 12, MUTED, width=200, align="m")
        canvas.fill((x, top + 17, x + 1, top + 22), MUTED)
    return top + 23


@dataclass
class _LabelLayout:
    """Labels that have been placed, with the x of the line that leads to each."""

    labels: list[tuple[Box, float, Gap]] = field(default_factory=list)

    def fits(self, box: Box, line: float) -> bool:
        """Return whether a label overlaps no other label and no line, and its own line crosses no label."""
        for other, other_line, _ in self.labels:
            apart = box[2] + 8 < other[0] or other[2] + 8 < box[0]
            if box[1] == other[1] and not apart:
                return False
            upper, lower_line = (box, other_line) if box[1] < other[1] else (other, line)
            if box[1] != other[1] and upper[0] - 4 <= lower_line <= upper[2] + 4:
                return False
        return True


def draw_gaps(canvas: Canvas, gaps: Sequence[Gap], axis: Axis, bar: float) -> float:
    """Label every gap below the bar with its start and end, the longest first; the number of gaps without space for a label is shown.

    Args:
        canvas: The canvas.
        gaps: Gaps of the track.
        axis: Time axis of the bar.
        bar: The ``y`` below the bar.

    Returns:
        The ``y`` below the labels.
    """
    top = bar + 10
    placed, omitted = _LabelLayout(), []
    for gap in sorted(gaps, key=lambda gap: gap.start - gap.stop):
        text, line = format_gap(gap), axis.x((gap.start + gap.stop) / 2)
        half = font(_LABEL).getlength(text) / 2
        middle = min(max(line, axis.left + half), axis.right - half)
        lanes = [(middle - half, top + lane * _LANE, middle + half, top + (lane + 1) * _LANE) for lane in range(_LANES)]
        box = next((box for box in lanes if placed.fits(box, line)), None)
        if box is None:
            omitted.append(gap)
        else:
            placed.labels.append((box, line, gap))
    for gap in gaps:
        canvas.fill((axis.x(gap.start), bar, max(axis.x(gap.stop), axis.x(gap.start) + 2), bar + 3), WARNING)
    for box, line, gap in placed.labels:
        canvas.fill((line, bar + 3, line + 1, box[1] + 1), WARNING)
        canvas.text(box[0], box[1] + 2, format_gap(gap), _LABEL, WARNING, width=box[2] - box[0] + 1)
    below = max((box[3] for box, _, _ in placed.labels), default=bar)
    if not omitted:
        return below
    lengths = [gap.stop - gap.start for gap in omitted]
    text = f"and {len(omitted):,} more gaps of {format_time(min(lengths))} to {format_time(max(lengths))}, {format_time(sum(lengths))} together"
    canvas.text(axis.left, below + 2, text, _LABEL, WARNING, width=axis.right - axis.left)
    return below + _LANE


def format_gap(gap: Gap) -> str:
    """``2.40–6.40 s``."""
    start, stop = format_time(gap.start), format_time(gap.stop)
    return f"{start.removesuffix(' s') if stop.endswith(' s') else start}–{stop}"
