"""Degradation of a training view, as cameras, distance and compression do it: blur, sensor noise, low resolution, JPEG; then color and erasing.

The order is that of a camera: light is blurred by motion or focus before the sensor adds noise, and compression comes last.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from abaw_ray.encoder.augmentation.config import DegradeConfig

View = UInt8[np.ndarray, "size size 3"]


def degrade(view: View, rng: np.random.Generator, config: DegradeConfig) -> View:
    """A degraded copy of a view, RGB.

    Args:
        view: The crop at the encoder's input size.
        rng: The image's own generator.
        config: Probabilities and strengths.
    """
    blur, noise, resolution, jpeg, erasing = rng.random(5)
    if blur < config.motion_blur:
        view = _motion_blur(view, rng, config.max_motion)
    elif blur < config.motion_blur + config.defocus:
        sigma = max(rng.random() * config.max_defocus * len(view), 0.4)
        view = cv2.GaussianBlur(view, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    if noise < config.noise:
        values = view + rng.normal(0, max(rng.random() * config.max_noise, 1e-3), view.shape).astype(np.float32)
        view = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if resolution < config.low_resolution:
        view = _low_resolution(view, rng, config.min_resolution)
    if jpeg < config.jpeg:
        low, high = config.jpeg_quality
        _, data = cv2.imencode(".jpg", cv2.cvtColor(view, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(low, high + 1))])
        view = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))
    if config.saturation:
        view = _saturate(view, 1 + config.saturation * (2 * rng.random() - 1))
    return _erase(view, rng, config.erased_area) if erasing < config.erasing else view


def _motion_blur(view: View, rng: np.random.Generator, max_motion: float) -> View:
    """The mean along a straight line of random length and direction."""
    length = max(rng.random() * max_motion * len(view), 2.0)
    angle = rng.random() * np.pi
    return cv2.filter2D(view, -1, motion_kernel(length, angle), borderType=cv2.BORDER_REPLICATE)


def motion_kernel(length: float, angle: float) -> Float32[np.ndarray, "k k"]:
    """The path of a point that moves uniformly.

    Args:
        length: Pixels.
        angle: Radians, from the x axis.
    """
    half = int(np.ceil(length / 2))
    steps = np.linspace(-length / 2, length / 2, 4 * half + 1)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    columns, rows = (np.rint(half + steps * direction).astype(int) for direction in (np.cos(angle), np.sin(angle)))
    np.add.at(kernel, (rows, columns), 1.0)
    return kernel / kernel.sum()


def _low_resolution(view: View, rng: np.random.Generator, min_resolution: float) -> View:
    """Reduced by area averaging and enlarged again."""
    size = len(view)
    side = max(round(size * (min_resolution + rng.random() * (1 - min_resolution))), 2)
    enlarge = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
    return cv2.resize(cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA), (size, size), interpolation=enlarge)


def _saturate(view: View, factor: float) -> View:
    """Colors at ``factor`` times their distance from the gray of the same luma."""
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    matrix = factor * np.eye(3, dtype=np.float32) + (1 - factor) * np.tile(luma, (3, 1))
    return cv2.transform(view, matrix)


def _erase(view: View, rng: np.random.Generator, area: tuple[float, float]) -> View:
    """A rectangle of a random place, shape and color."""
    size = len(view)
    share = area[0] + rng.random() * (area[1] - area[0])
    ratio = np.exp((2 * rng.random() - 1) * np.log(3.0))
    height, width = (min(max(round(size * np.sqrt(share * value)), 1), size) for value in (ratio, 1 / ratio))
    top, left = (int(rng.integers(0, size - extent + 1)) for extent in (height, width))
    view = view.copy()
    view[top : top + height, left : left + width] = rng.integers(0, 256, 3, dtype=np.uint8)
    return view
