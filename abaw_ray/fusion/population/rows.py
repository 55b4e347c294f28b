"""Rows of ``Frames`` on the training device, standardization from sums per subject, and the batches of an epoch for every fold."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int, Int64
from torch import Tensor

from abaw_ray.core.errors import DataError
from abaw_ray.fusion.config import FusionConfig, Mode
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.network.heads import Windows

_CHUNK_ROWS = 32_768
"""Rows summed at a time; bounds memory."""
_MIN_STD = 1e-4
"""Features with a smaller standard deviation are treated as constant and divided by 1."""


class DeviceRows:
    """Vectors and masks of rows as tensors: shared with the arrays on a CPU; on a GPU copies of the given rows alone, in half precision."""

    def __init__(self, frames: Frames, mode: Mode, device: torch.device, rows: Int64[np.ndarray, " rows"] | None = None) -> None:
        """Move the rows, by default all, to the device; ``mode`` masks the modality that the model does not read."""
        self.frames, self.mode, self.device = frames, mode, device
        self._scored = frames.scored(mode)
        self._index: Int64[np.ndarray, " n"] | None = None
        columns = (frames.visual, frames.speech, *frames.present(mode))
        if device.type != "cpu" and rows is not None:
            self._index = np.full(len(frames), -1)
            self._index[rows] = np.arange(len(rows))
            columns = tuple(column[rows] for column in columns)
        self._columns = tuple(_tensor(column, device) for column in columns)

    def inputs(self, rows: Int64[np.ndarray, "*folds n"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The model's inputs for these rows: visual and speech vectors, and their masks."""
        index = torch.from_numpy(rows if self._index is None else self._index[rows]).to(self.device)
        visual, speech, seen, heard = (column[index] for column in self._columns)
        frame = index >= 0  # places of a window that no frame fills
        return visual, speech, seen & frame, heard & frame

    def windows(self, rows: Int64[np.ndarray, "*folds n"], length: int) -> Windows:
        """The arrangement of these rows in windows of ``length`` rows; a row without a vector is none that others may read."""
        present = (rows >= 0) & self._scored[rows]
        time = np.where(rows >= 0, self.frames.time[rows], 0.0)
        first = time[..., ::length].repeat(length, axis=-1)  # single precision is enough for times within a window
        return Windows(length, torch.from_numpy(present).to(self.device), torch.from_numpy((time - first).astype(np.float32)).to(self.device))


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor; on a CPU they share memory, also with other processes, so the tensor is read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)


@dataclass(frozen=True)
class SubjectSums:
    """Number, sum and sum of squares of each subject's vectors: mean and standard deviation of any set of subjects follow from them."""

    count: Float64[np.ndarray, " subjects"]
    total: Float64[np.ndarray, "subjects width"]
    squares: Float64[np.ndarray, "subjects width"]

    @classmethod
    def of(cls, vectors: np.ndarray, rows: Int64[np.ndarray, " rows"], subject_index: Int[np.ndarray, " n"], subjects: int) -> "SubjectSums":
        """Sums over these rows, in ascending order."""
        count = np.bincount(subject_index[rows], minlength=subjects).astype(np.float64)
        total, squares = np.zeros((subjects, vectors.shape[1])), np.zeros((subjects, vectors.shape[1]))
        for start in range(0, len(rows), _CHUNK_ROWS):
            chunk = rows[start : start + _CHUNK_ROWS]
            values, index = vectors[chunk].astype(np.float64), subject_index[chunk]
            firsts = np.flatnonzero(np.diff(index, prepend=-1))
            np.add.at(total, index[firsts], np.add.reduceat(values, firsts))
            np.add.at(squares, index[firsts], np.add.reduceat(np.square(values, out=values), firsts))
        return cls(count, total, squares)

    def moments(self, used: Bool[np.ndarray, " subjects"]) -> tuple[Float64[np.ndarray, " width"], Float64[np.ndarray, " width"]]:
        """Mean and standard deviation over these subjects: 0 and 1 without a row, standard deviation 1 for a constant feature."""
        rows = self.count[used].sum()
        if not rows:
            return np.zeros(self.total.shape[1]), np.ones(self.total.shape[1])
        mean = self.total[used].sum(axis=0) / rows
        std = np.sqrt(np.maximum(self.squares[used].sum(axis=0) / rows - mean**2, 0))
        return mean, np.where(std < _MIN_STD, 1.0, std)


@dataclass(frozen=True)
class TrainingFolds:
    """The folds of a population. A fold is trained in the same way with any others beside it."""

    train: Sequence[Bool[np.ndarray, " subjects"]]
    """Mask of the subjects that each fold trains on."""
    held_out: Sequence[Bool[np.ndarray, " subjects"]] = ()
    """Mask of the subjects that score each fold; none for models that are not scored."""
    numbers: Sequence[int] = ()
    """Number of each fold, which seeds its batches and its dropout; by default from 0."""
    paced_by: Sequence[Bool[np.ndarray, " subjects"]] = ()
    """Training subjects of all folds of the protocol, the largest of which determines the steps of an epoch; by default ``train``."""

    def seeds(self) -> list[int]:
        """A number for each fold."""
        return list(self.numbers) or list(range(len(self.train)))


class FoldBatches:
    """The training rows of each step for every fold. An epoch takes one random labelled row of each subject in each interval of time."""

    def __init__(self, frames: Frames, used: Int64[np.ndarray, " rows"], folds: TrainingFolds, config: FusionConfig):
        """Find the intervals.

        Args:
            frames: All frames.
            used: Rows with a label and a vector, ascending.
            folds: The folds.
            config: Training rows per second.

        Raises:
            DataError: a fold has no row to train on.
        """
        self.rows, self._subject = used, frames.subject_index[used]
        """All rows that occur."""
        rate = config.rows_per_second
        ticks = np.arange(len(used)) if rate == 0 else np.floor(frames.time[used] * rate).astype(np.int64)
        self._starts = np.flatnonzero((np.diff(ticks, prepend=-1) != 0) | (np.diff(self._subject, prepend=-1) != 0))
        self._counts = np.diff(self._starts, append=len(used))
        self._intervals, self._seeds = [np.flatnonzero(mask[self._subject[self._starts]]) for mask in folds.train], folds.seeds()
        self._longest = max(int(mask[self._subject[self._starts]].sum()) for mask in (folds.paced_by or folds.train))
        if not all(map(len, self._intervals)):
            raise DataError(f"fusion: none of {len(frames):,} training frames is labelled and has a vector; see the failures of the features stage")

    def scored_rows(self) -> Int64[np.ndarray, "rows 1"]:
        """One row of each interval of every subject, always the middle one: the rows that are scored after an epoch."""
        return self.rows[self._starts + self._counts // 2][:, None]

    def steps(self, batch_size: int) -> int:
        """Steps of an epoch: all rows of the largest fold occur about once."""
        return max(1, round(self._longest / batch_size))

    def epoch(self, epoch: int, batch_size: int, seed: int) -> Int64[np.ndarray, "steps folds batch"]:
        """Rows of all steps of an epoch, counted from 0. They depend on these arguments alone."""
        rng = np.random.default_rng([seed, epoch])
        picked = self._starts + (rng.random(len(self._starts)) * self._counts).astype(np.int64)
        size = self.steps(batch_size) * batch_size
        folds = []
        for intervals, number in zip(self._intervals, self._seeds, strict=True):
            order = np.random.default_rng([seed, epoch, 1 + number]).permutation(intervals)
            folds.append(np.resize(order, size).reshape(-1, batch_size))  # a smaller fold begins again
        return self.rows[picked[np.stack(folds, axis=1)]]
