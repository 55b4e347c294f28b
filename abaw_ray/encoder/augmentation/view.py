"""A stored image -> the encoder's input: in training a random crop, degraded, as if the picture ended near the face; else the center crop.

A stored image is a square whose side is a known multiple of the longer side of the detector's box (``ingest.py``), as that of a chip, so that scales
mean the same for both.
"""

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from abaw_ray.encoder.augmentation.config import AugmentConfig
from abaw_ray.encoder.augmentation.degrade import degrade
from abaw_ray.encoder.augmentation.padaug import apply_border, sample_border

_MAX_BILINEAR_SHRINK = 1.3
"""Crops larger than this factor times the input size are first reduced by area averaging, because bilinear sampling alone would alias."""


def random_crop(
    image: UInt8[np.ndarray, "d d 3"],
    rng: np.random.Generator,
    *,
    size: int,
    stored_scale: float,
    config: AugmentConfig,
    face: Float[np.ndarray, "2"] | None = None,
) -> UInt8[np.ndarray, "size size 3"]:
    """An augmented training view of a stored image.

    Args:
        image: RGB, square.
        rng: Seeded by (seed, step, image): the same values give the same pixels on every machine.
        size: Side of the result in pixels.
        stored_scale: Side of the stored image over the side of the face box.
        config: Ranges of the augmentation.
        face: Center of the face box in pixels of the image, x and y; None for the center of the image.
    """
    draws = 2 * rng.random(7) - 1
    low, high = (math.log(_clamp_scale(scale, config.scales[0], stored_scale)) for scale in config.scales)
    scale = math.exp(low + (high - low) * (draws[0] + 1) / 2)
    side = image.shape[0] * scale / stored_scale
    shift = config.max_shift * draws[1:3]
    to_image = _rotation(math.radians(config.max_rotation_deg * draws[3]), flip=bool((draws[4] + 1) / 2 < config.hflip_prob))
    to_source = _to_source(image, side, size, face=face, shift=shift, to_image=to_image)
    view = _warp(image, side, size, to_source)
    view = cv2.LUT(view, _tone_curve(gain=1 + config.brightness * draws[5], gamma=math.exp(config.gamma * draws[6])))
    border = sample_border(rng, config.padaug, config.scales[1])
    view = degrade(view, rng, config.degrade)
    if config.padding_mode == "black":
        view[_beyond(to_source, size, image.shape[0])] = 0
    return apply_border(view, border, scale, np.linalg.solve(to_image, -shift) * size)


def center_crop(
    image: UInt8[np.ndarray, "d d 3"], *, size: int, stored_scale: float, scale: float, face: Float[np.ndarray, "2"] | None = None
) -> UInt8[np.ndarray, "size size 3"]:
    """The validation view: a crop around the face at one scale, or the whole stored image where that is smaller."""
    side = image.shape[0] * min(scale, stored_scale) / stored_scale
    return _warp(image, side, size, _to_source(image, side, size, face=face, shift=np.zeros(2), to_image=np.eye(2)))


def _clamp_scale(scale: float, min_scale: float, stored_scale: float) -> float:
    """The scale limited to that of the stored image, but at least ``min_scale``: chips have no black border on all four sides."""
    return max(min_scale, min(scale, stored_scale))


def _rotation(angle: float, *, flip: bool) -> Float[np.ndarray, "2 2"]:
    """Directions of the view's axes in the image."""
    cos, sin, sign = math.cos(angle), math.sin(angle), -1.0 if flip else 1.0
    return np.array([[sign * cos, -sin], [sign * sin, cos]])


def _to_source(
    image: np.ndarray, side: float, size: int, *, face: np.ndarray | None, shift: np.ndarray, to_image: Float[np.ndarray, "2 2"]
) -> Float[np.ndarray, "2 3"]:
    """Pixels of the view -> pixels of the image: a square of ``side`` pixels, turned about its center and resized to ``size``."""
    middle = np.full(2, image.shape[0] / 2) if face is None else face
    matrix = side / size * to_image
    return np.column_stack([matrix, middle - 0.5 + side * shift - matrix @ np.full(2, (size - 1) / 2)])


def _warp(image: np.ndarray, side: float, size: int, to_source: Float[np.ndarray, "2 3"]) -> np.ndarray:
    """The view. Beyond the image it shows the image's reflection, so black only where the image is, because its picture ends there."""
    if side > _MAX_BILINEAR_SHRINK * size:
        reduced = max(size, round(image.shape[0] * size / side))
        ratio = reduced / image.shape[0]
        image, to_source = cv2.resize(image, (reduced, reduced), interpolation=cv2.INTER_AREA), to_source * ratio
        to_source[:, 2] += (ratio - 1) / 2  # pixel centers lie at half pixels
    return cv2.warpAffine(image, to_source, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101)


def _beyond(to_source: Float[np.ndarray, "2 3"], size: int, side: int) -> Bool[np.ndarray, "size size"]:
    """Which pixels of the view lie beyond an image of this side."""
    rows, columns = np.mgrid[:size, :size]
    places = np.einsum("ij,jyx->iyx", to_source, np.stack([columns, rows, np.ones_like(rows)]))
    return ((places < -0.5) | (places > side - 0.5)).any(axis=0)


def _tone_curve(*, gain: float, gamma: float) -> np.ndarray:
    """Lookup table from pixel value to pixel value; 0 stays 0."""
    values = np.arange(256) / 255
    return np.clip(np.rint(255 * gain * values**gamma), 0, 255).astype(np.uint8)
