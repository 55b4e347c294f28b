"""A video -> its output: one Parquet file on the local disk, from one decoding pass or from the chunks of several workers.

The code that may hang or crash (``CropFaces``) runs here. ``isolated.py`` runs it in a child process, and ``cluster/stages/faces.py`` stores the
outputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from abaw_ray.core import schema
from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child import heartbeat
from abaw_ray.faces.chunk_result import ChunkResult
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.official_crops import OfficialCrops
from abaw_ray.faces.still_faces import crop_still
from abaw_ray.faces.tracking.segments import Chunk
from abaw_ray.faces.tracking.time_range import ALL_TIMES, RangeFrames, TimeRange

_ROW_GROUP = 1024
"""Rows of a Parquet row group: about ten megabytes of chips, the maximum in memory while an output is written."""
_COMPRESSION = {"chip": "none"}
"""JPEG data is not compressed again: that would take 5% of the stage's time and save nothing."""


@dataclass(eq=False)
class VideoResult:
    """Counts of one video's output, and the error that ended it early."""

    rows: int
    faces: int
    """Rows with a face."""
    frames: int
    """Number of the last frame that has rows; 0 without any."""
    error: ItemError | None
    """Why decoding stopped early; the output has the rows of all frames before. None where it did not."""
    size: tuple[int, int] | None = None
    """Width and height in pixels of the first upright frame."""
    range_frames: RangeFrames = RangeFrames()
    """The frames around the analyzed range."""
    notes: dict[str, int] = field(default_factory=dict)
    """Further counts (``CropFaces.__call__``)."""


class FaceWriter:
    """Writes the outputs of videos and the results of chunks to files, and returns counts. Built once per child process."""

    def __init__(self, config: FacesConfig, weights: bytes | None = None, embedder_weights: bytes | None = None) -> None:
        """Build the detector and the embedder.

        Args:
            config: Settings that determine the rows.
            weights: YuNet's weights, where they have been read already.
            embedder_weights: SFace's weights, likewise.

        Raises:
            ConfigError: as ``CropFaces``.
        """
        self.crop = CropFaces(config, weights=weights, embedder_weights=embedder_weights)

    def __call__(self, method: str, *args: object) -> VideoResult | ChunkResult:
        """Call a method by its name: a child process has one entry point.

        Raises:
            MemoryError: memory ran out, also in OpenCV, which has an error class of its own for that.
        """
        try:
            methods: dict[str, Any] = {"write_video": self.write_video, "write_still": self.write_still}
            methods |= {"write_chunk": self.write_chunk, "join_chunks": self.join_chunks, "write_crops": self.write_crops}
            return methods[method](*args)
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError(error.err) from error
            raise

    def write_video(self, video: dict, path: Path, time_range: TimeRange = ALL_TIMES, last: int | None = None) -> VideoResult:
        """Write the FACE rows of a video, or of a part of it, to a Parquet file; ``last``: decode at most this many frames.

        Raises:
            ItemError: no frame can be used; a later failure is in the result instead.
            MissingError: the file does not exist.
            StorageError: it cannot be read; a retry may succeed.
        """
        notes: dict[str, int] = {}
        return self._written(self.crop(video, last, notes, time_range), path, notes)

    def write_still(self, image: dict, path: Path) -> VideoResult:
        """Write the FACE rows of an image to a Parquet file; errors as ``crop_still``."""
        return self._written(iter([crop_still(self.crop, image)]), path, {})

    def write_crops(self, video: dict, path: Path) -> VideoResult:
        """Write the FACE rows of a video's official crops to a Parquet file; errors as ``OfficialCrops``."""
        notes: dict[str, int] = {}
        return replace(write_faces(OfficialCrops(self.crop.config, self.crop.still_detector())(video, notes), path), notes=notes)

    def write_chunk(self, video: dict, chunk: Chunk, folder: Path, last: int | None = None) -> ChunkResult:
        """Process one chunk of a video, as ``CropFaces.crop_chunk``."""
        return self.crop.crop_chunk(video, chunk, folder, last)

    def join_chunks(self, video: dict, folders: list[Path], path: Path) -> VideoResult:
        """Join the chunks of a video, as ``CropFaces.join_chunks``, and write the rows to a Parquet file."""
        notes: dict[str, int] = {}
        return self._written(self.crop.join_chunks(video, folders, notes), path, notes)

    def _written(self, tables: Iterator[pa.Table], path: Path, notes: dict[str, int]) -> VideoResult:
        result = write_faces(tables, path)
        return replace(result, size=self.crop.frame_size, range_frames=self.crop.range_frames, notes=notes)


def write_faces(tables: Iterator[pa.Table], path: Path) -> VideoResult:
    """Write FACE tables to a Parquet file, one row group at a time.

    Raises:
        ItemError: raised by ``tables`` before the first row; a later one is in the result instead.
    """
    result, names = VideoResult(0, 0, 0, None), [field.name for field in schema.FACE]
    codecs = {name: _COMPRESSION.get(name, "zstd") for name in names}
    options: dict[str, Any] = {"compression": codecs, "use_dictionary": ["video", "track", "source"]}  # pyarrow documents both by column
    with pq.ParquetWriter(path, schema.FACE, **options) as writer:
        pending: list[pa.Table] = []
        try:
            for table in tables:
                heartbeat()  # without a frame number: progress counts decoded frames
                pending.append(table)
                result.rows += len(table)
                result.faces += table["seen"].to_numpy().sum().item()
                result.frames = max(result.frames, table["frame"][-1].as_py())
                if sum(len(one) for one in pending) >= _ROW_GROUP:
                    writer.write_table(pa.concat_tables(pending))
                    pending.clear()
        except ItemError as error:
            if not result.rows:
                raise
            result.error = error
        if pending:
            writer.write_table(pa.concat_tables(pending))
    return result
