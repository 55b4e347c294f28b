"""Logits of one subject -> probabilities and labels: temperature, smoothing, bias, in this order.

The order is defined here alone, so cross-validation, official validation, submission and single videos use the same one. ``calibration``
and ``smoothing`` define the steps; ``selection`` chooses their values.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int8

from abaw_ray.scoring.calibration import Calibration
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.fill import NO_LABEL
from abaw_ray.scoring.smoothing import smooth


@dataclass(frozen=True, kw_only=True)
class Postprocessing:
    """Steps from logits to labels."""

    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    """Temporal smoothing of the probabilities."""
    calibration: Calibration = field(default_factory=Calibration)
    """Temperature and bias, fitted on out-of-fold scores."""

    def probabilities(
        self, logits: Float[np.ndarray, "frames 8"], time: Float[np.ndarray, " frames"], scored: Bool[np.ndarray, " frames"]
    ) -> Float[np.ndarray, "frames 8"]:
        """Smoothed, calibrated probabilities of one subject; NaN rows where a frame has no score.

        Args:
            logits: Rows of unscored frames are ignored, whatever they hold.
            time: Presentation times in seconds, ascending.
            scored: Whether the frame has a face or audio.

        Raises:
            ValueError: a scored row is not finite.
        """
        raw = self.calibration.probabilities(np.where(scored[:, None], logits, 0.0))
        return self.calibration.apply_bias(smooth(raw, time, scored, self.smoothing))


def predict_labels(probabilities: Float[np.ndarray, "frames 8"]) -> Int8[np.ndarray, " frames"]:
    """The most probable class of each frame; -1 where the frame has no score."""
    return np.where(np.isnan(probabilities[:, 0]), NO_LABEL, probabilities.argmax(axis=1)).astype(np.int8)
