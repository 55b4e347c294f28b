"""Successive frames -> whether a cut lies between them. ``tracker.py`` ends tracklets at cuts.

For speed, only 2,304 pixels of successive frames are compared. This detects hard cuts, but not slow dissolves, nor a jump cut that leaves the
frame almost unchanged, at which no tracklet needs to end.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

from abaw_ray.faces.config import CutConfig

_BINS = 32
_DECAY = 0.8
"""Decay per frame of the exponential moving average of pixel changes."""
_MOTION_FACTOR = 3.0
"""The threshold rises by this many times the moving average (a shaking camera, a low frame rate)."""


class CutDetector:
    """Compares the frames of one video, in order."""

    def __init__(self, config: CutConfig) -> None:
        self.config = config
        self.previous: np.ndarray | None = None
        self.mean_change = 0.0

    def starts_shot(self, luma: UInt8[np.ndarray, "rows columns"]) -> bool:
        """Return whether this frame starts a shot; the first frame of the video does.

        Source: thresholds on pixel and histogram differences, as in any survey of shot boundary detection; the values are ours.
        """
        previous, self.previous = self.previous, luma
        if previous is None:
            return True
        change = cv2.norm(luma, previous, cv2.NORM_L1) / luma.size / 255
        threshold = self.config.min_pixel_change + _MOTION_FACTOR * self.mean_change
        cut = change > threshold and _histogram_change(previous, luma) > self.config.min_histogram_change
        self.mean_change = 0.0 if cut else _DECAY * self.mean_change + (1 - _DECAY) * change
        return cut


def _histogram_change(before: np.ndarray, after: np.ndarray) -> float:
    """Return the fraction of the pixels that change their histogram bin."""
    a, b = (cv2.calcHist([luma], [0], None, [_BINS], [0, 256]) for luma in (before, after))
    return float(np.abs(a - b).sum()) / 2 / before.size
