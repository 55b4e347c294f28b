"""A still image, as small as a tight crop of one face -> the one labelled face in it, found by the detector of the videos.

Detectors miss faces that fill the picture, so the picture is padded with black and reduced: the face then has about the size that it has in the
search windows of videos. ``docs/decisions.md`` has the measurements.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.faces.boxes import center, iou, longer_side
from abaw_ray.faces.config import DetectorConfig
from abaw_ray.faces.detection.detect import Detector, Face

_MARGIN = 0.5
"""Width of the padding on each side over the longer side of the picture. Ours."""
_REGION = 3.0
"""Side of the searched square over the longer side of the data set's box. Ours."""
_SIDES = (160, 320, 640)
"""Pixels: sides to which the searched square is resized, the next one where nothing is found. A tight crop's face then has 50 to 100 pixels, a face
with a box about 53, and a small face in a large picture is found at a larger side. Ours."""
_MAX_ENLARGEMENT = 2.0
"""Sides at which the square would be enlarged by more than this are left out, but for the first: they take long and show nothing more. Ours."""
_MIN_PIXELS = 24
"""Smaller faces are detected again at the next side: boxes of faces of few pixels are up to a fifth too small. Ours."""
_MIN_BOX_RATIO = 0.3
"""Smallest face that is found at the data set's box, over the longer side of that box. Ours."""
_MIN_IOU = 0.2
"""Smallest intersection over union of the found face and the data set's box: boxes of data sets are drawn in different ways. Ours."""


class StillDetector:
    """Finds the labelled face of a still image; built once per worker."""

    def __init__(self, detector: Detector, config: DetectorConfig) -> None:
        self.detector, self.config = detector, config

    def __call__(self, rgb: UInt8[np.ndarray, "height width 3"], box: Float[np.ndarray, "4"] | None = None) -> Face | None:
        """Detect the labelled face, in pixels of the image.

        Args:
            rgb: The image; without a box it is searched as a whole.
            box: The data set's box of the face, x0 y0 x1 y1 in pixels.

        Returns:
            With a box, the face that overlaps it most; else the largest face, where one further from the center counts as smaller. None where no face
            has the score that starts a track in a video, or none overlaps the box.
        """
        middle, side = _searched_square(rgb, box)
        smallest = self.config.min_size * min(rgb.shape[:2]) if box is None else _MIN_BOX_RATIO * float(longer_side(box))
        sides = [pixels for pixels in _SIDES if pixels == _SIDES[0] or pixels <= _MAX_ENLARGEMENT * side]
        for pixels in sides:
            region, scale = _resized(rgb, middle, side, pixels)
            found = self.detector(region, max(smallest * scale, 0 if pixels == sides[-1] else _MIN_PIXELS))
            faces = [_moved(face, scale, middle - side / 2) for face in found if face.score is not None and face.score >= self.config.min_score]
            if faces and (chosen := _choose(faces, box, rgb.shape)):
                return chosen
        return None


def _choose(faces: list[Face], box: np.ndarray | None, shape: tuple[int, ...]) -> Face | None:
    boxes = np.stack([face.box for face in faces])
    if box is not None:
        overlaps = iou(boxes, box[None])[:, 0]
        return faces[int(overlaps.argmax())] if overlaps.max() >= _MIN_IOU else None
    height, width = shape[:2]
    distance = np.linalg.norm(center(boxes) - np.array([width, height]) / 2, axis=1) / max(width, height)
    return faces[int((longer_side(boxes) * np.maximum(1 - distance, 0)).argmax())]


def _searched_square(rgb: np.ndarray, box: np.ndarray | None) -> tuple[Float[np.ndarray, "2"], float]:
    """Center and side of the square that is searched, in pixels of the image."""
    if box is not None:
        return center(box), _REGION * float(longer_side(box))
    height, width = rgb.shape[:2]
    return np.array([width, height]) / 2, (1 + 2 * _MARGIN) * max(width, height)


def _resized(rgb: np.ndarray, middle: np.ndarray, side: float, pixels: int) -> tuple[UInt8[np.ndarray, "{pixels} {pixels} 3"], float]:
    """A square of the image, black outside of it, resized to ``pixels``; and its pixels per pixel of the image."""
    height, width = rgb.shape[:2]
    scale = pixels / side
    if scale < 1:  # averaged to about the size first, because bilinear sampling alone would alias
        rgb = cv2.resize(rgb, (max(round(width * scale), 1), max(round(height * scale), 1)), interpolation=cv2.INTER_AREA)
    zoom = np.array([width / rgb.shape[1], height / rgb.shape[0]])
    step = 1 / scale / zoom
    first = (middle - side / 2 + 0.5 / scale) / zoom - 0.5
    grid = np.array([[step[0], 0, first[0]], [0, step[1], first[1]]])
    return cv2.warpAffine(rgb, grid, (pixels, pixels), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT), scale


def _moved(face: Face, scale: float, origin: np.ndarray) -> Face:
    """The face in pixels of the image."""
    landmarks = None if face.landmarks is None else face.landmarks / scale + origin
    return Face((face.box.reshape(2, 2) / scale + origin).ravel(), face.score, landmarks)
