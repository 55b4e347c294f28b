"""Neighbouring pictures -> whether the camera's shot changed between them. What a cut means for people is ``tracks.py``'s.

Cheap on purpose: 2,304 points of each picture are compared with those of the one before. It sees hard cuts, not slow dissolves; a jump cut that
leaves the picture as good as unchanged needs no break.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from abaw_ray.core.errors import ConfigError

_BINS = 32
_MEMORY = 0.8
"""Weight of the past in the running mean of changes, a frame."""
_UNREST = 3.0
"""A cut must stand out of this many times the change that is usual at the moment (a shaking camera, a low frame rate)."""


@dataclass(frozen=True, kw_only=True)
class CutConfig:
    """From which change on two neighbouring pictures belong to different shots."""

    points: float = 0.06
    """Mean change of brightness at the same point, 0 to 1, above the usual one. Within a shot 0.003 to 0.02 was measured. Ours."""
    histogram: float = 0.2
    """Share of the points that changed their place in the histogram of brightness, 0 to 1. Ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        if not (0 < self.points <= 1 and 0 < self.histogram <= 1):
            raise ConfigError(f"cuts.points={self.points} and cuts.histogram={self.histogram} must be above 0 and at most 1")


class Cuts:
    """Looks at the pictures of one video, in order."""

    def __init__(self, config: CutConfig) -> None:
        self.config, self.before, self.usual = config, None, 0.0

    def first_of_shot(self, luma: UInt8[np.ndarray, "rows columns"]) -> bool:
        """Whether this picture begins a shot; the first picture of all does.

        Source: thresholds on pixel and histogram differences, as in any survey of shot boundary detection; the numbers are ours.
        """
        before, self.before = self.before, luma
        if before is None:
            return True
        points = cv2.norm(luma, before, cv2.NORM_L1) / luma.size / 255
        cut = points > self.config.points + _UNREST * self.usual and _moved(before, luma) > self.config.histogram
        self.usual = 0.0 if cut else _MEMORY * self.usual + (1 - _MEMORY) * points
        return cut


def _moved(before: np.ndarray, after: np.ndarray) -> float:
    """Share of the points that changed their place in the histogram."""
    a, b = (cv2.calcHist([luma], [0], None, [_BINS], [0, 256]) for luma in (before, after))
    return float(np.abs(a - b).sum()) / 2 / before.size
