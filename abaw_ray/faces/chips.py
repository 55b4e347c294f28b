"""A frame and a face box -> the chip: one square JPEG that contains every scale; and a chip -> the crop of one scale.

The chip is the square of side ``longer side of the box x largest scale`` around the center of the box, black outside the frame, at native
resolution: never enlarged, and shrunk only where even its smallest scale would be larger than the encoder's input. Smaller scales are center
crops of it. Padding and scales follow Stage II of the paper (three scales, black outside the frame); the values are ours.
"""

import math

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.faces.config import ChipConfig
from abaw_ray.media.frame import Frame
from abaw_ray.media.square_crop import Image, SquareCrop, crop_square


def crop_chip(image: Image | Frame, box: Float[np.ndarray, "4"], config: ChipConfig) -> SquareCrop:
    """Crop the chip of one face from an upright frame.

    Args:
        image: The whole frame, as a decoded frame or an RGB array; of a decoded frame, only the chip is converted.
        box: x0 y0 x1 y1 in pixels of the frame; may extend beyond it.
        config: Scales and size.

    Raises:
        ValueError: the box is not finite or has no extent.
    """
    return crop_square(image, box, config.scales[-1], config.max_side)


def crop_scale(chip: UInt8[np.ndarray, "side side 3"], scale: float, config: ChipConfig, size: int | None = None) -> UInt8[np.ndarray, "size size 3"]:
    """Crop one scale from a chip: the center of the chip, resized to the encoder's input with subpixel accuracy.

    Args:
        chip: RGB, from ``crop_chip`` or ``decode_jpeg``.
        scale: In units of the face box, as in ``config.scales``, at most the largest of them.
        config: The settings with which the chip was cropped.
        size: Side of the result in pixels; ``config.size`` by default.

    Raises:
        ValueError: the chip does not contain this scale.
    """
    if not 0 < scale <= config.scales[-1]:
        raise ValueError(f"scale {scale} is not in the chip, which holds 0 to {config.scales[-1]}")
    size = size or config.size
    side = len(chip) * scale / config.scales[-1]
    oversampling = math.ceil(side / size)  # at least one sample per chip pixel, then averaged: exact position, no pixel skipped
    step = side / (size * oversampling)
    first = (len(chip) - side) / 2 + step / 2 - 0.5
    grid = np.array([[step, 0, first], [0, step, first]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    dense = cv2.warpAffine(chip, grid, (size * oversampling, size * oversampling), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return dense if oversampling == 1 else cv2.resize(dense, (size, size), interpolation=cv2.INTER_AREA)


def encode_jpeg(rgb: Image, quality: int) -> bytes:
    """Encode an RGB image; OpenCV expects BGR, so the channels are swapped first."""
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError(f"an image of shape {rgb.shape} cannot be encoded as JPEG")
    return data.tobytes()


def decode_jpeg(data: bytes) -> Image:
    """Decode a JPEG to RGB.

    Raises:
        ValueError: the bytes are not an image.
    """
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise ValueError(f"these {len(data)} bytes are not an image")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
