"""Settings of smoothing and calibration. The module imports no numerical library, so the command line reads it quickly."""

from dataclasses import dataclass
from typing import Literal, get_args

from abaw_ray.core.errors import ConfigError

SmoothingKind = Literal["mean", "gaussian"]
SmoothingSpacing = Literal["log", "linear"]
CalibrationMethod = Literal["auto", "none", "bias"]


@dataclass(frozen=True, kw_only=True)
class SmoothingConfig:
    """Temporal smoothing of class probabilities; the sweep selects one setting of a grid (``SmoothingGridConfig``) on out-of-fold scores."""

    kind: SmoothingKind = "mean"
    """Weights inside the window. The paper does not name those of its sliding window; a mean was better than a median elsewhere (``docs/data.md``,
    section 3)."""
    window_s: float = 3.4
    """Full window width in seconds, compared in whole microseconds; 0 disables smoothing. Frame rates vary from 6 to 60 per second, so a window is
    never given in frames. Default ours, not in the paper; half-widths of 50 frames were best elsewhere (``docs/data.md``, section 3)."""
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
class SmoothingGridConfig:
    """The smoothing settings among which out-of-fold scores select one: no smoothing, and every kind with every window. All defaults ours."""

    kinds: tuple[SmoothingKind, ...] = ("mean", "gaussian")
    """Kinds of smoothing, each with all windows."""
    windows: int = 100
    """Number of windows of each kind. With 1, the window is ``min_s``; with 0, no smoothing is the only setting."""
    min_s: float = 0.4
    """Shortest window, as a full width in seconds, at least 0.001."""
    max_s: float = 12.0
    """Longest window, as a full width in seconds; half-widths of 50 frames (3 to 4 s in full) were best elsewhere (``docs/data.md``, section 3)."""
    spacing: SmoothingSpacing = "log"
    """``log``: each window is longer than the one before by the same factor, as scores change little between two long windows; ``linear``: by the
    same number of seconds."""
    unsmoothed: bool = True
    """Whether no smoothing is one of the settings. It is the first: among equal scores, it is selected."""
    max_gap_s: float = 2.0
    """Of all settings; as in ``SmoothingConfig``."""

    def __post_init__(self) -> None:
        """Reject an empty grid, unknown kinds and windows that do not ascend."""
        for name, known, given in (("kinds", SmoothingKind, self.kinds), ("spacing", SmoothingSpacing, (self.spacing,))):
            if unknown := [one for one in given if one not in get_args(known)]:
                raise ConfigError(f"smoothing.{name}='{unknown[0]}' is unknown; choose from {', '.join(get_args(known))}")
        if self.windows < 0 or not self.kinds or not (self.windows or self.unsmoothed):
            raise ConfigError(f"smoothing.windows={self.windows} must be at least 0, with at least one of smoothing.kinds and one setting in all")
        if not 0.001 <= self.min_s <= self.max_s:
            raise ConfigError(f"smoothing.min_s={self.min_s} s must be at least 0.001 s and at most smoothing.max_s={self.max_s} s")
        if not self.max_gap_s >= 0:
            raise ConfigError(f"smoothing.max_gap_s={self.max_gap_s} s is negative; 0 fills no gap")

    def window_widths(self) -> tuple[float, ...]:
        """Full widths in seconds, ascending, rounded to milliseconds; equal ones once."""
        parts = [index / max(self.windows - 1, 1) for index in range(self.windows)]
        if self.spacing == "log":
            widths = [self.min_s * (self.max_s / self.min_s) ** part for part in parts]
        else:
            widths = [self.min_s + (self.max_s - self.min_s) * part for part in parts]
        return tuple(dict.fromkeys(round(width, 3) for width in widths))

    def settings(self) -> tuple[SmoothingConfig, ...]:
        """All settings of the grid: no smoothing first, then each kind with ascending windows."""
        none = (SmoothingConfig(kind="mean", window_s=0.0, max_gap_s=self.max_gap_s),) if self.unsmoothed else ()
        widths = self.window_widths()
        return (*none, *(SmoothingConfig(kind=kind, window_s=width, max_gap_s=self.max_gap_s) for kind in self.kinds for width in widths))


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig:
    """Search for one bias per class on out-of-fold scores."""

    method: CalibrationMethod = "auto"
    """``bias``: one bias per class, fitted to raise macro-F1; it gained 2.7 points elsewhere (``docs/data.md``, section 3). ``none``: no bias.
    ``auto``: a bias if it raises the cross-fitted macro-F1, for which each fold has the bias that was fitted on the other folds. Default ours, not
    from the paper."""
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
