"""Random features and labels with the subjects and counts of a real data set, scaled down where a machine is small."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abaw_ray.core.errors import DataError
from abaw_ray.data.folds import assign_folds
from abaw_ray.fusion.frames import Frames, SubjectTrack

FPS = 30
"""Frame rate of the subjects; most videos of Aff-Wild2 have it, and the file of counts has no rates."""
WIDTHS = (1024, 768)
"""Widths of the visual and of the speech vectors."""
_RUN = 60
"""Frames with the same label, one after another."""


@dataclass(frozen=True)
class SubjectCount:
    """A row of the file."""

    name: str
    annotated: int
    labelled: int

    def scaled(self, scale: float) -> "SubjectCount":
        """The subject with this fraction of its frames, at least 8 of them labelled."""
        labelled = max(8, round(self.labelled * scale))
        return SubjectCount(self.name, max(labelled, round(self.annotated * scale)), labelled)


def read_counts(path: Path) -> list[SubjectCount]:
    """Return the subjects of Train_Set.

    Args:
        path: CSV file, or JSON list of objects, with split, video, annotation_rows and labelled_rows for each subject.

    Raises:
        DataError: the file cannot be read, or has no subject of the split ``train``.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = json.load(file) if path.suffix == ".json" else list(csv.DictReader(file))
        counts = [SubjectCount(row["video"], int(row["annotation_rows"]), int(row["labelled_rows"])) for row in rows if row["split"] == "train"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}; the file needs split, video, annotation_rows and labelled_rows for each subject") from error
    if not counts:
        raise DataError(f"{path}: no subject has split=train; the bench trains on the folds of Train_Set")
    return counts


def draw_frames(counts: list[SubjectCount], widths: tuple[int, int] = WIDTHS, seed: int = 0) -> Frames:
    """Return frames of these subjects with random float16 vectors: labels last for 2 s, and the labelled frames of a subject follow each other."""
    rng, rows = np.random.default_rng(seed), sum(one.annotated for one in counts)
    labels = [_labels(rng, one) for one in counts]
    lengths = [one.annotated for one in counts]
    return Frames(
        visual=rng.standard_normal((rows, widths[0]), dtype=np.float32).astype(np.float16),
        speech=rng.standard_normal((rows, widths[1]), dtype=np.float32).astype(np.float16),
        seen=rng.random(rows) < 0.95,
        heard=rng.random(rows) < 0.98,
        time=np.concatenate([np.arange(length) / FPS for length in lengths]),
        frame=np.concatenate([np.arange(1, length + 1) for length in lengths]).astype(np.int32),
        shot=np.zeros(rows, np.int32),
        labels=np.concatenate(labels),
        subject_index=np.repeat(np.arange(len(counts)), lengths).astype(np.int32),
        subjects=tuple(SubjectTrack(video=one.name, track=one.name, split="train") for one in counts),
    )


def _labels(rng: np.random.Generator, count: SubjectCount) -> np.ndarray:
    labels = np.repeat(rng.integers(0, 8, count.annotated // _RUN + 1), _RUN)[: count.annotated].astype(np.int8)
    labels[count.labelled :] = -1
    return labels


def draw_folds(frames: Frames, folds: int = 5) -> dict[str, int]:
    """Return the folds of all subjects."""
    return assign_folds(frames.labels_by_name(frames.subject_names("train")), folds=folds, seed=0)


def labelled_bytes(frames: Frames) -> int:
    """Return the size of the vectors of the labelled frames."""
    return int((frames.labels >= 0).sum()) * 2 * (frames.visual.shape[1] + frames.speech.shape[1])
