"""A decoded frame -> the faces in it, in pixels of the upright frame: on the whole frame, or in a window around each tracked face.

``segment_tracker.py`` decides when, ``tracker.py`` matches the results. The whole frame is shrunk directly from the decoder's planes. A window
costs a small fraction of that and has a higher resolution (``docs/performance.md``).
"""

import numpy as np

from abaw_ray.faces.boxes import center, center_distance, iou, longer_side, nms
from abaw_ray.faces.config import DetectorConfig, WindowConfig
from abaw_ray.faces.detection.detect import Detector, Face
from abaw_ray.media.frame import Frame
from abaw_ray.media.square_crop import clip_square

_SAME_FACE_IOU = 0.4
"""Faces from two windows with a larger intersection over union are one."""
_SAME_FACE_DISTANCE = 0.4
"""Faces whose centers are nearer than this, in units of their longer side, are also one: two detections differ more in size than in position."""


class FrameDetector:
    """Runs a detector on decoded frames; converts only the pixels that the detector needs."""

    trusted = False
    """Tracklets need several detections, at least one of them with a high score."""

    def __init__(self, detector: Detector, config: DetectorConfig, window: WindowConfig) -> None:
        self.detector, self.config, self.window = detector, config, window

    def must_detect(self, frame: Frame) -> bool:
        """Return whether this frame needs a detection regardless of the schedule: never, for a detector."""
        return False

    def search(self, frame: Frame) -> list[Face]:
        """Detect faces on the whole frame."""
        width, height = frame.width, frame.height
        if self.config.width < width:
            width, height = _even(self.config.width), _even(height * self.config.width / width)
        image = frame.resized(width, height)
        zoom = np.array([frame.width / width, frame.height / height])
        faces = self.detector(image, self.config.min_size * min(width, height))
        return [_to_frame(face, image, zoom, np.zeros(2), "detected") for face in faces]

    def follow(self, frame: Frame, boxes: list[np.ndarray]) -> list[Face]:
        """Detect faces in the windows around tracked boxes, each face once."""
        faces = [face for box in boxes for face in self._detect_in_window(frame, box)]
        if len(faces) < 2:
            return faces
        kept = nms(np.stack([face.box for face in faces]), np.array([face.score for face in faces]), iou_threshold=_SAME_FACE_IOU)
        return [faces[index] for index in kept]

    def search_and_follow(self, frame: Frame, boxes: list[np.ndarray]) -> list[Face]:
        """Detect tracked faces in their windows, at a higher resolution, and all others on the whole frame."""
        followed, searched = self.follow(frame, boxes), self.search(frame)
        if not followed or not searched:
            return followed + searched
        a, b = np.stack([face.box for face in searched]), np.stack([face.box for face in followed])
        duplicate = np.any((iou(a, b) > _SAME_FACE_IOU) | (center_distance(a, b) < _SAME_FACE_DISTANCE), axis=1).tolist()
        return followed + [face for face, is_duplicate in zip(searched, duplicate, strict=True) if not is_duplicate]

    def _detect_in_window(self, frame: Frame, box: np.ndarray) -> list[Face]:
        window = max(round(float(longer_side(box)) * self.window.scale), 8)
        left, top = np.round(center(box) - window / 2).astype(int).tolist()
        x0, y0, x1, y1 = clip_square(left, top, window, frame.width, frame.height)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return []
        scale = min(self.window.size / window, 1.0)
        size = (x1 - x0, y1 - y0) if scale == 1 else (_even((x1 - x0) * scale), _even((y1 - y0) * scale))
        image = frame.crop(x0, y0, x1 - x0, y1 - y0, size)
        zoom = np.array([(x1 - x0) / size[0], (y1 - y0) / size[1]])
        faces = self.detector(image, float(longer_side(box)) * self.window.min_size_ratio * scale)
        return [_to_frame(face, image, zoom, np.array([x0, y0]), "followed") for face in faces]


def _even(pixels: float) -> int:
    """Return the nearest even size: frames convert several times slower to odd sizes."""
    return max(2 * round(pixels / 2), 2)


def _to_frame(face: Face, image: np.ndarray, zoom: np.ndarray, origin: np.ndarray, source: str) -> Face:
    """Return the face in pixels of the whole frame, with its source and brightness."""
    landmarks = None if face.landmarks is None else face.landmarks * zoom + origin
    box = (face.box.reshape(2, 2) * zoom + origin).ravel()
    return Face(box, face.score, landmarks, source, brightness=_brightness(image, face.box))


def _brightness(image: np.ndarray, box: np.ndarray) -> float | None:
    """Return the mean of the channels in the middle half of a box; None outside of the image."""
    middle, half = center(box), (box[2:] - box[:2]) / 4
    x0, y0 = np.maximum(np.floor(middle - half), 0).astype(int).tolist()
    x1, y1 = np.ceil(middle + half).astype(int).tolist()
    part = image[y0:y1, x0:x1]
    return float(part.mean()) if part.size else None
