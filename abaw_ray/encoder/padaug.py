"""PadAug: black strips at the borders of a training image, as a large crop has them when the face is near the edge of the picture.

Takes and returns uint8 pixels of the encoder's input size; the usual augmentation stands in ``augment.py``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from abaw_ray.core.errors import ConfigError

_PLACES = (("left",), ("right",), ("top",), ("bottom",), ("left", "top"), ("right", "top"), ("left", "bottom"), ("right", "bottom"))
"""The four sides and the four corners; a corner is two strips that meet."""


@dataclass(frozen=True, kw_only=True)
class PadAugConfig:
    """PadAug. Its places (left, right, top, bottom, corners) and "small spatial perturbations" are the paper's, all numbers are ours."""

    probability: float = 0.5
    """Share of the training images that get strips."""
    max_share: float = 0.3
    """Width of the widest strip, as a share of the image's side."""
    shift: float = 0.04
    """Largest movement of the whole image before the strips are laid, as a share of its side; what it uncovers is black."""

    def __post_init__(self) -> None:
        """Refuse shares that leave no face."""
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"padaug.probability={self.probability} must lie between 0 and 1")
        if not 0 <= self.max_share <= 0.45 or not 0 <= self.shift <= 0.25:
            raise ConfigError(f"padaug.max_share={self.max_share} must be at most 0.45 and padaug.shift={self.shift} at most 0.25, both at least 0")


@dataclass(frozen=True, kw_only=True)
class Padding:
    """What happens to one image, in pixels."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0
    dx: int = 0
    """Movement of the image to the right."""
    dy: int = 0
    """Movement of the image downwards."""


def draw_padding(rng: np.random.Generator, size: int, config: PadAugConfig) -> Padding:
    """Draw where the strips lie: with ``1 - probability`` nowhere, else one of the eight places, each equally often.

    Args:
        rng: The same number of values is drawn whatever comes out.
        size: Side of the image in pixels.
        config: Chances and bounds.
    """
    chance, place, *rest = rng.random(6)
    if chance >= config.probability:
        return Padding()
    sides = _PLACES[int(place * len(_PLACES))]
    widest, reach = int(config.max_share * size), config.shift * size
    widths = {side: min(widest, 1 + int(part * widest)) for side, part in zip(sides, rest[:2], strict=False)}
    dx, dy = (round((2 * part - 1) * reach) for part in rest[2:4])
    return Padding(**widths, dx=dx, dy=dy)


def apply_padding(image: UInt8[np.ndarray, "s s 3"], padding: Padding) -> UInt8[np.ndarray, "s s 3"]:
    """Move the image and lay the strips; the input is left as it is."""
    if padding == Padding():
        return image
    size = image.shape[0]
    left, right = max(padding.left, padding.dx, 0), max(padding.right, -padding.dx, 0)
    top, bottom = max(padding.top, padding.dy, 0), max(padding.bottom, -padding.dy, 0)
    out = np.zeros_like(image)
    rows, columns = slice(top, size - bottom), slice(left, size - right)
    out[rows, columns] = image[top - padding.dy : size - bottom - padding.dy, left - padding.dx : size - right - padding.dx]
    return out
