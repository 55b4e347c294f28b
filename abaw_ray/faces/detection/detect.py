"""An image -> the faces in it. ``frame_detector.py`` runs this on frames, ``tracker.py`` matches the results.

Two detectors: YuNet, a small network whose weights ``weights.py`` reads, and Haar cascades, which come with OpenCV and need no weights, but
miss faces that are turned or small. The configured detector is used or an error is raised; there is no silent fallback.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.faces.boxes import nms
from abaw_ray.faces.config import DetectorConfig
from abaw_ray.faces.detection.weights import yunet_weights

_HAAR_HALF_COUNT = 6
"""Number of overlapping accepted windows that is converted to a score of 0.5: a Haar cascade returns this number and no probability. Faces have
about 30, false positives 2 to 5."""
_NMS_IOU = 0.4
"""Boxes with a larger intersection over union are one face."""
_MAX_NETWORKS = 8
"""Input sizes for which a network is cached: some windows, and the whole frame of one or two videos."""
_STRIDE = 32
"""Pixels: YuNet's input sizes are multiples of this."""
_SQUARE_BELOW = 256
"""Pixels: smaller images are padded to squares, so that windows have few sizes in all."""
_NO_CONFIG = np.zeros(0, np.uint8)
"""OpenCV expects a configuration in addition to the weights; ONNX has none."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one image."""

    box: Float[np.ndarray, "4"]
    """x0 y0 x1 y1 in pixels of that image."""
    score: float | None
    """0 to 1; not comparable between detectors. None where the face is interpolated between two detections."""
    landmarks: Float[np.ndarray, "5 2"] | None = None
    """Eyes, nose, mouth corners, x y; those on the left of the image first. None for a detector without landmarks."""
    source: str = "detected"
    """``detected`` on the whole frame, ``followed`` in a window around a tracked face, ``interpolated`` between two detections, ``given`` by the
    user."""
    track: str | None = None
    """The name of the person, where the user's table gives one."""
    brightness: float | None = None
    """Mean of the channels in the middle of the box, 0 to 255; None where no detector ran."""


Detector = Callable[[UInt8[np.ndarray, "height width 3"], float], list[Face]]
"""``(rgb, min_size)`` -> faces whose longer side has at least ``min_size`` pixels, highest score first."""


def make_detector(config: DetectorConfig, weights: bytes | None = None) -> Detector:
    """Return the configured detector; called once per worker.

    Args:
        config: Selects the detector.
        weights: YuNet's weights, where they have been read already: the nodes of a cluster need neither file nor network.

    Raises:
        ConfigError: YuNet's weights cannot be read, or are another file; the message says what to do.
        StorageError: they are in an object store that cannot be reached.
    """
    cv2.setNumThreads(1)  # one worker per core: OpenCV's own threads would oversubscribe it
    if config.kind == "haar":
        return HaarDetector(config.keep_score)
    return YuNetDetector(yunet_weights(config.weights) if weights is None else weights, config.keep_score)


class YuNetDetector:
    """OpenCV's ``FaceDetectorYN``; gives landmarks."""

    def __init__(self, weights: bytes, min_score: float) -> None:
        self.weights, self.min_score = np.frombuffer(weights, np.uint8), min_score
        self.networks: dict[tuple[int, int], cv2.FaceDetectorYN] = {}

    def __call__(self, rgb: UInt8[np.ndarray, "height width 3"], min_size: float) -> list[Face]:
        """Detect faces; the network was trained on BGR."""
        image = _pad(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        found = self._network(image.shape[1], image.shape[0]).detect(image)[1]
        rows = [] if found is None else found.astype(np.float64)
        large = [row for row in rows if max(row[2], row[3]) >= min_size]
        return [Face(np.concatenate([row[:2], row[:2] + row[2:4]]), float(row[14]), row[4:14].reshape(5, 2)) for row in large]

    def _network(self, width: int, height: int) -> cv2.FaceDetectorYN:
        """Return the network for an input size: changing the size of a network costs more than running it."""
        if (width, height) not in self.networks:
            if len(self.networks) >= _MAX_NETWORKS:
                self.networks.pop(next(iter(self.networks)))
            self.networks[width, height] = cv2.FaceDetectorYN.create("onnx", self.weights, _NO_CONFIG, (width, height), self.min_score, _NMS_IOU, 100)
        return self.networks[width, height]


def _pad(image: np.ndarray) -> np.ndarray:
    """Return the image padded with black below and to the right, to an input size of the network."""
    height, width = (math.ceil(side / _STRIDE) * _STRIDE for side in image.shape[:2])
    if max(height, width) <= _SQUARE_BELOW:
        height = width = max(height, width)
    return cv2.copyMakeBorder(image, 0, height - image.shape[0], 0, width - image.shape[1], cv2.BORDER_CONSTANT)


class HaarDetector:
    """OpenCV's frontal face cascade; needs no weights, gives no landmarks."""

    def __init__(self, min_score: float) -> None:
        self.min_score = min_score
        # on 167 synthetic images this cascade found as many faces as the default one, with a quarter of its false positives
        self.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")  # pyright: ignore[reportAttributeAccessIssue] (no stub)
        self.contrast = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4))

    def __call__(self, rgb: UInt8[np.ndarray, "height width 3"], min_size: float) -> list[Face]:
        """Detect faces; the score is n / (n + 6) for n overlapping windows: 6 are 0.5, 24 are 0.8."""
        gray = self.contrast.apply(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        window = (max(int(min_size), 24),) * 2  # 24 pixels: the cascade's own window
        windows, counts = self.cascade.detectMultiScale2(gray, scaleFactor=1.1, minNeighbors=1, minSize=window)
        if len(windows) == 0:
            return []
        boxes = np.asarray(windows)
        corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]).astype(np.float64)
        scores = np.asarray(counts, dtype=np.float64).ravel()
        scores = scores / (scores + _HAAR_HALF_COUNT)
        kept = nms(corners, scores, iou_threshold=_NMS_IOU)
        return [Face(corners[index], float(scores[index])) for index in kept if scores[index] >= self.min_score]
