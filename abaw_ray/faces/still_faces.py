"""A still image -> FACE rows, one per face, with chips as those of videos: an image is a video of one frame.

``media/still.py`` reads the image. A video's rules for tracking do not apply: every face with a score of at least ``min_score`` is a person.
"""

import math

import pyarrow as pa

from abaw_ray.core import schema
from abaw_ray.core.schema import MAIN_TRACK
from abaw_ray.faces.boxes import area
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.face_row import face_row
from abaw_ray.faces.face_table import to_face_table
from abaw_ray.faces.tracking.row_buffer import ROW_SCHEMA
from abaw_ray.faces.tracking.time_range import RangeFrames
from abaw_ray.media.still import read_still


def crop_still(crop: CropFaces, image: dict) -> pa.Table:
    """Detect and crop the faces of one image.

    Args:
        crop: Its settings and its detector, or the user's own boxes, are used.
        image: A ``VIDEO`` row of an image: ``video`` and ``uri`` are used.

    Returns:
        FACE rows of frame 1 at 0 s: ``main`` is the largest face, ``person-2`` the next largest, and so on; people whom the user's own boxes name
        keep their names. Without any face, one row of ``main`` with ``seen = false``.

    Raises:
        MissingError: there is no such file.
        StorageError: the store cannot be reached.
        ItemError: the file is not an image, or is damaged.
    """
    frame, detector = read_still(image["uri"]), crop.frame_detector_of(image)
    crop.frame_size, crop.range_frames = (frame.width, frame.height), RangeFrames(video_start=0.0, first=0.0, last=0.0)
    min_score = -math.inf if detector.trusted else crop.config.detector.min_score
    found = [face for face in detector.search_and_follow(frame, []) if face.score is not None and face.score >= min_score]
    if not found:
        return _table({"frame": 1, "time": 0.0, "seen": False}, image["video"], MAIN_TRACK)
    faces = sorted(found, key=lambda face: -float(area(face.box)))
    if all(face.track is not None for face in faces):
        names = [str(face.track) for face in faces]
    else:
        names = [MAIN_TRACK, *(f"person-{number}" for number in range(2, len(faces) + 1))]
    rows = [_table(face_row(frame, face, crop.config.chips), image["video"], name) for face, name in zip(faces, names, strict=True)]
    return pa.concat_tables(rows)


def _table(row: dict, video: str, track: str) -> pa.Table:
    table = pa.Table.from_pylist([row], schema=ROW_SCHEMA)
    return to_face_table(table.append_column(schema.FACE.field("shot"), pa.array([0], pa.int32())), video, track)
