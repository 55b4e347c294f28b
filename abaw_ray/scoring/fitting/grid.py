"""Confusion matrices of every smoothing setting, and smoothed scores of one, at the labelled frames of a subject.

Only labelled frames are smoothed, because only they are counted. ``scoring.postprocessing`` defines what is computed here quickly: softmax, gaps,
smoothing, arg-max, and the nearest scored frame's label for a frame without a score.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.fill import nearest_scored
from abaw_ray.scoring.metrics import CLASSES
from abaw_ray.scoring.smoothing import COSINE_HALF_PERIOD, SIGMAS, fill_gaps, to_microseconds


@dataclass(frozen=True, kw_only=True)
class LabelledFrames:
    """The scored frames of one subject, and which of them the labelled frames take their label from."""

    scores: Float[np.ndarray, "scored 8"]
    """Probabilities after short gaps were filled."""
    time: Float[np.ndarray, " scored"]
    """Whole microseconds; float64, which holds them exactly."""
    source: Int64[np.ndarray, " labelled"]
    """Row of ``scores`` for each labelled frame: its own, or the nearest where it has no score."""
    labels: Int64[np.ndarray, " labelled"]
    """0..7."""


def labelled_frames(
    probabilities: Float[np.ndarray, "frames 8"],
    time: Float[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    labels: Int[np.ndarray, " frames"],
    *,
    max_gap_s: float,
    default: int,
) -> LabelledFrames:
    """Input of the functions below, from the frames of one subject.

    Args:
        probabilities: Not smoothed; rows of unscored frames are ignored.
        time: Presentation time in seconds, ascending.
        scored: Whether the frame has a score.
        labels: 0..7, or -1 for unlabelled.
        max_gap_s: As in ``SmoothingConfig``.
        default: Label of a subject without any scored frame: its only row is certain of this class, so every setting predicts it.
    """
    microseconds = to_microseconds(time)
    filled, valid = fill_gaps(probabilities, microseconds, scored, max_gap_s=max_gap_s)
    rows, labelled = np.flatnonzero(valid), np.flatnonzero(labels >= 0)
    wanted = labels[labelled].astype(np.int64)
    if not len(rows):
        return LabelledFrames(scores=np.eye(CLASSES)[[default]], time=np.zeros(1), source=np.zeros(len(wanted), np.int64), labels=wanted)
    source = np.searchsorted(rows, nearest_scored(valid)[labelled])
    return LabelledFrames(scores=filled[rows], time=microseconds[rows].astype(np.float64), source=source, labels=wanted)


def count_settings(frames: LabelledFrames, grid: Sequence[SmoothingConfig]) -> Int64[np.ndarray, "settings 8 8"]:
    """One confusion matrix per setting, without a bias; the settings' ``max_gap_s`` was applied by ``labelled_frames``."""
    counts, no_bias = np.zeros((len(grid), CLASSES, CLASSES), np.int64), np.zeros(CLASSES)
    for rows, matrix in zip(_window_sums(frames, grid), counts, strict=True):
        matrix += count_labels(rows, frames.labels, no_bias)
    return counts


def smoothed_rows(frames: LabelledFrames, smoothing: SmoothingConfig) -> Float[np.ndarray, "labelled 8"]:
    """Smoothed probabilities of every labelled frame; a frame without a score has those of the nearest scored frame."""
    sums = next(_window_sums(frames, [smoothing]))
    return sums / sums.sum(axis=1, keepdims=True)  # the probabilities of every frame sum to 1


def _window_sums(frames: LabelledFrames, grid: Sequence[SmoothingConfig]) -> Iterator[np.ndarray]:
    """For each setting, the labelled frames' weighted sums over their windows: smoothed rows up to a factor. The next ones overwrite them.

    The working memory of one subject stays in the CPU's cache for all settings.
    """
    from abaw_ray.scoring.fitting import compiled  # here, because compiling takes seconds, and only the sweep needs it

    sums = np.pad(np.cumsum(frames.scores, axis=0), ((1, 0), (0, 0)))
    out, waves = np.empty((len(frames.source), CLASSES)), np.empty((len(frames.time), compiled.TERMS))
    for one in grid:
        width = float(round(one.window_s * 1e6))
        if width == 0:
            yield frames.scores[frames.source]
        elif one.kind == "mean":
            compiled.window_sums(sums, frames.time, frames.source, width, out)
            yield out
        else:
            compiled.fill_waves(frames.time, SIGMAS / (2 * COSINE_HALF_PERIOD * width), waves)
            compiled.gaussian_sums(frames.scores, frames.time, frames.source, width, waves, out)
            yield out


def count_labels(
    scores: Float[np.ndarray, "labelled 8"], labels: Int64[np.ndarray, " labelled"], bias: Float[np.ndarray, " 8"]
) -> Int64[np.ndarray, "8 8"]:
    """Confusion matrix of the classes with the largest score plus bias; among equal ones, the first."""
    from abaw_ray.scoring.fitting import compiled

    counts = np.zeros((CLASSES, CLASSES), np.int64)
    compiled.count_labels(scores, labels, bias, counts)
    return counts
