"""``ANALYSIS`` rows of one video -> per person the fractions of time, the time of each expression, and its episodes.

Pages, ``summary.csv``, ``episodes.csv`` and the list of videos take their numbers from here. Each row counts with the time for which its frame is
shown (``core.frame_times``), so that neither a variable frame rate nor a lower rate of analysis biases them.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.frame_times import FrameTimes
from abaw_ray.core.tables import float_array, index_array, rows_of_person

MIN_EPISODE_S = 0.2
"""Seconds: shorter runs of one expression are not episodes; they are often a few frames near a decision boundary. Default ours."""
_TOLERANCE_S = 1e-9
"""Rounding error of a sum of durations."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Consecutive frames in which one person has the same label, for at least ``MIN_EPISODE_S``.

    A frame without a label, or without a row of the person, ends it; a cut does not.
    """

    expression: str
    start: float
    end: float
    """Presentation times in seconds: of the first frame, and of the frame after the last one."""
    first_frame: int
    last_frame: int
    """Frame numbers."""
    confidence: float
    """Mean probability of the expression over its time."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class PersonSummary:
    """One person. A person's time is that of all rows of the person; the scored time is that of the rows with a label."""

    first_time: float
    last_time: float
    """Presentation times of the person's first and last row in seconds."""
    frames: int
    """Rows of the person."""
    seen: float
    heard: float
    scored: float
    """Fractions of the person's time with a face, with sound, and with a label."""
    seconds: dict[str, float]
    """Time of each expression that the model has, in the order of ``EXPRESSIONS``; empty without a scored frame, like ``means``."""
    means: dict[str, float]
    """Mean probability of each expression over the scored time."""
    episodes: list[Episode]
    """In order of time."""

    @property
    def shares(self) -> dict[str, float]:
        """Fraction of the scored time by expression; empty without a scored frame."""
        total = sum(self.seconds.values())
        return {name: value / total for name, value in self.seconds.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Number of episodes by expression; empty without a scored frame."""
        return {name: sum(episode.expression == name for episode in self.episodes) for name in self.seconds}


def summarize_people(table: pa.Table, end: float | None = None) -> dict[str, PersonSummary]:
    """The summary of each person, in the order of the table.

    Args:
        table: ``ANALYSIS`` rows of one video.
        end: End of the video's last frame in seconds, where it is known.

    Source: ours.
    """
    frames = FrameTimes.of(table["frame"].to_numpy(), table["time"].to_numpy(), end)
    return {name: _summarize(rows_of_person(table, name), frames) for name in table["person"].unique().to_pylist()}


def _summarize(rows: pa.Table, frames: FrameTimes) -> PersonSummary:
    position, label = frames.positions(rows["frame"].to_numpy()), index_array(rows["label"], EXPRESSIONS)
    weight, scored = frames.durations[position], label >= 0
    known = [name for name in EXPRESSIONS if rows[f"p_{name.lower()}"].null_count < len(rows)]
    probability = float_array(rows, [f"p_{name.lower()}" for name in EXPRESSIONS])
    return PersonSummary(
        first_time=float(frames.time[position[0]]),
        last_time=float(frames.time[position[-1]]),
        frames=len(rows),
        seen=_fraction(rows["seen"].to_numpy(), weight),
        heard=_fraction(rows["heard"].to_numpy(), weight),
        scored=_fraction(scored, weight),
        seconds={name: float(weight[label == EXPRESSIONS.index(name)].sum()) for name in known},
        means={name: float(np.average(probability[scored, EXPRESSIONS.index(name)], weights=weight[scored])) for name in known},
        episodes=_episodes(position, label, probability, frames),
    )


def _fraction(mask: Bool[np.ndarray, " rows"], weight: Float[np.ndarray, " rows"]) -> float:
    return float(weight[mask].sum() / weight.sum())


def _episodes(
    position: Int[np.ndarray, " rows"], label: Int[np.ndarray, " rows"], probability: Float[np.ndarray, "rows 8"], frames: FrameTimes
) -> list[Episode]:
    """The runs of rows with the same label and without a missing row that last long enough."""
    edges = np.flatnonzero((np.diff(label) != 0) | (np.diff(position) != 1)) + 1
    found = []
    for first, after in pairwise([0, *edges.tolist(), len(label)]):
        shown = position[first:after]
        start, end = float(frames.time[shown[0]]), float(frames.ends[shown[-1]])
        if label[first] < 0 or end - start < MIN_EPISODE_S - _TOLERANCE_S:
            continue
        episode = Episode(
            expression=EXPRESSIONS[label[first]],
            start=start,
            end=end,
            first_frame=int(frames.frame[shown[0]]),
            last_frame=int(frames.frame[shown[-1]]),
            confidence=float(np.average(probability[first:after, label[first]], weights=frames.durations[shown])),
        )
        found.append(episode)
    return found
