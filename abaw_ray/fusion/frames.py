"""``FEATURE`` tables and annotations -> arrays with one row per frame, for training in any order.

Rows are sorted by subject, then by frame. ``seen`` and ``heard`` mask missing vectors, whose rows hold arbitrary values that are never used.
Missing vectors are never imputed, neither across a gap nor from another subject. The caller reads the files.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float16, Int8, Int32, Int64

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError, StageError
from abaw_ray.core.expressions import UNLABELLED
from abaw_ray.core.tables import list_array
from abaw_ray.data.annotations import align_labels
from abaw_ray.data.subjects import recording_of
from abaw_ray.fusion.config import Mode
from abaw_ray.fusion.frame_columns import FrameColumns

COLUMNS = ("video", "track", "frame", "time", "shot", "seen", "heard", "visual", "speech")
"""Columns of a ``FEATURE`` table that frames are joined from."""
_OTHER_BYTES = 23
"""Bytes of a frame beside its vectors: time, frame, shot, subject, label and two masks."""


@dataclass(frozen=True, kw_only=True)
class SubjectTrack:
    """One subject in one video: the (video, track) key of its rows, and its split."""

    video: str
    track: str
    split: Literal["train", "val", "test", ""] = ""
    """Split of the data set; empty for subjects that the tracker found."""

    @property
    def name(self) -> str:
        """Name in folds and in training provenance: the data set's name, else ``video/track``."""
        tracked = self.track == schema.MAIN_TRACK or self.track.startswith("person-")
        return f"{self.video}/{self.track}" if tracked else self.track

    @property
    def recording(self) -> str:
        """The recording of the video; both subjects of a video share it, and so do all parts of one recording."""
        return recording_of(self.video)


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Features and labels of all frames of many subjects. Features stay float16: 1.56 million frames of 1,024 and 768 values take 5.6 GB."""

    visual: Float16[np.ndarray, "n visual"]
    speech: Float16[np.ndarray, "n speech"]
    seen: Bool[np.ndarray, " n"]
    """Whether ``visual`` holds a vector."""
    heard: Bool[np.ndarray, " n"]
    """Whether ``speech`` holds a vector."""
    time: Float[np.ndarray, " n"]
    """Presentation time in seconds."""
    frame: Int32[np.ndarray, " n"]
    """Frame number, from 1."""
    shot: Int32[np.ndarray, " n"]
    """Number of the shot between two cuts."""
    labels: Int8[np.ndarray, " n"]
    """Index into ``EXPRESSIONS``; -1 where the frame is unlabelled."""
    subject_index: Int32[np.ndarray, " n"]
    """Index into ``subjects``."""
    subjects: tuple[SubjectTrack, ...]
    encoder_train_subjects: frozenset[str] = frozenset()
    """Names of the subjects whose face crops trained the encoder of these features; empty for an encoder trained on still images."""
    excluded_subjects: Mapping[str, str] = field(default_factory=dict)
    """Reason by name for every annotated subject that is not in ``subjects``: its video failed, or does not match its annotation."""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frame)

    def without_vectors(self) -> "Frames":
        """The same frames without their vectors, which take nearly all of the memory."""
        return replace(self, visual=np.empty((len(self), 0), np.float16), speech=np.empty((len(self), 0), np.float16))

    def masked(self, mode: Mode) -> "Frames":
        """The same frames as if only the vectors that a model of this mode reads were present; a frame without any then has no score."""
        seen, heard = self.present(mode)
        return replace(self, seen=seen, heard=heard)

    def present(self, mode: Mode) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Masks of the visual and of the speech vectors that a model of this mode reads."""
        return self.seen & (mode != "speech"), self.heard & (mode != "visual")

    def scored(self, mode: Mode) -> Bool[np.ndarray, " n"]:
        """Mask of the frames that a model of this mode can score: at least one vector that it reads is present."""
        seen, heard = self.present(mode)
        return seen | heard

    def rows_of_subjects(self, names: Iterable[str]) -> Int64[np.ndarray, " rows"]:
        """Row indices of these subjects, ascending.

        Raises:
            StageError: a name is unknown.
        """
        wanted = set(names)
        unknown = wanted - {subject.name for subject in self.subjects}
        if unknown:
            raise StageError(
                f"fusion: {len(unknown)} subjects have no features, first '{min(unknown)}'; extract their features, or remove them from the folds"
            )
        chosen = np.array([subject.name in wanted for subject in self.subjects], dtype=bool)
        return np.flatnonzero(chosen[self.subject_index])

    def subject_names(self, split: str) -> list[str]:
        """Names of a split's subjects, in row order."""
        return [subject.name for subject in self.subjects if subject.split == split]

    def labels_by_name(self, names: Iterable[str]) -> dict[str, Int8[np.ndarray, " frames"]]:
        """Labels of each of these subjects, the input of ``assign_folds``."""
        return {name: self.labels[self.rows_of_subjects([name])] for name in names}


def join_frames(
    tables: Iterable[pa.Table],
    labels: Mapping[str, Int8[np.ndarray, " rows"]],
    splits: Mapping[str, Literal["train", "val", "test"]],
    encoder_train_subjects: Iterable[str] = (),
    *,
    only_splits: Collection[str] | None = None,
) -> Frames:
    """Concatenate ``FEATURE`` tables and label every frame.

    An annotated subject without a table, or with more than 2 annotation rows more or fewer than frames, is excluded.

    Args:
        tables: One or more per video; one table holds all rows of a subject, in any order. Read one at a time, so a generator keeps memory low.
        labels: Annotation rows by track; row ``i`` belongs to frame ``i``. Other tracks stay unlabelled.
        splits: Split by track, for annotated subjects.
        encoder_train_subjects: As in ``Frames.encoder_train_subjects``.
        only_splits: Keep only the subjects of these splits; None keeps all subjects.

    Raises:
        StageError: no frame, vectors of different widths, a duplicate key, or a labelled subject with missing frames.
    """
    subjects: list[SubjectTrack] = []
    excluded = dict.fromkeys(labels, "its video has no features; see the failures of the faces and features stages")
    columns = FrameColumns()
    for table in tables:
        for key, part in _by_subject(table):
            subject = SubjectTrack(video=key[0], track=key[1], split=splits.get(key[1], ""))
            excluded.pop(subject.track, None)
            if only_splits is not None and subject.split not in only_splits:
                continue
            try:
                part["labels"] = _labels_of(subject, labels.get(subject.track), part["frame"])
            except DataError as error:
                excluded[subject.track] = str(error)
                continue
            part["subject_index"] = np.full(len(part["frame"]), len(subjects), np.int32)
            subjects.append(subject)
            columns.append(part)
    if not subjects:
        raise StageError("fusion: no frame to join; see the failures of the features stage")
    duplicates = [name for name, count in Counter(subject.name for subject in subjects).items() if count > 1]
    if duplicates:
        raise StageError(f"fusion: '{duplicates[0]}' is in two tables; pass each video's features once")
    encoder_train = frozenset(encoder_train_subjects)
    return Frames(subjects=tuple(subjects), encoder_train_subjects=encoder_train, excluded_subjects=excluded, **columns.arrays())


def bytes_per_frame(features: pa.Schema) -> int:
    """Memory of one frame in ``Frames``, in bytes, of a ``FEATURE`` table of this schema."""
    widths = [features.field(name).type for name in ("visual", "speech")]
    return sum(width.list_size * width.value_type.bit_width // 8 for width in widths) + _OTHER_BYTES


def with_visual(features: pa.Table, visual: pa.Table) -> pa.Table:
    """``FEATURE`` rows of one video with the visual vectors of another encoder.

    Args:
        features: ``FEATURE`` rows without ``visual``.
        visual: ``VISUAL`` rows of the same video.

    Raises:
        StageError: they are not rows of the same frames, or not of the same faces.
    """
    for name in ("video", "track", "frame", "seen"):
        if not features.column(name).equals(visual.column(name)):
            raise StageError(f"fusion: the features of two encoders differ in '{name}'; extract the features of the encoders per fold again")
    return features.append_column("visual", visual.column("visual"))


def unlabelled_frames(table: pa.Table) -> Frames:
    """All rows of a ``FEATURE`` table in their order, without labels: the input of inference. Rows of a track are contiguous."""
    videos, tracks = (np.array(table.column(name).to_pylist(), dtype=object) for name in ("video", "track"))
    starts = np.ones(len(table), dtype=bool)
    starts[1:] = (videos[1:] != videos[:-1]) | (tracks[1:] != tracks[:-1])
    firsts, subject_index = np.flatnonzero(starts), np.cumsum(starts) - 1
    seen, heard, time, frame, shot = (table.column(name).to_numpy() for name in ("seen", "heard", "time", "frame", "shot"))
    return Frames(
        visual=_vectors(table.column("visual")),
        speech=_vectors(table.column("speech")),
        seen=seen,
        heard=heard,
        time=time,
        frame=frame,
        shot=shot,
        labels=np.full(len(table), UNLABELLED, np.int8),
        subject_index=subject_index.astype(np.int32),
        subjects=tuple(SubjectTrack(video=videos[row], track=tracks[row]) for row in firsts),
    )


def _by_subject(table: pa.Table) -> Iterator[tuple[tuple[str, str], dict[str, np.ndarray]]]:
    """Columns of each (video, track) of a table, sorted by frame."""
    videos, tracks = table.column("video").to_numpy(), table.column("track").to_numpy()
    frame = table.column("frame").to_numpy()
    order = np.lexsort((frame, tracks.astype(str), videos.astype(str)))
    part = {name: table.column(name).to_numpy()[order] for name in ("seen", "heard", "time", "frame", "shot")}
    part["visual"], part["speech"] = (_vectors(table.column(name))[order] for name in ("visual", "speech"))
    videos, tracks = videos[order], tracks[order]
    boundaries = 1 + np.flatnonzero((videos[1:] != videos[:-1]) | (tracks[1:] != tracks[:-1]))
    for rows in np.split(np.arange(len(order)), boundaries):
        if len(rows):
            yield (str(videos[rows[0]]), str(tracks[rows[0]])), {name: column[rows] for name, column in part.items()}


def _vectors(column: pa.ChunkedArray) -> Float16[np.ndarray, "rows width"]:
    """A column of fixed-size lists as a matrix; rows of null vectors are zeros that are never used."""
    return list_array(column, missing=0)


def _labels_of(subject: SubjectTrack, rows: np.ndarray | None, frame: np.ndarray) -> Int8[np.ndarray, " frames"]:
    if (np.diff(frame) < 1).any():
        raise StageError(f"fusion: '{subject.name}' has frame {frame[1:][np.diff(frame) < 1][0]} twice; extract its features again")
    if rows is None:
        return np.full(len(frame), UNLABELLED, np.int8)
    if frame[0] != 1 or frame[-1] != len(frame):
        raise StageError(f"fusion: '{subject.name}' has {len(frame)} rows from frame {frame[0]} to {frame[-1]}; a labelled subject needs every frame")
    return align_labels(rows, len(frame), subject.name)
