"""The user's own table of boxes -> the faces of a frame, in place of a detector.

The table is CSV or Parquet with the columns ``video``, ``frame`` (from 1, in decoding order), ``x0``, ``y0``, ``x1``, ``y1`` in pixels of the
upright frame, and optionally ``score`` and ``track``: with a track, faces are matched to people by it and not by position.
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
_REQUIRED, _OPTIONAL = ("video", "frame", *_CORNERS), ("score", "track")
_TEXT_TYPES = {"video": pa.string(), "track": pa.string()}
"""Columns of a CSV that are text even where the values look like numbers."""


class BoxTable:
    """An opened table. A CSV file is read into memory; of a Parquet file, only the rows of one video are read (fast if sorted by ``video``)."""

    def __init__(self, uri: str, storage: StorageConfig | None = None) -> None:
        """Open the table and check its columns.

        Args:
            uri: A local path or a URI that pyarrow understands.
            storage: Settings of an object store; only endpoint and region are used.

        Raises:
            ConfigError: a required column is missing.
            DataError: the table does not exist, or is neither CSV nor Parquet.
            StorageError: the store cannot be reached.
        """
        folder, _, self._name = uri.rpartition("/")
        self.uri, self._storage = uri, Storage(replace(storage or StorageConfig(), uri=folder or ("/" if uri.startswith("/") else ".")))
        self._table: pa.Table | None = None
        try:
            if uri.lower().endswith(".csv"):
                text = io.BytesIO(self._storage.read_bytes(self._name))
                self._table = pa_csv.read_csv(text, convert_options=pa_csv.ConvertOptions(column_types=_TEXT_TYPES))
            names = self._storage.table_schema(self._name).names if self._table is None else self._table.column_names
        except FileNotFoundError:
            raise DataError(f"{uri}: no such file; check detector.boxes") from None
        except pa.ArrowInvalid as error:
            raise DataError(f"{uri}: neither CSV nor Parquet ({' '.join(str(error).split())[:120]}); check detector.boxes") from error
        if missing := [name for name in _REQUIRED if name not in names]:
            raise ConfigError(f"{uri}: no column {', '.join(missing)}; required are {', '.join(_REQUIRED)}, optional {', '.join(_OPTIONAL)}")
        self._columns = [name for name in (*_REQUIRED, *_OPTIONAL) if name in names]

    def check(self, videos: Iterable[str]) -> None:
        """Check that the table has boxes for at least one of these videos.

        Raises:
            DataError: it has none.
        """
        column = (self._storage.read_table(self._name, ["video"]) if self._table is None else self._table)["video"]
        known, wanted = set(column.unique().to_pylist()), list(videos)
        if known.isdisjoint(wanted):
            raise DataError(f"{self.uri}: has boxes for {sorted(map(str, known))[:2]} ..., and for none of {wanted[:2]} ...; use the same names")

    def boxes_of(self, video: str) -> "GivenBoxes":
        """Return the boxes of one video; it may have none.

        Raises:
            ItemError: a frame number or a box is invalid.
            StorageError: the table cannot be read.
        """
        if self._table is not None:
            mask = pc.equal(self._table["video"], video)  # pyright: ignore[reportAttributeAccessIssue] (pyarrow.compute defines its functions at import)
            rows = self._table.filter(mask).select(self._columns)
        else:
            rows = self._storage.read_table(self._name, self._columns, [("video", "==", video)])
        faces_by_frame: dict[int, list[Face]] = {}
        for row in rows.to_pylist():
            box = np.array([row[corner] for corner in _CORNERS], dtype=np.float64)
            if row["frame"] is None or row["frame"] < 1 or not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
                raise ItemError(f"{self.uri}: frame {row['frame']} with box {box.tolist()}; frames must count from 1, x0 < x1 and y0 < y1")
            score, track = row.get("score"), row.get("track")
            face = Face(box, 1.0 if score is None else float(score), None, "given", None if track is None else str(track))
            faces_by_frame.setdefault(int(row["frame"]), []).append(face)
        return GivenBoxes(faces_by_frame)


class GivenBoxes:
    """Replaces a ``FrameDetector`` for one video decoded from its first frame."""

    trusted = True
    """Every box is accepted, whatever its score and however few there are."""

    def __init__(self, faces: dict[int, list[Face]]) -> None:
        """``faces``: by frame number."""
        self._faces = faces

    def must_detect(self, frame: Frame) -> bool:
        """Return whether the table has a box in this frame."""
        return frame.number in self._faces

    def follow(self, frame: Frame, boxes: list[np.ndarray]) -> list[Face]:
        """Return the boxes of this frame."""
        return self._faces.get(frame.number, [])

    search_and_follow = follow
