"""A picture and a box -> the chip: ONE square crop that holds every scale, as JPEG; and any scale cut from it again.

The chip is the square of side ``longer side of the box x largest scale`` around the box's centre, black where it leaves the picture, at
native resolution: never enlarged, and shrunk only where even its smallest scale would be larger than the encoder's input. Smaller scales are
centre crops of it. Padding and scales as in the paper's Stage II (three scales, black where the crop leaves the picture); the numbers are ours.
"""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.boxes import within
from abaw_ray.media.frame import Frame

Picture = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, kw_only=True)
class ChipConfig:
    """How much around a face is kept, and how finely."""

    scales: tuple[float, ...] = (1.0, 1.3, 1.7)
    """Sides of the squares in units of the face box's longer side, ascending. The paper has three and does not publish them: ours."""
    size: int = 224
    """Pixels: side of the encoder's input. The chip is never larger than ``size`` x largest / smallest scale."""
    quality: int = 90
    """JPEG quality, 1 to 100. Ours, not from the paper."""
    keep: Literal["jpeg", "none"] = "jpeg"
    """``none`` keeps the boxes alone, for tables of boxes and for cutting later; features need the chips."""

    def __post_init__(self) -> None:
        """Refuse squares that could not be cut."""
        if not self.scales or self.scales[0] <= 0 or any(b <= a for a, b in zip(self.scales, self.scales[1:], strict=False)):
            raise ConfigError(f"chips.scales={self.scales} must be above 0 and ascend")
        if self.size < 8 or not 1 <= self.quality <= 100:
            raise ConfigError(f"chips.size={self.size} must be at least 8 pixels, chips.quality={self.quality} between 1 and 100")

    @property
    def bound(self) -> int:
        """Pixels: the largest side of a chip, even: pictures of odd sides cost several times as much to make."""
        return max(2 * int(self.size * self.scales[-1] / self.scales[0] / 2), 2)


@dataclass(frozen=True, eq=False)
class Chip:
    """A square crop and where it came from."""

    image: UInt8[np.ndarray, "side side 3"]
    """RGB, black outside the picture."""
    scale: float
    """Pixels of the chip for one pixel of the picture, at most 1."""
    inside: float
    """Share of the square that lies inside the picture, 0 to 1."""


def square(box: Float[np.ndarray, "4"], scale: float) -> tuple[int, int, int]:
    """The whole-pixel square around a box: its left, its top, and its side, ``scale`` x the longer side of the box.

    Raises:
        ValueError: the box is not finite or has no extent.
    """
    if not np.isfinite(box).all() or max(box[2] - box[0], box[3] - box[1]) <= 0:
        raise ValueError(f"box {box} has no extent")
    side = max(round(float(max(box[2] - box[0], box[3] - box[1])) * scale), 1)
    return round(float(box[0] + box[2] - side) / 2), round(float(box[1] + box[3] - side) / 2), side


def cut_chip(picture: Picture | Frame, box: Float[np.ndarray, "4"], config: ChipConfig) -> Chip:
    """Cut the chip of one face from an upright picture.

    Args:
        picture: The whole picture, decoded or in RGB; of a decoded one only the chip is converted.
        box: x0 y0 x1 y1 in its pixels; may leave it.
        config: Scales and size.

    Raises:
        ValueError: the box is not finite or has no extent.
    """
    left, top, side = square(box, config.scales[-1])
    height, width = (picture.height, picture.width) if isinstance(picture, Frame) else picture.shape[:2]
    x0, y0, x1, y1 = within(left, top, side, width, height)
    small = min(side, config.bound)
    if x1 <= x0 or y1 <= y0:
        return Chip(np.zeros((small, small, 3), np.uint8), small / side, 0.0)
    if (x1 - x0, y1 - y0) == (side, side):
        return Chip(_region(picture, left, top, side, side, small), small / side, 1.0)
    image = np.zeros((side, side, 3), np.uint8)
    image[y0 - top : y1 - top, x0 - left : x1 - left] = _region(picture, x0, y0, x1 - x0, y1 - y0)
    if small < side:
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return Chip(image, small / side, (x1 - x0) * (y1 - y0) / side**2)


def cut_scale(chip: UInt8[np.ndarray, "side side 3"], scale: float, config: ChipConfig, size: int | None = None) -> UInt8[np.ndarray, "size size 3"]:
    """Cut one scale from a chip: its centre, resized to the encoder's input; exact to a fraction of a pixel.

    Args:
        chip: As ``cut_chip`` or ``from_jpeg`` gave it; RGB.
        scale: In units of the face box, as in ``config.scales``, at most the largest of them.
        config: The settings with which the chip was cut.
        size: Pixels of the result's side; ``config.size`` by default.

    Raises:
        ValueError: the chip does not hold this scale.
    """
    if not 0 < scale <= config.scales[-1]:
        raise ValueError(f"scale {scale} is not in the chip, which holds 0 to {config.scales[-1]}")
    size = size or config.size
    side = len(chip) * scale / config.scales[-1]
    finer = math.ceil(side / size)  # sampled at least once a pixel of the chip, then averaged: exact in place, and nothing is skipped
    step = side / (size * finer)
    first = (len(chip) - side) / 2 + step / 2 - 0.5
    grid = np.array([[step, 0, first], [0, step, first]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    dense = cv2.warpAffine(chip, grid, (size * finer, size * finer), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return dense if finer == 1 else cv2.resize(dense, (size, size), interpolation=cv2.INTER_AREA)


def to_jpeg(rgb: Picture, quality: int) -> bytes:
    """Encode an RGB picture; OpenCV's own order is BGR, so it is turned round first."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"no JPEG can be made of a picture of {rgb.shape}")
    return data.tobytes()


def from_jpeg(data: bytes) -> Picture:
    """Decode to RGB.

    Raises:
        ValueError: it is no picture.
    """
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise ValueError(f"these {len(data)} bytes are no picture")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _region(picture: Picture | Frame, left: int, top: int, width: int, height: int, side: int | None = None) -> UInt8[np.ndarray, "rows columns 3"]:
    """A rectangle that lies inside the picture; shrunk to a square where ``side`` is given."""
    if isinstance(picture, Frame):
        return picture.crop(left, top, width, height, None if side is None else (side, side))
    image = picture[top : top + height, left : left + width]
    return image.copy() if side in (None, width) else cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
