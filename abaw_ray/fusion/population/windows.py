"""Windows of frames for temporal heads: rows at about equal distances in time, of one subject in one shot, without a gap between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from abaw_ray.core.errors import DataError
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.population.rows import TrainingFolds

PADDING = -1
"""Row number of the places of a window that no frame fills."""


@dataclass(frozen=True)
class FrameSequence:
    """Consecutive frames without a cut or a gap."""

    rows: Int64[np.ndarray, " frames"]
    stride: int
    """Frames between two rows of a window."""


def uninterrupted(frames: Frames, rows: Int64[np.ndarray, " rows"], config: FusionConfig) -> list[FrameSequence]:
    """The rows as sequences of one subject and one shot in which no two frames are more than ``config.max_gap_s`` apart.

    Args:
        frames: All frames.
        rows: Rows in ascending order; those of a sequence follow each other without a row left out.
        config: Rate of the rows of a window, and the longest gap.
    """
    if not len(rows):
        return []
    time = frames.time[rows]
    breaks = (
        (np.diff(rows) != 1)
        | (np.diff(frames.subject_index[rows]) != 0)
        | (np.diff(frames.shot[rows]) != 0)
        | (np.diff(time) > config.max_gap_s)
        | (np.diff(time) <= 0)
    )
    parts = np.split(rows, np.flatnonzero(breaks) + 1)
    return [FrameSequence(part, _stride(frames.time[part], config.rows_per_second)) for part in parts]


def _stride(time: np.ndarray, rows_per_second: float) -> int:
    """Frames between two rows of a window, from the sequence's frame rate."""
    if rows_per_second == 0 or len(time) < 2:
        return 1
    return max(1, round(1 / (rows_per_second * float(np.median(np.diff(time))))))


class WindowBatches:
    """The training windows of each step for every fold. An epoch takes every ``stride``-th frame, from a random one on, in random windows."""

    def __init__(self, frames: Frames, used: Int64[np.ndarray, " rows"], folds: TrainingFolds, config: FusionConfig):
        """Find the sequences.

        Args:
            frames: All frames.
            used: Rows with a label and a vector, ascending.
            folds: The folds.
            config: Length of the windows and rate of their rows.

        Raises:
            DataError: a fold has no row to train on.
        """
        self.length = config.window_rows
        self._is_used = np.zeros(len(frames), dtype=bool)
        self._is_used[used] = True
        has_used = np.bincount(frames.subject_index[used], minlength=len(frames.subjects)) > 0
        self.rows = np.flatnonzero(has_used[frames.subject_index])
        """All rows that occur."""
        self._sequences = [one for one in uninterrupted(frames, self.rows, config) if self._is_used[one.rows].any()]
        subject = np.array([frames.subject_index[one.rows[0]] for one in self._sequences], dtype=np.int64)
        self._train, self._seeds = [mask[subject] for mask in folds.train], folds.seeds()
        if not all(mask.any() for mask in self._train):
            raise DataError(f"fusion: none of {len(frames):,} training frames is labelled and has a vector; see the failures of the features stage")
        lengths = np.array([-(-len(one.rows) // one.stride) for one in self._sequences])
        self._longest = max(int(lengths[mask[subject]].sum()) for mask in (folds.paced_by or folds.train))

    def steps(self, batch_size: int) -> int:
        """Steps of an epoch: all windows of the largest fold occur about once."""
        return max(1, round(self._longest / batch_size))

    def epoch(self, epoch: int, batch_size: int, seed: int) -> Int64[np.ndarray, "steps folds batch"]:
        """Rows of all steps of an epoch, windows one after another, ``PADDING`` where a window has no frame."""
        rng = np.random.default_rng([seed, epoch])
        windows, owner = [], []
        for number, sequence in enumerate(self._sequences):
            phase, offset = int(rng.integers(sequence.stride)), int(rng.integers(self.length))
            found = _chop(sequence.rows[phase :: sequence.stride], self.length, offset)
            found = found[(self._is_used[found] & (found != PADDING)).any(axis=1)]
            windows.append(found)
            owner.append(np.full(len(found), number))
        rows, sequence_of = np.concatenate(windows), np.concatenate(owner)
        per_step, steps = max(1, batch_size // self.length), self.steps(batch_size)
        folds = []
        for mask, number in zip(self._train, self._seeds, strict=True):
            order = np.random.default_rng([seed, epoch, 1 + number]).permutation(np.flatnonzero(mask[sequence_of]))
            order = np.resize(order, steps * per_step) if len(order) else np.zeros(steps * per_step, np.int64)
            folds.append(rows[order].reshape(steps, -1))
        return np.stack(folds, axis=1)

    def scored_rows(self) -> Int64[np.ndarray, "windows length"]:
        """Windows over every ``stride``-th frame of every sequence: those that are scored after an epoch."""
        return np.concatenate([_chop(one.rows[:: one.stride], self.length, 0) for one in self._sequences])


def _chop(rows: Int64[np.ndarray, " rows"], length: int, offset: int) -> Int64[np.ndarray, "windows length"]:
    """The rows in windows one after another; the first begins ``offset`` places before them."""
    padded = np.pad(rows, (offset, -(offset + len(rows)) % length), constant_values=PADDING)
    return padded.reshape(-1, length)


def prediction_windows(
    sequences: Sequence[FrameSequence], length: int
) -> Iterator[tuple[Int64[np.ndarray, "windows length"], Bool[np.ndarray, "windows length"]]]:
    """Windows that cover every frame, and the places of each that count: every frame once, with a quarter of a window on either side where there is
    one.
    """
    for sequence in sequences:
        for phase in range(min(sequence.stride, len(sequence.rows))):
            rows = sequence.rows[phase :: sequence.stride]
            hop = max(1, length // 2)
            starts = np.arange(0, max(len(rows) - length, 0) + hop, hop) if len(rows) > length else np.array([0])
            places = starts[:, None] + np.arange(length)
            windows = np.where(places < len(rows), rows[np.minimum(places, len(rows) - 1)], PADDING)
            middle = np.concatenate([[0], starts[1:] + (length - hop) // 2, [len(rows)]])
            counted = (places >= middle[:-1, None]) & (places < np.minimum(middle[1:, None], len(rows)))
            yield windows, counted
