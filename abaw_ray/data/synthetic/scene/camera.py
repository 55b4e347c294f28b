"""Background, lighting, blur and sensor noise, the same for videos and still images. All functions work on whole RGB images."""

from functools import cache

import cv2
import numpy as np
from jaxtyping import UInt8

_NOISE_MARGIN = 32
"""Pixels by which the noise image is larger than a frame; every frame uses a random crop of it."""


def background(rng: np.random.Generator, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Background image: a wall with uneven light, rectangles and texture.

    Args:
        rng: Generator of this image or video.
        size: Width and height in pixels.
    """
    width, height = size
    coarse = np.clip(rng.uniform(40, 200) + rng.normal(0, 24, 3) + rng.normal(0, 18, (4, 5, 1)) + rng.normal(0, 7, (4, 5, 3)), 0, 255).astype(
        np.uint8
    )
    wall = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(-0.1, 0.95, 2) * size
        w, h = rng.uniform(0.08, 0.4, 2) * size
        color = np.clip(rng.uniform(20, 220) + rng.normal(0, 25, 3), 0, 255)
        cv2.rectangle(wall, (int(x), int(y)), (int(x + w), int(y + h)), color.tolist(), -1)
    texture = cv2.resize(rng.integers(0, 256, (height // 6, width // 6), dtype=np.uint8), size, interpolation=cv2.INTER_LINEAR)
    wall = cv2.addWeighted(wall, 1.0, cv2.cvtColor(texture, cv2.COLOR_GRAY2RGB), 0.08, -10)
    return cv2.GaussianBlur(wall, (0, 0), rng.uniform(1.0, 3.0))


@cache
def _grain(height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """A constant noise image with mean 128, of which every frame takes a random crop."""
    return np.random.Generator(np.random.PCG64(7)).normal(128, 24, (height, width, 3)).clip(0, 255).astype(np.uint8)


class Camera:
    """Lighting and camera of one video or still image."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        width, height = size
        angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.75)
        axis = np.linspace(-1, 1, 16)
        # the divisor varies from a sharp shadow edge to a soft gradient
        across = np.tanh((axis * np.cos(angle) + axis[:, None] * np.sin(angle)) / rng.uniform(0.15, 1.0))
        color_cast = 1 + rng.normal(0, 0.05, 3)
        level = rng.uniform(0.7, 1.15)
        light = np.clip(128 * level * (1 + strength * across[..., None]) * color_cast, 0, 255).astype(np.uint8)
        self._light = cv2.resize(light, size, interpolation=cv2.INTER_LINEAR)
        self._grain = _grain(height + _NOISE_MARGIN, width + _NOISE_MARGIN)
        self._noise_level = rng.uniform(0.06, 0.34)
        self._blur = rng.uniform(0.45, 0.95)
        self._size = size

    def record(self, image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator, brightness: float, blur: float) -> UInt8[np.ndarray, "h w 3"]:
        """The image with lighting, blur and noise applied.

        Args:
            image: The rendered image; modified in place.
            rng: Generator of this frame.
            brightness: Factor on all light, 1 for unchanged.
            blur: Additional Gaussian sigma in pixels, from motion or defocus.
        """
        width, height = self._size
        cv2.multiply(image, self._light, image, scale=brightness / 128)
        image = cv2.GaussianBlur(image, (0, 0), self._blur + blur)
        x, y = rng.integers(0, _NOISE_MARGIN, 2)
        grain = self._grain[y : y + height, x : x + width]
        return cv2.addWeighted(image, 1.0, grain, self._noise_level, -128 * self._noise_level)
