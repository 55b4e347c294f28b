"""A table of boxes that the user has -> the faces of a frame, in place of a detector's.

The table is CSV or Parquet with the columns ``video``, ``frame`` (from 1, as the decoder counts), ``x0``, ``y0``, ``x1``, ``y1`` in pixels of the
upright picture, and, if one likes, ``score`` and ``track``: with a track, faces are given to people by it and not by their place.
"""

import io
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from abaw_ray.core.errors import ConfigError, DataError, ItemError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.detection.detect import Face
from abaw_ray.media.frame import Frame

_CORNERS = ("x0", "y0", "x1", "y1")
_NEEDED, _OPTIONAL = ("video", "frame", *_CORNERS), ("score", "track")
_TEXTS = {"video": pa.string(), "track": pa.string()}
"""Columns of a CSV that are text even where they look like numbers."""


class BoxTable:
    """The table, opened; a CSV file is held in memory, of a Parquet file only what belongs to a video (sort it by ``video``)."""

    def __init__(self, where: str, storage: StorageConfig | None = None) -> None:
        """Open it.

        Args:
            where: A local path or a URI that pyarrow understands.
            storage: Where an object store is; only its endpoint and region matter here.

        Raises:
            ConfigError: it has not the columns that are needed.
            DataError: there is no such table.
            StorageError: the store cannot be reached.
        """
        folder, _, self._name = where.rpartition("/")
        self.where, self._storage = where, Storage(replace(storage or StorageConfig(), uri=folder or ("/" if where.startswith("/") else ".")))
        self._table: pa.Table | None = None
        try:
            if where.lower().endswith(".csv"):
                text = io.BytesIO(self._storage.read_bytes(self._name))
                self._table = pa_csv.read_csv(text, convert_options=pa_csv.ConvertOptions(column_types=_TEXTS))
            names = self._storage.table_columns(self._name) if self._table is None else self._table.column_names
        except FileNotFoundError:
            raise DataError(f"{where}: there is no such table; check detector.boxes") from None
        except pa.ArrowInvalid as error:
            raise DataError(f"{where}: neither CSV nor Parquet ({' '.join(str(error).split())[:120]}); check detector.boxes") from error
        if missing := [name for name in _NEEDED if name not in names]:
            raise ConfigError(f"{where}: no column {', '.join(missing)}; wanted are {', '.join(_NEEDED)} and, if you like, {', '.join(_OPTIONAL)}")
        self._columns = [name for name in (*_NEEDED, *_OPTIONAL) if name in names]

    def check(self, videos: Iterable[str]) -> None:
        """See whether it is about these videos at all.

        Raises:
            DataError: it has a box for none of them.
        """
        column = (self._storage.read_table(self._name, ["video"]) if self._table is None else self._table)["video"]
        known, wanted = set(pc.unique(column).to_pylist()), list(videos)
        if known.isdisjoint(wanted):
            raise DataError(f"{self.where}: has boxes for {sorted(map(str, known))[:2]} ..., and for none of {wanted[:2]} ...; use the same names")

    def of(self, video: str) -> "GivenBoxes":
        """The boxes of one video; it may have none.

        Raises:
            ItemError: a frame's number or a box makes no sense.
            StorageError: the table could not be read.
        """
        if self._table is not None:
            rows = self._table.filter(pc.equal(self._table["video"], video)).select(self._columns)
        else:
            rows = self._storage.read_table(self._name, self._columns, [("video", "==", video)])
        found: dict[int, list[Face]] = {}
        for row in rows.to_pylist():
            box = np.array([row[corner] for corner in _CORNERS], dtype=np.float64)
            if row["frame"] is None or row["frame"] < 1 or not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
                raise ItemError(f"{self.where}: frame {row['frame']} with box {box.tolist()}; frames count from 1, x0 < x1 and y0 < y1")
            score, track = row.get("score"), row.get("track")
            face = Face(box, 1.0 if score is None else float(score), None, "given", None if track is None else str(track))
            found.setdefault(int(row["frame"]), []).append(face)
        return GivenBoxes(found)


class GivenBoxes:
    """Stands where an ``Observer`` does, for one video decoded from its first frame."""

    trusted = True
    """No box is doubted, for whatever score or how few there are."""

    def __init__(self, faces: dict[int, list[Face]]) -> None:
        """``faces``: those of each frame, by its number."""
        self._faces = faces

    def has_news(self, frame: Frame) -> bool:
        """Whether the table says something of this frame."""
        return frame.number in self._faces

    def look(self, frame: Frame, known: list[np.ndarray]) -> list[Face]:
        """The boxes of this frame."""
        return self._faces.get(frame.number, [])

    everywhere = look
