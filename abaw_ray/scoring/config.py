"""Settings of smoothing and calibration. The module imports no numerical library, so the command line reads it quickly."""

from dataclasses import dataclass
from typing import Literal, get_args

from abaw_ray.core.errors import ConfigError

SmoothingKind = Literal["mean", "gaussian"]
CalibrationMethod = Literal["none", "bias"]


@dataclass(frozen=True, kw_only=True)
class SmoothingConfig:
    """Temporal smoothing of class probabilities; the sweep selects one of several on out-of-fold scores."""

    kind: SmoothingKind = "mean"
    """Weights inside the window. The paper does not name those of its sliding window; a mean was better than a median elsewhere (``docs/data.md``,
    section 3)."""
    window_s: float = 3.4
    """Full window width in seconds; 0 disables smoothing. Frame rates vary from 6 to 60 per second, so a window is never given in frames.
    Default ours, not in the paper; half-widths of 50 frames were best elsewhere (``docs/data.md``, section 3)."""
    max_gap_s: float = 2.0
    """Longest gap, in seconds between the scored frames before and after it, in which unscored frames (no face, no audio) are interpolated before
    smoothing; in a longer gap they stay unscored. Default ours, not from the paper."""

    def __post_init__(self) -> None:
        """Reject an unknown kind and negative durations before the run starts."""
        if self.kind not in get_args(SmoothingKind):
            raise ConfigError(f"smoothing.kind='{self.kind}' is unknown; choose one of {', '.join(get_args(SmoothingKind))}")
        if not self.window_s >= 0:
            raise ConfigError(f"smoothing.window_s={self.window_s} s is negative; 0 disables smoothing")
        if not self.max_gap_s >= 0:
            raise ConfigError(f"smoothing.max_gap_s={self.max_gap_s} s is negative; 0 fills no gap")


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig:
    """Search for one bias per class on out-of-fold scores."""

    method: CalibrationMethod = "none"
    """``bias``: one bias per class, fitted to raise macro-F1; it gained 2.7 points elsewhere (``docs/data.md``, section 3). Default ours, not from
    the paper."""
    max_bias: float = 2.0
    """Largest absolute bias, in logits. Default ours, not from the paper."""
    bias_step: float = 0.05
    """Grid spacing of the bias, in logits. Default ours, not from the paper."""
    max_iter: int = 4
    """Maximum passes of coordinate ascent over all classes. Default ours, not from the paper."""

    def __post_init__(self) -> None:
        """Reject an unknown method, an empty grid and zero passes."""
        if self.method not in get_args(CalibrationMethod):
            raise ConfigError(f"calibration.method='{self.method}' is unknown; choose one of {', '.join(get_args(CalibrationMethod))}")
        if not 0 < self.bias_step <= self.max_bias:
            raise ConfigError(f"calibration.bias_step={self.bias_step} must be above 0 and at most calibration.max_bias={self.max_bias}")
        if self.max_iter < 1:
            raise ConfigError(f"calibration.max_iter={self.max_iter} must be at least 1; calibration.method=none fits no bias")


SMOOTHING_GRID: tuple[SmoothingConfig, ...] = (
    *(SmoothingConfig(kind="mean", window_s=window_s) for window_s in (0.0, 0.4, 0.8, 1.6, 2.4, 3.4, 5.0, 8.0, 12.0)),
    *(SmoothingConfig(kind="gaussian", window_s=window_s) for window_s in (1.6, 3.4, 6.8)),
)
"""Grid around the widths of 3 to 4 seconds that were best elsewhere (``docs/data.md``, section 3). Default ours, not from the paper."""
