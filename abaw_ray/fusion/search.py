"""What a sweep tries, and what is chosen from a trial's out-of-fold scores. Trials run wherever ``cluster`` puts them.

The candidates are drawn before the first trial starts, so a sweep that is killed and started again tries the same ones, and a larger
sweep begins with those of a smaller one. Smoothing and bias are no training parameters: one trial's scores serve the whole grid of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import replace_at
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.model import FusionConfig
from abaw_ray.fusion.protocols import TrialResult
from abaw_ray.scoring.calibration import CalibrationConfig, fit_temperature
from abaw_ray.scoring.selection import DEFAULT_GRID, Choice, choose_smoothing
from abaw_ray.scoring.smoothing import SmoothingConfig

REVISION = 2
"""Raised when the same features and settings give other models or scores."""


@dataclass(frozen=True, kw_only=True)
class SpaceConfig:
    """Values that a trial may take; all ours. A field's name is that of the fusion setting it changes."""

    hidden: tuple[int, ...] = (64, 128, 256)
    """Width of the projections."""
    dropout: tuple[float, ...] = (0.1, 0.3, 0.5)
    """Share of hidden numbers dropped."""
    modality_dropout: tuple[float, ...] = (0.1, 0.3, 0.5)
    """Share of frames that lose a modality in training."""
    lr: tuple[float, float] = (3e-4, 3e-3)
    """Lowest and highest learning rate, drawn evenly on a logarithmic scale."""

    def __post_init__(self) -> None:
        """Refuse an empty space."""
        if not (self.hidden and self.dropout and self.modality_dropout) or not 0 < self.lr[0] <= self.lr[1]:
            raise ConfigError(f"space: every field needs a value, and lr={self.lr} must ascend from above 0")


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Stage II: what is tried, on which folds, and how the best is told. All ours, not from the paper."""

    fusion: FusionConfig = field(default_factory=FusionConfig)
    """Where the sweep starts: its first trial, and every value that the space leaves alone."""
    space: SpaceConfig = field(default_factory=SpaceConfig)
    """What the other trials change."""
    trials: int = 16
    """Number of candidates; the first is ``fusion`` as it stands."""
    folds: int = 5
    """Folds by source video; the paper reports five."""
    seed: int = 0
    """Of the folds and the candidates."""
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    """Whether a bias of each class is chosen on held-out scores."""
    smoothing: tuple[SmoothingConfig, ...] = DEFAULT_GRID
    """The grid of smoothings."""

    def __post_init__(self) -> None:
        """Refuse sweeps without trials or folds."""
        if self.trials < 1 or self.folds < 2 or not self.smoothing:
            raise ConfigError(f"sweep: trials={self.trials} must be 1 or more, folds={self.folds} 2 or more, and smoothing not empty")


def candidates(config: SweepConfig) -> list[dict[str, Any]]:
    """Changes to ``config.fusion`` by dotted path, one entry a trial; the first changes nothing."""
    rng, space, found = np.random.default_rng(config.seed), config.space, [{}]
    for _ in range(config.trials - 1):
        drawn = {name: getattr(space, name)[rng.integers(len(getattr(space, name)))] for name in ("hidden", "dropout", "modality_dropout")}
        found.append({**drawn, "optim.lr": float(np.exp(rng.uniform(*np.log(space.lr))))})
    return found


def candidate(config: SweepConfig, changes: dict[str, Any], mode: str = "fused") -> FusionConfig:
    """The settings of one trial, for a model of both modalities or of one alone."""
    return replace_at(config.fusion, {**changes, "mode": mode})


def decide(frames: Frames, result: TrialResult, config: SweepConfig, *, default: int) -> Choice:
    """Temperature, smoothing and bias from a trial's out-of-fold scores, each by the scores that no training frame had a part in.

    Args:
        frames: What the trial ran on.
        result: Its scores.
        config: Grid and calibration.
        default: Label of a person without any scored frame: the most frequent of training.
    """
    held_out: Sequence = result.out_of_fold(frames)
    logits = np.concatenate([person.logits[person.scored] for person in held_out])
    labels = np.concatenate([person.labels[person.scored] for person in held_out])
    temperature = fit_temperature(logits, labels)
    return choose_smoothing(held_out, config.smoothing, default=default, temperature=temperature, calibration=config.calibration)
