"""From a stored image to the encoder's input: in training a random crop, turn, mirror and light, then PadAug; else the plain centre crop.

A stored image is a square whose side is a known multiple of the face's (``ingest.py``), so scales here mean what they mean for chips.
"""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import UInt8

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.padaug import PadAugConfig, apply_padding, draw_padding

_SHRINK = 1.3
"""Crops larger than this many times the input are shrunk by averaging before they are turned, as bilinear sampling alone would alias."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes of a training image. All values ours; the paper names only PadAug."""

    scales: tuple[float, float] = (1.0, 1.7)
    """Smallest and largest side of the crop over the side of the face's box: the chips' scales, so that training meets what is used later. Of a
    picture that was cut before no more is shown than there is."""
    shift: float = 0.05
    """Largest movement of the crop's centre, as a share of its side; detectors are not exact either."""
    turn: float = 10.0
    """Largest rotation in degrees, either way."""
    mirror: float = 0.5
    """Share of images that are mirrored."""
    light: float = 0.25
    """Brightness is multiplied by a factor between 1 - light and 1 + light; black stays black."""
    gamma: float = 0.25
    """Contrast: the exponent of the pixel values lies between exp(-gamma) and exp(gamma)."""
    padaug: PadAugConfig = field(default_factory=PadAugConfig)
    """Black strips at the borders."""

    def __post_init__(self) -> None:
        """Refuse ranges that are none."""
        if not 0 < self.scales[0] <= self.scales[1]:
            raise ConfigError(f"augment.scales={self.scales} must be two ascending numbers above 0")
        if not 0 <= self.shift < 0.5 or not 0 <= self.turn <= 90 or not 0 <= self.mirror <= 1 or not 0 <= self.light < 1 or self.gamma < 0:
            raise ConfigError(
                f"augment: shift={self.shift} must be below 0.5, turn={self.turn} at most 90, mirror={self.mirror} at most 1, "
                f"light={self.light} below 1, gamma={self.gamma} and all of them at least 0"
            )


def augmented(
    image: UInt8[np.ndarray, "d d 3"], rng: np.random.Generator, *, size: int, stored_scale: float, config: AugmentConfig
) -> UInt8[np.ndarray, "size size 3"]:
    """A random training view of a stored image.

    Args:
        image: RGB, square.
        rng: Seeded by (seed, step, image): the same values give the same pixels on every machine.
        size: Side of the result in pixels.
        stored_scale: Side of the stored image over the side of the face's box.
        config: Ranges.
    """
    part = 2 * rng.random(7) - 1
    low, high = (math.log(_within(scale, config.scales[0], stored_scale)) for scale in config.scales)
    scale = math.exp(low + (high - low) * (part[0] + 1) / 2)
    side = image.shape[0] * scale / stored_scale
    view = _view(image, side, size, move=config.shift * part[1:3], turn=config.turn * part[3], mirror=bool((part[4] + 1) / 2 < config.mirror))
    view = cv2.LUT(view, _curve(gain=1 + config.light * part[5], gamma=math.exp(config.gamma * part[6])))
    return apply_padding(view, draw_padding(rng, size, config.padaug))


def centred(image: UInt8[np.ndarray, "d d 3"], *, size: int, stored_scale: float, scale: float) -> UInt8[np.ndarray, "size size 3"]:
    """The plain view at one scale, or of all that is stored where that is less: what validation sees."""
    scale = min(scale, stored_scale)
    return _view(image, image.shape[0] * scale / stored_scale, size, move=np.zeros(2), turn=0.0, mirror=False)


def _within(scale: float, lowest: float, stored_scale: float) -> float:
    """A scale at which the stored image fills the view, if there is one: a frame of black on four sides is nothing that later chips have."""
    return max(lowest, min(scale, stored_scale))


def _view(image: np.ndarray, side: float, size: int, *, move: np.ndarray, turn: float, mirror: bool) -> np.ndarray:
    """Cut a square of ``side`` pixels, turned by ``turn`` degrees about its centre, and scale it to ``size``; black outside of the image."""
    if side > _SHRINK * size:
        small = max(size, round(image.shape[0] * size / side))
        image, side = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), side * small / image.shape[0]
    step = side / size
    angle = math.radians(turn)
    cos, sin = step * math.cos(angle), step * math.sin(angle)
    flip = -1.0 if mirror else 1.0
    middle = (size - 1) / 2
    x, y = (image.shape[0] - 1) / 2 + side * move
    to_source = np.array([[flip * cos, -sin, x - flip * cos * middle + sin * middle], [flip * sin, cos, y - flip * sin * middle - cos * middle]])
    return cv2.warpAffine(
        image, to_source, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )


def _curve(*, gain: float, gamma: float) -> np.ndarray:
    """What each pixel value becomes; 0 stays 0."""
    values = np.arange(256) / 255
    return np.clip(np.rint(255 * gain * values**gamma), 0, 255).astype(np.uint8)
