"""A picture -> the faces in it. Which pictures are looked at, and who is who, is for ``observe.py`` and ``tracks.py``.

Two detectors: YuNet, a small network whose weights ``weights.py`` finds, and Haar cascades, which come with OpenCV and need nothing, but
miss faces that are turned or small. What was chosen is used or refused; there is no silent change from one to the other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.boxes import best
from abaw_ray.faces.detection.weights import YUNET_HUB, yunet_weights

_HALF = 6
"""Haar gives no probability but a number of windows that agree: this many are a score of 0.5. Faces have 30, false ones 2 to 5."""
_OVERLAP = 0.4
"""Boxes that share more than this are one face."""
_NETS = 8
"""Input sizes for which a network is kept ready: some windows, and the whole picture of one or two videos."""
_STEP = 32
"""Pixels: YuNet's input sizes are multiples of this."""
_SMALL = 256
"""Pixels: smaller pictures are filled up to squares, so that windows have few sizes in all."""
_NOTHING = np.zeros(0, np.uint8)
"""The configuration beside the weights that OpenCV asks for: ONNX has none."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Which detector, on how large a picture, and from which score on it is believed."""

    kind: Literal["yunet", "haar", "given"] = "yunet"
    """``yunet`` needs ``weights``, a file of 0.2 MB; ``haar`` needs nothing, but finds frontal, larger faces only; ``given`` takes ``boxes``."""
    boxes: str = field(default="", metadata={"in_digest": False})
    """A table of your own, CSV or Parquet, path or URI, with columns video, frame (from 1), x0, y0, x1, y1 in pixels of the upright picture and,
    if you like, score and track. What stands in it names the results, not its place."""
    weights: str = field(default=YUNET_HUB, metadata={"in_digest": False})
    """Where ``face_detection_yunet_2023mar.onnx`` is: a local path, a URI, or ``owner/name`` on the model hub, from which it is fetched once.
    Its SHA-256 is checked, so the place does not shape the results."""
    width: int = 640
    """Pixels: a whole picture is shrunk to this width before it is searched, never enlarged. Ours, not from the paper."""
    min_size: float = 0.03
    """Smallest face that is looked for, longer side as a share of the picture's shorter one: 32 pixels at 1080p. Boxes of so small faces come
    out up to a fifth too small. Ours, not from the paper."""
    min_score: float = 0.6
    """A new face must reach this, 0 to 1; with Haar 0.6 means nine windows that agree. Ours, not from the paper."""
    keep_score: float = 0.35
    """A known face goes on with this: hysteresis, so that a weak moment does not end it. Ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse what could never find a face."""
        if self.kind not in ("yunet", "haar", "given"):
            raise ConfigError(f"detector.kind='{self.kind}' is none of 'yunet', 'haar' and 'given'")
        if self.kind == "given" and not self.boxes:
            raise ConfigError("detector.kind is 'given' and detector.boxes is empty; give a CSV or Parquet table of boxes")
        if not 0 < self.keep_score <= self.min_score < 1:
            raise ConfigError(f"detector.keep_score={self.keep_score} must be above 0 and at most min_score={self.min_score}, that below 1")
        if not 0 < self.min_size < 1 or self.width < 32:
            raise ConfigError(f"detector.min_size={self.min_size} is a share between 0 and 1, detector.width={self.width} at least 32 pixels")


@dataclass(frozen=True, eq=False)
class Face:
    """One face found in one picture."""

    box: Float[np.ndarray, "4"]
    """x0 y0 x1 y1 in pixels of the picture that was given."""
    score: float | None
    """0 to 1; not comparable between detectors. None where nobody looked: between two looks."""
    landmarks: Float[np.ndarray, "5 2"] | None = None
    """Eyes, nose, mouth corners, x y; the ones on the picture's left first. None where the detector gives none."""
    source: str = "detected"
    """``detected`` in the whole picture, ``followed`` in a window around a known face, ``interpolated`` between two looks, ``given`` by the user."""
    track: str | None = None
    """Whose face it is, where the user's table says so."""


Detector = Callable[[UInt8[np.ndarray, "height width 3"], float], list[Face]]
"""``(rgb, smallest)``: faces of which the longer side has at least ``smallest`` pixels, best score first."""


def make_detector(config: DetectorConfig, weights: bytes | None = None) -> Detector:
    """Build the chosen detector, once a worker.

    Args:
        config: Which one.
        weights: What ``yunet_weights`` read, where that was done elsewhere: a cluster's nodes need neither file nor network.

    Raises:
        ConfigError: YuNet's weights cannot be had, or are not the file that was measured; the message says what to do.
        StorageError: they are in an object store that cannot be reached.
    """
    cv2.setNumThreads(1)  # one worker a core: OpenCV's own threads would fight for it
    if config.kind == "haar":
        return Haar(config.keep_score)
    return YuNet(yunet_weights(config.weights) if weights is None else weights, config.keep_score)


class YuNet:
    """OpenCV's ``FaceDetectorYN``; gives landmarks."""

    def __init__(self, weights: bytes, floor: float) -> None:
        self.weights, self.floor = np.frombuffer(weights, np.uint8), floor
        self.nets: dict[tuple[int, int], cv2.FaceDetectorYN] = {}

    def __call__(self, rgb: UInt8[np.ndarray, "height width 3"], smallest: float) -> list[Face]:
        """Find faces; the network was trained on BGR."""
        picture = _filled_up(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        found = self._net(picture.shape[1], picture.shape[0]).detect(picture)[1]
        rows = [] if found is None else found.astype(np.float64)
        large = [row for row in rows if max(row[2], row[3]) >= smallest]
        return [Face(np.concatenate([row[:2], row[:2] + row[2:4]]), float(row[14]), row[4:14].reshape(5, 2)) for row in large]

    def _net(self, width: int, height: int) -> cv2.FaceDetectorYN:
        """A network a size: to change the size of one costs more than to run it."""
        if (width, height) not in self.nets:
            if len(self.nets) >= _NETS:
                self.nets.pop(next(iter(self.nets)))
            self.nets[width, height] = cv2.FaceDetectorYN.create("onnx", self.weights, _NOTHING, (width, height), self.floor, _OVERLAP, 100)
        return self.nets[width, height]


def _filled_up(picture: np.ndarray) -> np.ndarray:
    """The picture with black below and to the right, up to a size for which there is a network."""
    height, width = (math.ceil(side / _STEP) * _STEP for side in picture.shape[:2])
    if max(height, width) <= _SMALL:
        height = width = max(height, width)
    return cv2.copyMakeBorder(picture, 0, height - picture.shape[0], 0, width - picture.shape[1], cv2.BORDER_CONSTANT)


class Haar:
    """OpenCV's frontal face cascade; needs no weights, gives no landmarks."""

    def __init__(self, floor: float) -> None:
        self.floor = floor
        # on 167 drawn pictures this cascade found as many faces as the default one, with a quarter of its false ones
        self.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
        self.contrast = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4))

    def __call__(self, rgb: UInt8[np.ndarray, "height width 3"], smallest: float) -> list[Face]:
        """Find faces; the score counts windows that agree, 6 of them are 0.5, 24 are 0.8."""
        grey = self.contrast.apply(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        least = (max(int(smallest), 24),) * 2  # 24 pixels: the cascade's own window
        boxes, counts = self.cascade.detectMultiScale2(grey, scaleFactor=1.1, minNeighbors=1, minSize=least)
        if len(boxes) == 0:
            return []
        corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]).astype(np.float64)
        scores = np.asarray(counts, dtype=np.float64).ravel()
        scores = scores / (scores + _HALF)
        kept = best(corners, scores, overlap=_OVERLAP)
        return [Face(corners[index], float(scores[index])) for index in kept if scores[index] >= self.floor]
