"""Random scores with the lengths and labels of a real data set, and the Gaussian tap by tap, as a reference for speed."""

import csv
from pathlib import Path

import numpy as np

from abaw_ray.core.errors import DataError
from abaw_ray.scoring.selection import OutOfFoldScores
from abaw_ray.scoring.smoothing import SIGMAS

FPS = 30
"""Frame rate of the subjects; most videos of Aff-Wild2 have it, and the file of counts has no rates."""
FOLDS = 5


def read_counts(path: Path) -> list[tuple[int, int]]:
    """Return annotated and labelled frames per subject, from the columns ``annotation_rows`` and ``labelled_rows`` of a CSV file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [(int(row["annotation_rows"]), int(row["labelled_rows"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: {error}; the file needs the columns annotation_rows and labelled_rows with numbers") from error


def draw_subjects(counts: list[tuple[int, int]], seed: int = 0) -> list[OutOfFoldScores]:
    """Return random out-of-fold scores; a label lasts for 2 s, 2 % of the frames have no score, and times are rounded as in files."""
    rng, subjects = np.random.default_rng(seed), []
    for index, (frames, labelled) in enumerate(counts):
        labels = np.repeat(rng.integers(0, 8, frames // 60 + 1), 60)[:frames].astype(np.int8)
        logits = (np.eye(8)[labels] + 2 * rng.normal(size=(frames, 8))).astype(np.float32)
        labels[rng.permutation(frames)[labelled:]] = -1
        time = np.round(np.arange(frames) / FPS, 6)
        scored = rng.random(frames) > 0.02
        subjects.append(OutOfFoldScores(name=str(index), fold=index % FOLDS, logits=logits, time=time, scored=scored, labels=labels))
    return subjects


def gaussian_by_taps(scores: np.ndarray, time: np.ndarray, window_s: float) -> np.ndarray:
    """Return the Gaussian-weighted mean of fully scored frames with one pass over all frames per tap, in single precision."""
    values = np.concatenate([scores.T, np.ones((1, len(time)))], dtype=np.float32)
    sums = values.copy()
    for step in range(1, len(time)):
        distance = time[step:] - time[:-step]
        inside = distance <= window_s / 2
        if not inside.any():
            break
        weight = np.exp(-0.5 * np.square((distance * (SIGMAS / window_s)).astype(np.float32))) * inside
        sums[:, :-step] += weight * values[:, step:]
        sums[:, step:] += weight * values[:, :-step]
    return (sums[:-1] / sums[-1]).T
