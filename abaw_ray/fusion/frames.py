"""``FEATURE`` tables and annotations -> arrays with one row a frame, from which a training draws frames in any order.

People lie one after the other, their frames ascending. A missing vector is marked by ``seen`` or ``heard`` and never read; what its row
holds means nothing. Nothing is filled in from a neighbour: neither across a gap nor from another person. Reading files is the caller's part.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float16, Int8, Int32, Int64

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError, StageError
from abaw_ray.core.expressions import UNLABELLED
from abaw_ray.data.annotations import match_labels
from abaw_ray.data.subjects import source_of

Mode = Literal["fused", "visual", "speech"]
"""Both modalities, or a model of one alone."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """One track of one video."""

    video: str
    track: str
    split: Literal["train", "val", "test", ""] = ""
    """Of the data set; empty for people that were found rather than named."""

    @property
    def name(self) -> str:
        """What folds and model records call the person: the data set's name, else video and track."""
        found = self.track == schema.MAIN_TRACK or self.track.startswith("person-")
        return f"{self.video}/{self.track}" if found else self.track

    @property
    def source(self) -> str:
        """The recording; both people of a video share it, and so do the parts of one recording."""
        return source_of(self.video)


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The frames of many people. Features stay float16: 2.6 million frames of 1,024 and 768 numbers take 9.3 GB."""

    visual: Float16[np.ndarray, "n visual"]
    speech: Float16[np.ndarray, "n speech"]
    seen: Bool[np.ndarray, " n"]
    """Whether ``visual`` holds a vector."""
    heard: Bool[np.ndarray, " n"]
    """Whether ``speech`` holds a vector."""
    time: Float[np.ndarray, " n"]
    """Presentation time in seconds."""
    frame: Int32[np.ndarray, " n"]
    """Number from 1."""
    labels: Int8[np.ndarray, " n"]
    """Index into ``EXPRESSIONS``; -1 where nobody labelled."""
    person: Int32[np.ndarray, " n"]
    """Index into ``people``."""
    people: tuple[Person, ...]
    encoder_saw: frozenset[str] = frozenset()
    """Names of the people on whose chips the encoder of these features was trained; none where it was trained on still images."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Annotated people who are not among ``people``, and why: their video broke, or is not the one that was annotated."""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frame)

    def present(self, mode: Mode) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Which visual and which speech vectors a model of this mode may read."""
        return self.seen & (mode != "speech"), self.heard & (mode != "visual")

    def scored(self, mode: Mode) -> Bool[np.ndarray, " n"]:
        """Frames that a model of this mode can score: at least one vector that it may read."""
        seen, heard = self.present(mode)
        return seen | heard

    def rows_of(self, names: Iterable[str]) -> Int64[np.ndarray, " rows"]:
        """Rows of these people, ascending.

        Raises:
            StageError: a name is not among the people.
        """
        wanted = set(names)
        unknown = wanted - {person.name for person in self.people}
        if unknown:
            raise StageError(f"fusion: {len(unknown)} people have no features, first '{min(unknown)}'; extract them, or leave them out of the folds")
        chosen = np.array([person.name in wanted for person in self.people], dtype=bool)
        return np.flatnonzero(chosen[self.person])

    def names(self, split: str) -> list[str]:
        """Names of a split's people, in order."""
        return [person.name for person in self.people if person.split == split]

    def labels_by_name(self, names: Iterable[str]) -> dict[str, Int8[np.ndarray, " frames"]]:
        """Labels of each of these people: what folds are made of."""
        return {name: self.labels[self.rows_of([name])] for name in names}


def join_frames(
    tables: Iterable[pa.Table],
    labels: Mapping[str, Int8[np.ndarray, " rows"]],
    splits: Mapping[str, Literal["train", "val", "test"]],
    encoder_saw: Iterable[str] = (),
) -> Frames:
    """Lay ``FEATURE`` tables end to end and give every frame its label; an annotated person without tables, or whose annotation rows and frames
    differ by more than 2, is left out.

    Args:
        tables: One or more a video; all rows of a person lie in one table, in any order. Taken one by one: a generator keeps memory low.
        labels: Annotation rows by track; row ``i`` is frame ``i``. Other tracks stay unlabelled.
        splits: Split by track, for named people.
        encoder_saw: See ``Frames.encoder_saw``.

    Raises:
        StageError: no frame at all, vectors of several widths, a key that is there twice, a labelled person without all frames.
    """
    people: list[Person] = []
    left_out = dict.fromkeys(labels, "its video has no features; the record of the faces or of the features says why")
    columns: dict[str, list[np.ndarray]] = {}
    for table in tables:
        for key, piece in _by_person(table):
            person = Person(video=key[0], track=key[1], split=splits.get(key[1], ""))
            left_out.pop(person.track, None)
            try:
                piece["labels"] = _labels_of(person, labels.get(person.track), piece["frame"])
            except DataError as error:
                left_out[person.track] = str(error)
                continue
            piece["person"] = np.full(len(piece["frame"]), len(people), np.int32)
            people.append(person)
            for name, column in piece.items():
                columns.setdefault(name, []).append(column)
    if not people:
        raise StageError("fusion: there is no frame to join; look at the record of the features")
    _check(people, columns)
    arrays = {name: _stack(pieces) for name, pieces in columns.items()}
    return Frames(people=tuple(people), encoder_saw=frozenset(encoder_saw), left_out=left_out, **arrays)


def _by_person(table: pa.Table) -> Iterator[tuple[tuple[str, str], dict[str, np.ndarray]]]:
    """The rows of each (video, track) of a table, ascending by frame."""
    videos, tracks = table.column("video").to_numpy(), table.column("track").to_numpy()
    frame = table.column("frame").to_numpy()
    order = np.lexsort((frame, tracks.astype(str), videos.astype(str)))
    piece = {name: table.column(name).to_numpy()[order] for name in ("seen", "heard", "time", "frame")}
    piece["visual"], piece["speech"] = (_vectors(table.column(name))[order] for name in ("visual", "speech"))
    videos, tracks = videos[order], tracks[order]
    borders = 1 + np.flatnonzero((videos[1:] != videos[:-1]) | (tracks[1:] != tracks[:-1]))
    for rows in np.split(np.arange(len(order)), borders):
        if len(rows):
            yield (str(videos[rows[0]]), str(tracks[rows[0]])), {name: column[rows] for name, column in piece.items()}


def _vectors(column: pa.ChunkedArray) -> Float16[np.ndarray, "rows width"]:
    """A column of fixed-size lists as a matrix; rows of null vectors hold zeros that nobody reads."""
    array = column.combine_chunks()
    out = np.zeros((len(array), array.type.list_size), np.float16)
    out[array.is_valid().to_numpy(zero_copy_only=False)] = array.flatten().to_numpy().reshape(-1, array.type.list_size)
    return out


def _labels_of(person: Person, rows: np.ndarray | None, frame: np.ndarray) -> Int8[np.ndarray, " frames"]:
    if (np.diff(frame) < 1).any():
        raise StageError(f"fusion: '{person.name}' has frame {frame[1:][np.diff(frame) < 1][0]} twice; extract its features again")
    if rows is None:
        return np.full(len(frame), UNLABELLED, np.int8)
    if frame[0] != 1 or frame[-1] != len(frame):
        raise StageError(f"fusion: '{person.name}' has {len(frame)} rows from frame {frame[0]} to {frame[-1]}; a labelled person needs every frame")
    return match_labels(rows, len(frame), person.name)


def _check(people: list[Person], columns: dict[str, list[np.ndarray]]) -> None:
    twice = [name for name, count in Counter(person.name for person in people).items() if count > 1]
    if twice:
        raise StageError(f"fusion: '{twice[0]}' is in two tables; give each video's features once")
    for name in ("visual", "speech"):
        widths = sorted({piece.shape[1] for piece in columns[name]})
        if len(widths) > 1:
            raise StageError(f"fusion: '{name}' vectors have {' and '.join(map(str, widths))} numbers; use features of one home")


def _stack(pieces: list[np.ndarray]) -> np.ndarray:
    """Concatenate and let each piece go as soon as it is copied: at no time are there two copies of everything."""
    out = np.empty((sum(map(len, pieces)), *pieces[0].shape[1:]), pieces[0].dtype)
    start = len(out)
    while pieces:
        piece = pieces.pop()
        start -= len(piece)
        out[start : start + len(piece)] = piece
    return out
