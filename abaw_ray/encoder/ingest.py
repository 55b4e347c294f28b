"""Still images of any data set -> ``IMAGE`` rows: one square JPEG per image, in which the face has a known size.

A face with a box is cropped with the margin that training needs. An aligned image without a box is stored whole. The square is black outside
of the image. ``data/`` lists the images; ``augment.py`` defines the augmentation in training.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa
from jaxtyping import UInt8

from abaw_ray.core import schema
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.stills import StillImage
from abaw_ray.encoder.config import IngestConfig
from abaw_ray.media.square_crop import crop_square


class IngestResult(NamedTuple):
    """Result for a shard: each image is a row, a failure, or skipped because its expression is not among the classes."""

    table: pa.Table
    """``IMAGE`` rows in the order of the images."""
    failures: list[dict]
    """``FAILURE`` rows."""
    skipped: int
    """Number of images of other expressions."""


class IngestImages:
    """Lists of still images -> ``IMAGE`` tables."""

    def __init__(self, config: IngestConfig, storage: StorageConfig | None = None) -> None:
        """``storage``: attempts and endpoint for reading the images; its ``uri`` is not used."""
        self.config, self.storage_config = config, storage or StorageConfig()
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
                jpeg, scale = self.store(self._read(still.path), still.box)
            except (FileNotFoundError, ValueError) as error:
                reason = f"{still.path}: {error}" if isinstance(error, ValueError) else f"{still.path}: no such file"
                failures.append({"item": still.name, "stage": "images", "reason": " ".join(reason.split()), "last_frame": None})
                continue
            rows.append((still.name, jpeg, self.labels[still.expression], still.source, still.split, scale))
        columns = list(zip(*rows, strict=True)) or [()] * len(schema.IMAGE.names)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema.IMAGE, strict=True)]
        return IngestResult(pa.Table.from_arrays(arrays, schema=schema.IMAGE), failures, skipped)

    def store(self, data: bytes, box: tuple[float, float, float, float] | None) -> tuple[bytes, float]:
        """The square crop of an image file as JPEG, and its scale: side of the square over the longer side of the face box.

        Args:
            data: The file's content.
            box: x0, y0, x1, y1 of the face in pixels; None for an image that is already aligned and cropped.

        Raises:
            ValueError: the file cannot be decoded, or the box is empty or outside the image.
        """
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if image is None:
            raise ValueError("cannot be decoded as an image")
        height, width = image.shape[:2]
        is_aligned = box is None
        square = crop_face(image, (0, 0, width, height) if is_aligned else box, 1 if is_aligned else self.config.scale, self.config.max_side)
        encoded, jpeg = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, self.config.quality])
        if not encoded:
            raise ValueError("cannot be encoded as JPEG")
        return jpeg.tobytes(), self.config.aligned_scale if is_aligned else self.config.scale

    def _read(self, path: str) -> bytes:
        folder, slash, name = path.rpartition("/")
        return self._folder(folder or slash or ".").read_bytes(name)

    def _open_folder(self, folder: str) -> Storage:
        return Storage(replace(self.storage_config, uri=folder))


def crop_face(
    image: UInt8[np.ndarray, "h w 3"], box: tuple[float, float, float, float], scale: float, max_side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """The square around a box, with ``scale`` times its longer side: black outside the image, at most ``max_side`` pixels wide.

    Raises:
        ValueError: the box is empty or lies outside the image.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0 or x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise ValueError(f"box {tuple(round(float(value), 1) for value in box)} is empty or outside the {width} x {height} image")
    return crop_square(image, np.array(box, dtype=np.float64), scale, max_side).image
