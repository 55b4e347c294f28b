"""PadAug: black strips at the borders of a training image, as in large crops of faces near the edge of a frame.

Input and output: uint8 pixels of the encoder's input size. The other augmentations are in ``augment.py``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from abaw_ray.encoder.config import PadAugConfig

_PLACES = (("left",), ("right",), ("top",), ("bottom",), ("left", "top"), ("right", "top"), ("left", "bottom"), ("right", "bottom"))
"""The four sides and the four corners; a corner is two adjacent strips."""


@dataclass(frozen=True, kw_only=True)
class Padding:
    """Widths of the strips and shift of one image, in pixels."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0
    dx: int = 0
    """Shift of the image to the right."""
    dy: int = 0
    """Shift of the image downwards."""


def sample_padding(rng: np.random.Generator, size: int, config: PadAugConfig) -> Padding:
    """A random padding: none with probability ``1 - probability``, else one of the eight places with equal probability.

    Args:
        rng: Six values are drawn in any case.
        size: Side of the image in pixels.
        config: Probability and ranges.
    """
    chance, place, *rest = rng.random(6)
    if chance >= config.probability:
        return Padding()
    sides = _PLACES[int(place * len(_PLACES))]
    max_width, max_shift = int(config.max_fraction * size), config.max_shift * size
    widths = {side: min(max_width, 1 + int(value * max_width)) for side, value in zip(sides, rest[:2], strict=False)}
    dx, dy = (round((2 * value - 1) * max_shift) for value in rest[2:4])
    return Padding(**widths, dx=dx, dy=dy)


def apply_padding(image: UInt8[np.ndarray, "s s 3"], padding: Padding) -> UInt8[np.ndarray, "s s 3"]:
    """The shifted image with black strips; the input is not modified."""
    if padding == Padding():
        return image
    size = image.shape[0]
    left, right = max(padding.left, padding.dx, 0), max(padding.right, -padding.dx, 0)
    top, bottom = max(padding.top, padding.dy, 0), max(padding.bottom, -padding.dy, 0)
    out = np.zeros_like(image)
    rows, columns = slice(top, size - bottom), slice(left, size - right)
    out[rows, columns] = image[top - padding.dy : size - bottom - padding.dy, left - padding.dx : size - right - padding.dx]
    return out
