"""A frame -> the faces seen in it, in pixels of the upright picture: in the whole picture, or in a window around each known face.

When to look where is ``crop.py``'s, what is made of it ``tracks.py``'s. The whole picture is shrunk straight from the decoder's planes;
a window costs a small fraction of it and shows the face larger than the shrunk whole would (``FLOOR.md``).
"""

from dataclasses import dataclass

import numpy as np

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.boxes import best, centre, distance, iou, side, within
from abaw_ray.faces.detection.detect import Detector, DetectorConfig, Face
from abaw_ray.media.frame import Frame

_SAME = 0.4
"""Faces from two windows that overlap more than this are one."""
_CLOSE = 0.4
"""So are two faces whose centres are nearer than this, in units of their side: detectors differ more in size than in place."""


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """The window in which a known face is followed."""

    margin: float = 2.2
    """Side of the window in units of the face's longer side: room for the head to move between two looks. Ours."""
    pixels: int = 128
    """The window is shrunk to this many pixels a side, never enlarged. Ours, not from the paper."""
    shrink: float = 0.5
    """Smallest face that is taken, in units of the one before. Ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse windows that cannot hold a face."""
        if self.margin < 1.2 or self.pixels < 48 or not 0 < self.shrink < 1:
            raise ConfigError(f"window.margin={self.margin} must be at least 1.2, pixels={self.pixels} at least 48, shrink={self.shrink} in 0..1")


class Observer:
    """Runs one detector over one frame after the other; converts no more of a picture than it looks at."""

    trusted = False
    """A face must be seen more than once to be believed, and well at least once."""

    def __init__(self, detector: Detector, config: DetectorConfig, window: WindowConfig) -> None:
        self.detector, self.config, self.window = detector, config, window

    def has_news(self, frame: Frame) -> bool:
        """Whether this frame has to be looked at whatever the schedule says."""
        return False

    def search(self, frame: Frame) -> list[Face]:
        """Faces anywhere in the picture."""
        width, height = frame.width, frame.height
        if self.config.width < width:
            width, height = _even(self.config.width), _even(height * self.config.width / width)
        picture = frame.resized(width, height)
        zoom = np.array([frame.width / width, frame.height / height])
        return [_moved(face, zoom, np.zeros(2), "detected") for face in self.detector(picture, self.config.min_size * min(width, height))]

    def look(self, frame: Frame, known: list[np.ndarray]) -> list[Face]:
        """Faces in the windows around known boxes, each face once."""
        found = [face for box in known for face in self._window(frame, box)]
        if len(found) < 2:
            return found
        kept = best(np.stack([face.box for face in found]), np.array([face.score for face in found]), overlap=_SAME)
        return [found[index] for index in kept]

    def everywhere(self, frame: Frame, known: list[np.ndarray]) -> list[Face]:
        """Both: known faces from their windows, where they are seen larger, all others from the whole picture."""
        near, anywhere = self.look(frame, known), self.search(frame)
        if not near or not anywhere:
            return near + anywhere
        a, b = np.stack([face.box for face in anywhere]), np.stack([face.box for face in near])
        same = ((iou(a, b) > _SAME) | (distance(a, b) < _CLOSE)).any(axis=1)
        return near + [face for face, known_already in zip(anywhere, same, strict=True) if not known_already]

    def _window(self, frame: Frame, box: np.ndarray) -> list[Face]:
        reach = max(round(float(side(box)) * self.window.margin), 8)
        left, top = np.round(centre(box) - reach / 2).astype(int).tolist()
        x0, y0, x1, y1 = within(left, top, reach, frame.width, frame.height)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return []
        scale = min(self.window.pixels / reach, 1.0)
        size = (x1 - x0, y1 - y0) if scale == 1 else (_even((x1 - x0) * scale), _even((y1 - y0) * scale))
        picture = frame.crop(x0, y0, x1 - x0, y1 - y0, size)
        zoom = np.array([(x1 - x0) / size[0], (y1 - y0) / size[1]])
        faces = self.detector(picture, float(side(box)) * self.window.shrink * scale)
        return [_moved(face, zoom, np.array([x0, y0]), "followed") for face in faces]


def _even(pixels: float) -> int:
    """The nearest even size: odd ones cost several times as much to make."""
    return max(2 * round(pixels / 2), 2)


def _moved(face: Face, zoom: np.ndarray, origin: np.ndarray, source: str) -> Face:
    """The face in pixels of the whole picture, and how it was found."""
    landmarks = None if face.landmarks is None else face.landmarks * zoom + origin
    return Face((face.box.reshape(2, 2) * zoom + origin).ravel(), face.score, landmarks, source)
