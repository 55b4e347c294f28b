"""A video -> its part: one Parquet file on the local disk; from one decode, or from the pieces of several workers.

What may hang or crash is in here (``CropFaces``); ``guarded.py`` runs it in a child process, and where parts are kept is ``cluster/faces.py``'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from abaw_ray.core import schema
from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child import heartbeat
from abaw_ray.faces.chunk_files import Piece
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.tracking.segments import Span

_ROW_GROUP = 1024
"""Rows of a Parquet row group: some ten megabytes of chips, the most that is held while a part is written."""
_COMPRESSION = {"chip": "none"}
"""JPEG is compressed already: a second time costs a twentieth of the whole stage, and gives nothing."""


@dataclass(eq=False)
class Done:
    """What became of a video."""

    rows: int
    faces: int
    """Rows in which a face is seen."""
    frames: int
    """Of the video, however many people are in it."""
    broke: ItemError | None
    """Why the video ended early: the part has the rows of all frames before."""


class WriteParts:
    """Built once a child process; each call writes files and returns small values."""

    def __init__(self, config: FacesConfig, weights: bytes | None = None) -> None:
        """Build the detector.

        Args:
            config: What shapes the rows.
            weights: YuNet's, where somebody has read them already.

        Raises:
            ConfigError: as ``CropFaces``.
        """
        self.crop = CropFaces(config, weights=weights)

    def __call__(self, what: str, *args: object) -> Done | Piece:
        """``whole``, ``cut`` or ``join``, by name: a child process has one entrance.

        Raises:
            MemoryError: there is no more, whoever asked for it: OpenCV has an error of its own for that.
        """
        try:
            return {"whole": self.whole, "cut": self.cut, "join": self.join}[what](*args)
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError(error.err) from error
            raise

    def whole(self, video: dict, path: Path, last: int | None = None) -> Done:
        """Watch a video from beginning to end, or its first ``last`` frames.

        Raises:
            ItemError: nothing in it can be used; what breaks later is in the result.
            MissingError: there is no such file.
            StorageError: it could not be read; it may be tried again.
        """
        return write_part(self.crop(video, last), path)

    def cut(self, video: dict, span: Span, folder: Path, last: int | None = None) -> Piece:
        """Watch one span of a video, as ``CropFaces.cut``."""
        return self.crop.cut(video, span, folder, last)

    def join(self, video: dict, folders: list[Path], path: Path) -> Done:
        """Put the pieces of a video together, as ``CropFaces.join``."""
        return write_part(self.crop.join(video, folders), path)


def write_part(tables: Iterator[pa.Table], path: Path) -> Done:
    """Write FACE tables as they come.

    Raises:
        ItemError: it was raised before the first row.
    """
    done, names = Done(0, 0, 0, None), [field.name for field in schema.FACE]
    codecs = {name: _COMPRESSION.get(name, "zstd") for name in names}
    with pq.ParquetWriter(path, schema.FACE, compression=codecs, use_dictionary=["video", "track", "source"]) as writer:
        waiting: list[pa.Table] = []
        try:
            for table in tables:
                heartbeat()  # what counts as reached are pictures
                waiting.append(table)
                done.rows, done.faces = done.rows + len(table), done.faces + pc.sum(table["seen"]).as_py()
                done.frames = max(done.frames, table["frame"][-1].as_py())
                if sum(len(one) for one in waiting) >= _ROW_GROUP:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting.clear()
        except ItemError as error:
            if not done.rows:
                raise
            done.broke = error
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return done
