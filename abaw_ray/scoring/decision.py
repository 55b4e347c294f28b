"""From a subject's logits to its probabilities and labels: temperature, smoothing, bias, in this order.

One place for the order, so that folds, validation, submission and single videos cannot differ in it. What the three do is said in
``calibration`` and ``smoothing``; how they are chosen in ``selection``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int8

from abaw_ray.scoring.calibration import Calibration
from abaw_ray.scoring.filling import NONE
from abaw_ray.scoring.smoothing import SmoothingConfig, smooth


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How logits become labels."""

    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    """Of probabilities over time."""
    calibration: Calibration = field(default_factory=Calibration)
    """Found on held-out scores."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Decision":
        """A decision from what ``core.settings.to_plain`` made of it."""
        calibration = {**plain["calibration"], "bias": tuple(plain["calibration"]["bias"])}
        return cls(smoothing=SmoothingConfig(**plain["smoothing"]), calibration=Calibration(**calibration))

    def probabilities(
        self, logits: Float[np.ndarray, "frames 8"], time: Float[np.ndarray, " frames"], scored: Bool[np.ndarray, " frames"]
    ) -> Float[np.ndarray, "frames 8"]:
        """Smoothed, calibrated probabilities of one subject; rows of NaN where it has no score.

        Args:
            logits: Whatever they hold where a frame was not scored, it does not count.
            time: Seconds, ascending.
            scored: Whether the frame shows a face or has a voice.

        Raises:
            ValueError: a scored row is not finite.
        """
        plain = self.calibration.probabilities(np.where(scored[:, None], logits, 0.0))
        return self.calibration.adjust(smooth(plain, time, scored, self.smoothing))


def choose_labels(probabilities: Float[np.ndarray, "frames 8"]) -> Int8[np.ndarray, " frames"]:
    """The most probable class of each frame; -1 where there is no score."""
    return np.where(np.isnan(probabilities[:, 0]), NONE, probabilities.argmax(axis=1)).astype(np.int8)
