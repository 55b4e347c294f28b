"""From still images of any data set to ``IMAGE`` rows: one square JPEG each, in which the face has a known size.

A face with a box is cut with the margin that training may need; an aligned picture without a box is kept whole, and no more: beyond it there
is nothing to show. Where the square runs out of the picture it is black. Which images there are is said by ``data/``, what training does with
them by ``augment.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa
from jaxtyping import UInt8

from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import ENCODER_CLASSES
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.stills import StillImage
from abaw_ray.media.square_crop import crop_square

REVISION = 2
"""Raised when the same images and settings give other rows."""


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """How a still image is stored. All numbers ours."""

    classes: tuple[str, ...] = ENCODER_CLASSES
    """Names of the encoder's classes; a row's label is an index into them. Images of other expressions are left out."""
    scale: float = 2.0
    """Side of the stored square over the larger side of the face's box: the largest training scale and room to move and turn."""
    whole_scale: float = 1.25
    """What an aligned picture without a box is taken for: the side of the picture over that of the box a detector would give."""
    max_side: int = 448
    """Largest side in pixels of the stored square; the encoder's input times ``scale`` over the smallest training scale loses nothing."""
    quality: int = 92
    """JPEG quality."""

    def __post_init__(self) -> None:
        """Refuse what could not be stored."""
        if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise ConfigError(f"ingest.classes={self.classes} must be two or more different names")
        if self.scale < 1 or self.whole_scale <= 0 or self.max_side < 16:
            raise ConfigError(
                f"ingest.scale={self.scale} must be at least 1, whole_scale={self.whole_scale} above 0, max_side={self.max_side} at least 16 px"
            )
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"ingest.quality={self.quality} must lie between 1 and 100")


class Ingested(NamedTuple):
    """What became of a shard's images: each is a row, a failure, or of an expression that is not among the classes."""

    table: pa.Table
    """``IMAGE`` rows in the order of the images."""
    failures: list[dict]
    """``FAILURE`` rows."""
    left_out: int
    """Images of other expressions."""


class IngestImages:
    """Lists of still images in, ``IMAGE`` tables out."""

    def __init__(self, config: IngestConfig, storage: StorageConfig | None = None) -> None:
        """Read images with the settings of ``storage`` (attempts, endpoint), wherever their paths point."""
        self.config, self.access = config, storage or StorageConfig()
        self.labels = {name: number for number, name in enumerate(config.classes)}
        self._folder = lru_cache(maxsize=64)(self._open_folder)

    def __call__(self, shard: Sequence[StillImage]) -> Ingested:
        """Store a shard's images.

        Raises:
            StorageError: the place of the images cannot be reached; that is no fault of any image.
        """
        rows, failures, left_out = [], [], 0
        for still in shard:
            if still.expression not in self.labels:
                left_out += 1
                continue
            try:
                jpeg, scale = self.store(self._read(still.path), still.box)
            except (FileNotFoundError, ValueError) as error:
                reason = f"{still.path}: {error}" if isinstance(error, ValueError) else f"{still.path}: no such file"
                failures.append({"item": still.name, "stage": "images", "reason": " ".join(reason.split()), "last_frame": None})
                continue
            rows.append((still.name, jpeg, self.labels[still.expression], still.source, still.split, scale))
        columns = list(zip(*rows, strict=True)) or [()] * len(schema.IMAGE.names)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema.IMAGE, strict=True)]
        return Ingested(pa.Table.from_arrays(arrays, schema=schema.IMAGE), failures, left_out)

    def store(self, data: bytes, box: tuple[float, float, float, float] | None) -> tuple[bytes, float]:
        """One picture file as the JPEG of its square, and the square's side over that of the face's box.

        Args:
            data: The file's content.
            box: x0, y0, x1, y1 of the face in pixels; None for a picture that was aligned and cut before.

        Raises:
            ValueError: it cannot be decoded, or the box does not touch the picture.
        """
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if picture is None:
            raise ValueError("cannot be decoded as a picture")
        height, width = picture.shape[:2]
        whole = box is None
        square = cut_square(picture, (0, 0, width, height) if whole else box, 1 if whole else self.config.scale, self.config.max_side)
        done, jpeg = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, self.config.quality])
        if not done:
            raise ValueError("cannot be encoded as JPEG")
        return jpeg.tobytes(), self.config.whole_scale if whole else self.config.scale

    def _read(self, path: str) -> bytes:
        folder, slash, name = path.rpartition("/")
        return self._folder(folder or slash or ".").read_bytes(name)

    def _open_folder(self, folder: str) -> Storage:
        return Storage(replace(self.access, uri=folder))


def cut_square(
    picture: UInt8[np.ndarray, "h w 3"], box: tuple[float, float, float, float], scale: float, max_side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """Cut the square of ``scale`` times the box's larger side around its centre, black outside of the picture, at most ``max_side`` wide.

    Raises:
        ValueError: the box is empty or lies outside of the picture.
    """
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0 or x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise ValueError(f"box {tuple(round(float(value), 1) for value in box)} is empty or outside of the {width} x {height} picture")
    return crop_square(picture, np.array(box, dtype=np.float64), scale, max_side).image
