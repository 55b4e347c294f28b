"""``ANALYSIS`` rows of one person -> share of each expression in the scored time, and episodes of one expression."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.report.tracks.track import frame_ends


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Consecutive frames of one person with the same label."""

    expression: str
    start: float
    end: float
    """Presentation times in seconds of the first frame and of the frame after the last."""
    first: int
    last: int
    """Frame numbers."""
    confidence: float
    """Mean probability of the expression over the frames."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class PersonSummary:
    """Shares and episodes of one person. Frames count with the time for which they are shown, so a variable frame rate does not bias them."""

    frames: int
    """Rows of the person."""
    seen: float
    scored: float
    """Fractions of the rows."""
    seconds: dict[str, float]
    """Seconds by expression, in the order of ``EXPRESSIONS``, for expressions that the model has."""
    counts: dict[str, int]
    """Number of episodes by expression."""
    episodes: list[Episode]
    """In order of time."""

    @property
    def shares(self) -> dict[str, float]:
        """Fraction of the scored time by expression; all 0 without a scored frame."""
        total = sum(self.seconds.values())
        return {name: value / total if total else 0.0 for name, value in self.seconds.items()}


def summarize_person(rows: pa.Table, spacing: int = 1) -> PersonSummary:
    """Summary of one person.

    Args:
        rows: ``ANALYSIS`` rows of one person, by ascending frame; at least one.
        spacing: Largest difference of two successive frame numbers without a missing row: above 1 where only some frames have rows.
    """
    time, frame = rows["time"].to_numpy(), rows["frame"].to_numpy()
    label = label_indices(rows)
    ends = frame_ends(time)
    confidence = rows["confidence"].to_numpy().astype(np.float64)
    episodes = [
        Episode(
            expression=EXPRESSIONS[label[a]],
            start=float(time[a]),
            end=float(ends[b - 1]),
            first=int(frame[a]),
            last=int(frame[b - 1]),
            confidence=float(confidence[a:b].mean()),
        )
        for a, b in _runs(label, np.diff(frame) > spacing)
        if label[a] >= 0
    ]
    known = [name for name in EXPRESSIONS if rows[f"p_{name.lower()}"].null_count < len(rows)]
    return PersonSummary(
        frames=len(rows),
        seen=float(rows["seen"].to_numpy().mean()),
        scored=float(rows["scored"].to_numpy().mean()),
        seconds={name: float((ends - time)[label == EXPRESSIONS.index(name)].sum()) for name in known},
        counts={name: sum(episode.expression == name for episode in episodes) for name in known},
        episodes=episodes,
    )


def label_indices(rows: pa.Table) -> Int[np.ndarray, " rows"]:
    """Index into ``EXPRESSIONS`` of each row's label; -1 where it has none."""
    index = {name: position for position, name in enumerate(EXPRESSIONS)}
    return np.array([-1 if name is None else index[name] for name in rows["label"].to_pylist()], np.int64)


def select_episodes(episodes: list[Episode], min_seconds: float, max_count: int) -> list[Episode]:
    """The longest episodes of at least this duration, at most ``max_count``, in order of time."""
    longest = sorted((episode for episode in episodes if episode.duration >= min_seconds - 1e-9), key=lambda episode: -episode.duration)
    return sorted(longest[:max_count], key=lambda episode: episode.start)


def _runs(label: Int[np.ndarray, " rows"], breaks: Bool[np.ndarray, " gaps"]) -> list[tuple[int, int]]:
    """First row and row after the last of each run of equal labels without missing frames."""
    edges = np.flatnonzero((np.diff(label) != 0) | breaks) + 1
    bounds = np.concatenate([[0], edges, [len(label)]]).tolist()
    return list(pairwise(bounds))
