"""A box in an image -> the square crop around it, black outside the image. The chips of videos and the stored still images share this geometry.

The square lies on whole pixels and is cropped at native resolution: never enlarged, and shrunk by area averaging only where it is larger than
a given side.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.media.frame import Frame

Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, eq=False)
class SquareCrop:
    """A square crop and its relation to the image."""

    image: UInt8[np.ndarray, "side side 3"]
    """Black outside the source image; channels in the order of the source."""
    scale: float
    """Pixels of the crop per pixel of the source image, at most 1."""
    inside: float
    """Fraction of the square's area that lies inside the source image, 0 to 1."""


def square_around(box: Float[np.ndarray, "4"], scale: float) -> tuple[int, int, int]:
    """Return the whole-pixel square around a box: left, top and side in pixels.

    The side is ``scale`` x the longer side of the box, at least 1.

    Args:
        box: x0 y0 x1 y1 in pixels; may extend beyond the image.
        scale: Side of the square in units of the longer side of the box.

    Raises:
        ValueError: the box is not finite or has no extent.
    """
    if not np.isfinite(box).all() or max(box[2] - box[0], box[3] - box[1]) <= 0:
        raise ValueError(f"box {box} has no extent")
    side = max(round(float(max(box[2] - box[0], box[3] - box[1])) * scale), 1)
    return round(float(box[0] + box[2] - side) / 2), round(float(box[1] + box[3] - side) / 2), side


def clip_square(left: int, top: int, side: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of a square that lies in an image of this size, as x0 y0 x1 y1; x1 <= x0 or y1 <= y0 where it lies outside."""
    return max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)


def crop_square(image: Image | Frame, box: Float[np.ndarray, "4"], scale: float, max_side: int) -> SquareCrop:
    """Crop the square of ``scale`` x the longer side of a box around the center of the box.

    Args:
        image: The whole image, an array or a decoded frame; of a frame, only the crop is converted to RGB.
        box: x0 y0 x1 y1 in pixels of the image; may extend beyond it.
        scale: Side of the square in units of the longer side of the box.
        max_side: Pixels; a larger square is shrunk to this side.

    Raises:
        ValueError: the box is not finite or has no extent.
    """
    left, top, side = square_around(box, scale)
    height, width = (image.height, image.width) if isinstance(image, Frame) else image.shape[:2]
    x0, y0, x1, y1 = clip_square(left, top, side, width, height)
    small = min(side, max_side)
    if x1 <= x0 or y1 <= y0:
        return SquareCrop(np.zeros((small, small, 3), np.uint8), small / side, 0.0)
    if (x1 - x0, y1 - y0) == (side, side):
        return SquareCrop(_region(image, left, top, side, side, small), small / side, 1.0)
    padded = np.zeros((side, side, 3), np.uint8)
    padded[y0 - top : y1 - top, x0 - left : x1 - left] = _region(image, x0, y0, x1 - x0, y1 - y0)
    if small < side:
        padded = cv2.resize(padded, (small, small), interpolation=cv2.INTER_AREA)
    return SquareCrop(padded, small / side, (x1 - x0) * (y1 - y0) / side**2)


def _region(image: Image | Frame, left: int, top: int, width: int, height: int, side: int | None = None) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return a rectangle inside the image, shrunk to a square of ``side`` where that is given."""
    if isinstance(image, Frame):
        return image.crop(left, top, width, height, None if side is None else (side, side))
    region = image[top : top + height, left : left + width]
    return region.copy() if side in (None, width) else cv2.resize(region, (side, side), interpolation=cv2.INTER_AREA)
