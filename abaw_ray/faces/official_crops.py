"""Official crops of Aff-Wild2 -> FACE rows with chips as those of videos: one row for every frame of the video and subject.

The challenge provides a cropped image of each subject and frame in which its own detector found a face, ``<subject>/<frame>.jpg``. The detector of
the videos finds the face within the crop, so that scales mean the same as elsewhere. Numbers, times and shots of frames are those of the video.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int32, UInt8

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child import heartbeat
from abaw_ray.data.trees import Tree
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.faces.config import CutConfig, FacesConfig
from abaw_ray.faces.detection.cuts import CutDetector
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.face_row import face_columns
from abaw_ray.faces.face_table import fill_frames, to_face_table
from abaw_ray.faces.tracking.row_buffer import ROW_SCHEMA
from abaw_ray.media.video import decode

FindFace = Callable[[UInt8[np.ndarray, "height width 3"]], Face | None]
_BATCH_ROWS = 32
"""Rows with chips that are in memory together. Ours."""
CROPS_REVISION = 2
"""Raised when the same crops and videos give other rows; part of the items' identity, so that those of detected faces keep their addresses."""


class _Timeline(NamedTuple):
    """The frames of a video."""

    times: Float[np.ndarray, " frames"]
    """Presentation times in seconds."""
    shots: Int32[np.ndarray, " frames"]
    """Number of the shot, from 0."""
    error: ItemError | None
    """What ended decoding early."""


class OfficialCrops:
    """``VIDEO`` row and folders of crops -> ``FACE`` tables."""

    def __init__(self, config: FacesConfig, find_face: FindFace | None) -> None:
        """Build with the detector of the videos; None where the user's own boxes take its place."""
        self.config, self.find_face = config, find_face

    def __call__(self, video: dict, notes: dict[str, int]) -> Iterator[pa.Table]:
        """Rows of the subjects of one video.

        Args:
            video: A ``VIDEO`` row, and ``crops``: folder of crops by subject. A subject without one is never seen.
            notes: Receives ``crops``, their number; ``crops_without_face``, of those in which the detector finds none; ``crops_past_end``, the
                number of files whose frame the video does not have, which have no row.

        Yields:
            FACE tables of at most 256 rows.

        Raises:
            MissingError: there is no such video.
            StorageError: it, or the crops, cannot be read; a retry may succeed.
            ItemError: no frame of the video can be decoded. After all rows: it breaks off, or a crop cannot be decoded, whose frame is not seen.
        """
        timeline = _timeline_of(video["uri"], self.config.cuts)
        times, frames = timeline.times, len(timeline.times)
        notes |= {"crops": 0, "crops_without_face": 0, "crops_past_end": 0}
        damaged: list[str] = []
        for subject in (subject["track"] for subject in video["subjects"]):
            batches = self._batches(video["crops"].get(subject, ""), frames, times, notes, damaged)
            for table in fill_frames(batches, 1, frames, times, timeline.shots):
                yield to_face_table(table, video["video"], subject)
        if timeline.error is not None:
            raise timeline.error
        if damaged:
            raise ItemError(f"{len(damaged)} crops cannot be decoded, first {damaged[0]}; their frames are not seen", last_frame=frames)

    def _batches(
        self, folder: str, frames: int, times: Float[np.ndarray, " frames"], notes: dict[str, int], damaged: list[str]
    ) -> Iterator[pa.RecordBatch]:
        tree, rows = Tree(folder), []
        for number, name in sorted(_files_of(tree).items()) if folder else ():
            heartbeat(number)
            if number > frames:
                notes["crops_past_end"] += 1
                continue
            try:
                image = decode_jpeg(tree.read(name))
            except ValueError:
                damaged.append(tree.uri(name))
                continue
            rows.append(self._row(image, number, float(times[number - 1]), notes))
            if len(rows) == _BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(rows, schema=ROW_SCHEMA)
                rows = []
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=ROW_SCHEMA)

    def _row(self, image: UInt8[np.ndarray, "height width 3"], number: int, time: float, notes: dict[str, int]) -> dict:
        """A FACE row except ``video`` and ``track``; box and landmarks are in pixels of the crop."""
        found = self.find_face(image) if self.find_face else None
        face = found or _assumed_face(image, self.config.crop_scale)
        notes["crops"] += 1
        notes["crops_without_face"] += found is None
        return {"frame": number, "time": time} | face_columns(image, face, self.config.chips)


def _assumed_face(image: UInt8[np.ndarray, "height width 3"], crop_scale: float) -> Face:
    """The face in the middle of a crop in which the detector finds none: the challenge's own detector found one."""
    height, width = image.shape[:2]
    middle, half = np.array([width, height]) / 2, max(width, height) / crop_scale / 2
    return Face(np.concatenate([middle - half, middle + half]), None, source="given")


def _files_of(tree: Tree) -> dict[int, str]:
    """Number of the frame -> file, of a subject's folder; files of other names are none of the challenge's."""
    stems = ((entry.name.partition("."), entry) for entry in tree.entries() if not entry.is_folder)
    return {int(stem): entry.path for (stem, _, suffix), entry in stems if stem.isdecimal() and suffix.lower() in ("jpg", "jpeg", "png")}


def _timeline_of(uri: str, config: CutConfig) -> _Timeline:
    """Times and shots of all frames; a change of the frame size is a cut, too.

    Raises:
        ItemError: there is no frame.
    """
    times: list[float] = []
    starts: list[bool] = []
    cuts, error = CutDetector(config), None
    size = (0, 0)
    try:
        for frame in decode(uri):
            before, size = size, (frame.width, frame.height)
            starts.append(cuts.starts_shot(frame.coarse_luma) or before != size)
            times.append(frame.time)
            heartbeat(frame.number)
    except ItemError as caught:
        if not times:
            raise
        error = caught
    return _Timeline(np.array(times), (np.cumsum(starts) - 1).astype(np.int32), error)
