"""Successive frames -> whether a cut lies between them. ``tracker.py`` ends tracklets at cuts.

For speed, only 2,304 pixels of successive frames are compared. This detects hard cuts, but not slow dissolves, nor a jump cut that leaves the
frame almost unchanged: there, the embeddings of ``identity/`` tell two people apart.
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
_MIN_CHANGE, _MIN_CHANGE_RATIO = 0.02, 2.5
"""Minimum pixel change of two uncorrelated frames, 0 to 1 and in units of the moving average: noise in a black frame is uncorrelated too."""


class CutDetector:
    """Compares the frames of one video, in order."""

    def __init__(self, config: CutConfig) -> None:
        self.config = config
        self.previous: np.ndarray | None = None
        self.mean_change = 0.0

    def starts_shot(self, luma: UInt8[np.ndarray, "rows columns"]) -> bool:
        """Return whether this frame starts a shot; the first frame of the video does.

        Either many pixels change, and the histogram; or the frame has little in common with the previous one, however dark both are.

        Source: thresholds on differences and correlation, as in any survey of shot boundary detection; the values are ours.
        """
        previous, self.previous = self.previous, luma
        if previous is None:
            return True
        change = cv2.norm(luma, previous, cv2.NORM_L1) / luma.size / 255
        threshold = self.config.min_pixel_change + _MOTION_FACTOR * self.mean_change
        if change > threshold and _histogram_change(previous, luma) > self.config.min_histogram_change:
            self.mean_change = 0.0
            return True
        is_large = change > max(_MIN_CHANGE, _MIN_CHANGE_RATIO * self.mean_change)
        # The average goes on at such a cut: otherwise every frame of a noisy video, which is uncorrelated with the previous one, would be a cut.
        self.mean_change = _DECAY * self.mean_change + (1 - _DECAY) * change
        return is_large and _correlation(previous, luma) < self.config.min_correlation


def _histogram_change(before: np.ndarray, after: np.ndarray) -> float:
    """Return the fraction of the pixels that change their histogram bin."""
    a, b = (cv2.calcHist([luma], [0], None, [_BINS], [0, 256]) for luma in (before, after))
    return float(np.abs(a - b).sum()) / 2 / before.size


def _correlation(before: np.ndarray, after: np.ndarray) -> float:
    """Return the correlation of the pixels after histogram equalization, -1 to 1."""
    a, b = (cv2.equalizeHist(luma).astype(np.float64) for luma in (before, after))
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-9))
