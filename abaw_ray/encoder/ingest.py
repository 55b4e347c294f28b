"""Still images of any data set -> ``IMAGE`` rows: one square JPEG per image, in which the size of the face is known.

The detector of the videos finds the face, so that a scale has one meaning for training images and for chips. ``data/`` lists the images;
``augmentation/view.py`` defines the views of training.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa
from jaxtyping import Float, UInt8

from abaw_ray.core import schema
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.stills import StillImage
from abaw_ray.encoder.config import IngestConfig
from abaw_ray.faces.boxes import center, longer_side
from abaw_ray.faces.detection.detect import Face
from abaw_ray.media.square_crop import SquareCrop, clip_square, crop_square, square_around

NO_DETECTOR = "faces.detector.kind=given has boxes of videos only"
"""Reason for an image in which no detector searched for a face."""
FindFace = Callable[[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "4"] | None], Face | None]
"""``(rgb, the data set's box)`` -> the labelled face in pixels of the image: a ``StillDetector``."""
_MAX_REFLECTED = 0.1
"""Widest strip of a tight crop's square that is filled with the picture's reflection, over the side of the square. Ours."""
_MIN_SCALE = 0.5
"""Smallest scale of a stored square, for a face of which little is in the picture. Ours."""


class IngestResult(NamedTuple):
    """Result for a shard: each image is a row, a failure, or skipped because its expression is not among the classes."""

    table: pa.Table
    """``IMAGE`` rows in the order of the images; an image without a face is a row too."""
    failures: list[dict]
    """``FAILURE`` rows."""
    skipped: int
    """Number of images of other expressions."""


class StoredFace(NamedTuple):
    """A square crop of an image, as it is stored."""

    image: UInt8[np.ndarray, "side side 3"]
    """Outside of the picture black, or around a tight crop its reflection; channels in the order of the picture."""
    scale: float
    """Side of the square over the longer side of the face box."""
    inside: float
    """Fraction of the square that lies inside the picture."""
    box: list[float] | None
    """The detector's box, x0 y0 x1 y1 in pixels of the square; None where it found no face."""
    landmarks: list[float] | None
    """x and y of eyes, nose and mouth corners, likewise; None for a detector without landmarks."""
    no_face: str | None
    """Why no face was found; None where one was."""


class IngestImages:
    """Lists of still images -> ``IMAGE`` tables."""

    def __init__(self, config: IngestConfig, detect: FindFace | None, storage: StorageConfig | None = None) -> None:
        """Build with the detector of the videos.

        Args:
            config: Settings of the stored squares.
            detect: Finds the faces; None where the user's own boxes of videos take the place of a detector.
            storage: Attempts and endpoint for reading the images; its ``uri`` is not used.
        """
        self.config, self.detect, self.storage_config = config, detect, storage or StorageConfig()
        self.labels = {name: number for number, name in enumerate(config.classes)}
        self._folder = lru_cache(maxsize=64)(self._open_folder)

    def __call__(self, shard: Sequence[StillImage]) -> IngestResult:
        """Rows and failures of a shard's images.

        Raises:
            StorageError: the store cannot be reached; the whole shard fails, not a single image.
        """
        rows, failures, skipped = [], [], 0
        for still in shard:
            if still.expression not in self.labels:
                skipped += 1
                continue
            try:
                rows.append(self._row(still))
            except (FileNotFoundError, ValueError) as error:
                reason = f"{still.path}: {error}" if isinstance(error, ValueError) else f"{still.path}: no such file"
                failures.append({"item": still.name, "stage": "images", "reason": " ".join(reason.split()), "last_frame": None})
        return IngestResult(pa.Table.from_pylist(rows, schema=schema.IMAGE), failures, skipped)

    def _row(self, still: StillImage) -> dict:
        data = self._read(still.path)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if picture is None:
            raise ValueError("cannot be decoded as an image")
        stored = self.crop(picture, still.box)
        encoded, jpeg = cv2.imencode(".jpg", stored.image, [cv2.IMWRITE_JPEG_QUALITY, self.config.quality])
        if not encoded:
            raise ValueError("cannot be encoded as JPEG")
        columns = {name: value for name, value in stored._asdict().items() if name != "image"}
        named = {"image": still.name, "jpeg": jpeg.tobytes(), "label": self.labels[still.expression], "source": still.source, "split": still.split}
        return named | columns

    def crop(self, picture: UInt8[np.ndarray, "h w 3"], box: tuple[float, float, float, float] | None) -> StoredFace:
        """The square to store.

        Args:
            picture: BGR.
            box: The data set's box of the face, x0 y0 x1 y1 in pixels; None where it has none.

        Raises:
            ValueError: the box is empty or outside of the picture.
        """
        height, width = picture.shape[:2]
        given = None if box is None else checked_box(box, width, height)
        face = self.detect(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), given) if self.detect else None
        if face is not None:
            return crop_face(picture, face.box, face.landmarks, self.config)
        reason = NO_DETECTOR if self.detect is None else "no face found" if given is None else "no face found at the data set's box"
        if given is not None:  # of about the right size: boxes of data sets are drawn in different ways
            return crop_face(picture, given, None, self.config)._replace(box=None, no_face=reason)
        whole = crop_square(picture, np.array([0.0, 0.0, width, height]), 1.0, self.config.max_side)
        return StoredFace(whole.image, self.config.aligned_scale, whole.inside, None, None, reason)

    def _read(self, path: str) -> bytes:
        folder, slash, name = path.rpartition("/")
        return self._folder(folder or slash or ".").read_bytes(name)

    def _open_folder(self, folder: str) -> Storage:
        return Storage(replace(self.storage_config, uri=folder))


def crop_face(
    picture: UInt8[np.ndarray, "h w 3"], box: Float[np.ndarray, "4"], landmarks: Float[np.ndarray, "5 2"] | None, config: IngestConfig
) -> StoredFace:
    """The square around a face: ``config.scale`` times the longer side of its box, or less.

    The square ends where the picture ends on a third side: black on one side, in a corner or on two opposite sides is what videos show near the ends
    of their frames, but black all around is only what a data set has cut off. Around such a tight crop, narrow strips are its reflection and not
    black, because the picture did not end there.

    Args:
        picture: The whole picture.
        box: x0 y0 x1 y1 in pixels of the picture; may extend beyond it.
        landmarks: x and y of five points in pixels of the picture.
        config: Scale and size of the square.
    """
    height, width = picture.shape[:2]
    (x, y), longer = center(box), float(longer_side(box))
    to_ends = sorted((x, y, width - x, height - y))
    widest = 2 * float(to_ends[2]) / longer
    scale = max(min(config.scale, widest), _MIN_SCALE)
    left, top, side = square_around(box, scale)
    square = crop_square(picture, box, scale, config.max_side)
    if widest < config.scale and square.inside < 1:
        square = _reflected(picture, square, left, top, side)
    corner = np.array([left, top], dtype=np.float64)
    stored_box = ((box.reshape(2, 2) - corner) * square.scale).ravel().tolist()
    points = None if landmarks is None else ((landmarks - corner) * square.scale).ravel().tolist()
    return StoredFace(square.image, side / longer, square.inside, stored_box, points, None)


def _reflected(picture: np.ndarray, square: SquareCrop, left: int, top: int, side: int) -> SquareCrop:
    """The square with the picture's reflection in place of black, if no strip is wide: a wide one would show parts of the face twice."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = clip_square(left, top, side, width, height)
    strips = (y0 - top, top + side - y1, x0 - left, left + side - x1)
    if max(strips) > _MAX_REFLECTED * side:
        return square
    filled = cv2.copyMakeBorder(picture[y0:y1, x0:x1], *strips, borderType=cv2.BORDER_REFLECT_101)
    small = len(square.image)
    return replace(square, image=filled if small == side else cv2.resize(filled, (small, small), interpolation=cv2.INTER_AREA))


def checked_box(box: tuple[float, float, float, float], width: int, height: int) -> Float[np.ndarray, "4"]:
    """The data set's box as an array.

    Raises:
        ValueError: it is empty or lies outside of the picture.
    """
    x0, y0, x1, y1 = box
    if not (x1 > x0 and y1 > y0 and x1 > 0 and y1 > 0 and x0 < width and y0 < height):
        raise ValueError(f"box {tuple(round(float(value), 1) for value in box)} is empty or outside the {width} x {height} image")
    return np.array(box, dtype=np.float64)
