"""Candidates of the sweep, and the selection of postprocessing from a trial's out-of-fold scores. ``cluster`` schedules the trials.

All candidates are sampled before the first trial starts: a resumed sweep runs the same ones, and a larger sweep begins with the candidates of a
smaller one. Smoothing and bias are not training hyperparameters: the whole smoothing grid is evaluated on the scores of one trial.
"""

from typing import Any

import numpy as np

from abaw_ray.core.settings import replace_at
from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.protocols import TrialResult
from abaw_ray.scoring.selection import SelectionResult, select_postprocessing

REVISION = 3
"""Raised when the same features and settings give other models or scores."""


def sample_candidates(config: SweepConfig) -> list[dict[str, Any]]:
    """Overrides of ``config.fusion`` by dotted path, one mapping per trial; the first is empty."""
    rng, space = np.random.default_rng(config.seed), config.search_space
    candidates: list[dict[str, Any]] = [{}]
    for _ in range(config.trials - 1):
        sampled = {name: getattr(space, name)[rng.integers(len(getattr(space, name)))] for name in ("hidden_dim", "dropout", "modality_dropout")}
        candidates.append({**sampled, "optim.lr": float(np.exp(rng.uniform(*np.log(space.lr))))})
    return candidates


def candidate_config(config: SweepConfig, overrides: dict[str, Any], mode: str = "fused") -> FusionConfig:
    """Fusion settings of one trial, for a model of both modalities or of one modality alone."""
    return replace_at(config.fusion, {**overrides, "mode": mode})


def select_for_trial(frames: Frames, result: TrialResult, config: SweepConfig, *, default: int, threads: int = 1) -> SelectionResult:
    """Temperature, smoothing and bias selected on a trial's out-of-fold scores.

    Args:
        frames: The frames of the trial.
        result: Its scores.
        config: Smoothing grid and calibration.
        default: Label of a subject without any scored frame: the most frequent class of the training set.
        threads: Threads of the smoothing.
    """
    grid = config.smoothing.settings()
    return select_postprocessing(result.out_of_fold(frames), grid, default=default, calibration=config.calibration, threads=threads)
