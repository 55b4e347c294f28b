"""Settings of Stage II: one fusion model, its training, and the sweep. The module imports no numerical library, so the command line reads it
quickly.
"""

from dataclasses import dataclass, field
from typing import Literal

from abaw_ray.core.errors import ConfigError
from abaw_ray.scoring.config import CalibrationConfig, SmoothingGridConfig
from abaw_ray.training.config import LossConfig, OptimConfig

Mode = Literal["fused", "visual", "speech"]
"""Both modalities, or a model of one modality alone."""


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """One fusion model and its training. The paper publishes only that the gate is lightweight; all defaults ours."""

    mode: Mode = "fused"
    """``visual`` and ``speech``: a model of that modality alone; the other modality is always masked."""
    hidden_dim: int = 128
    """Width of the projections and of the classifier."""
    dropout: float = 0.3
    """Dropout probability of hidden units."""
    modality_dropout: float = 0.3
    """Fraction of the training frames with both modalities from which one is dropped; both modalities are dropped equally often."""
    optim: OptimConfig = OptimConfig(lr=1e-3, layer_decay=1.0, weight_decay=0.05)
    """AdamW; ``layer_decay`` has no effect because all layers start from random weights."""
    loss: LossConfig = LossConfig()
    """Cross-entropy and the handling of class imbalance."""
    epochs: int = 20
    """Passes over the training frames."""
    batch_size: int = 256
    """Frames per optimizer step."""
    seed: int = 0
    """Seed of initial weights, sampling order and dropout."""

    def __post_init__(self) -> None:
        """Reject sizes below 1 and probabilities outside of [0, 1)."""
        if self.mode not in ("fused", "visual", "speech"):
            raise ConfigError(f"fusion.mode={self.mode} must be fused, visual or speech")
        for name in ("hidden_dim", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"fusion.{name}={getattr(self, name)} must be at least 1")
        for name in ("dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"fusion.{name}={getattr(self, name)} is a probability; it must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class SearchSpaceConfig:
    """Search space of the sweep; all defaults ours. A field has the name of the ``FusionConfig`` setting that it varies."""

    hidden_dim: tuple[int, ...] = (64, 128, 256)
    """Choices for the width of the projections."""
    dropout: tuple[float, ...] = (0.1, 0.3, 0.5)
    """Choices for the dropout probability."""
    modality_dropout: tuple[float, ...] = (0.1, 0.3, 0.5)
    """Choices for the modality dropout."""
    lr: tuple[float, float] = (3e-4, 3e-3)
    """Range of the learning rate, sampled log-uniformly."""

    def __post_init__(self) -> None:
        """Reject an empty search space."""
        if not (self.hidden_dim and self.dropout and self.modality_dropout) or not 0 < self.lr[0] <= self.lr[1]:
            raise ConfigError(f"sweep.search_space: every field needs a value, and lr={self.lr} must ascend from above 0")


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Stage II: hyperparameter sweep, cross-validation folds and model selection. All defaults ours, not from the paper."""

    fusion: FusionConfig = field(default_factory=FusionConfig)
    """Baseline settings: the first trial, and every value that ``search_space`` does not vary."""
    search_space: SearchSpaceConfig = field(default_factory=SearchSpaceConfig)
    """Settings that the other trials vary."""
    trials: int = 16
    """Number of trials; the first uses ``fusion`` unchanged."""
    folds: int = 5
    """Number of folds, grouped by recording; the paper reports five."""
    seed: int = 0
    """Seed of the folds and of the sampled trials."""
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    """Whether a bias per class is fitted on out-of-fold scores."""
    smoothing: SmoothingGridConfig = field(default_factory=SmoothingGridConfig)
    """Smoothing grid, evaluated on the out-of-fold scores of each trial."""

    def __post_init__(self) -> None:
        """Reject sweeps without trials or folds."""
        if self.trials < 1 or self.folds < 2:
            raise ConfigError(f"sweep: trials={self.trials} must be 1 or more, folds={self.folds} 2 or more")
