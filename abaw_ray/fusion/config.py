"""Settings of Stage II: one fusion model, its training, and the sweep. The module imports no numerical library, so the command line reads it
quickly.
"""

import math
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal, get_args

from abaw_ray.core.errors import ConfigError
from abaw_ray.fusion.population.config import HalvingConfig
from abaw_ray.scoring.config import CalibrationConfig, SmoothingGridConfig
from abaw_ray.training.config import LossConfig

Mode = Literal["fused", "visual", "speech"]
"""Both modalities, or a model of one modality alone."""
Gate = Literal["frame", "dimension", "mean"]
Head = Literal["frame", "conv", "attention"]
Precision = Literal["auto", "float32", "bf16"]
ATTENTION_HEADS = 4
"""Heads of the attention in the head ``attention``. Ours."""


@dataclass(frozen=True, kw_only=True)
class FusionOptimConfig:
    """AdamW with a constant learning rate after a warm-up, and averaged weights: a model is then equally good after any number of epochs, which is
    chosen afterwards. All values are ours.
    """

    lr: float = 1e-3
    """Learning rate."""
    weight_decay: float = 0.05
    """Decoupled weight decay of matrices; biases and norms have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates of the averages of gradient and squared gradient."""
    max_grad_norm: float = 1.0
    """Gradient clipping: largest norm of a model's gradient of a step; 0 disables clipping."""
    warmup_epochs: float = 0.25
    """Epochs in which the learning rate rises from 0 to ``lr``."""
    average_decay: float = 0.9
    """Decay of the exponential moving average of the weights, which is scored and kept, per update of the average."""
    average_every: int = 10
    """Steps between two updates of the average, counted from the beginning of each epoch: up to ``average_every`` - 1 steps at its end are no part of
    the epoch's average. Where an epoch has fewer steps, the average is updated after each epoch."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.lr <= 0:
            raise ConfigError(f"optim.lr={self.lr} must be above 0")
        for name in ("weight_decay", "max_grad_norm", "warmup_epochs"):
            if getattr(self, name) < 0:
                raise ConfigError(f"optim.{name}={getattr(self, name)} must not be negative")
        if not 0 <= self.average_decay < 1 or self.average_every < 1:
            raise ConfigError(f"optim.average_decay={self.average_decay} must be below 1, average_every={self.average_every} at least 1")


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """One fusion model and its training. The paper publishes only that the gate is lightweight; all defaults ours."""

    mode: Mode = "fused"
    """``visual`` and ``speech``: a model of that modality alone; the other modality is always masked."""
    hidden_dim: int = 128
    """Width of the projections and of the classifier."""
    gate: Gate = "frame"
    """``frame``: one weight of the face against the voice per frame, as in the paper; ``dimension``: one per dimension of the projections; ``mean``:
    no gate, both weigh one half, for comparison."""
    head: Head = "frame"
    """``frame``: each frame is classified alone, as in the paper. ``conv``: dilated convolutions over the frames around it. ``attention``: a small
    Transformer over them."""
    dropout: float = 0.3
    """Dropout probability of hidden units."""
    modality_dropout: float = 0.3
    """Fraction of the training frames with both modalities from which one is dropped; both modalities are dropped equally often."""
    optim: FusionOptimConfig = FusionOptimConfig()
    """AdamW and the averaging of the weights."""
    loss: LossConfig = LossConfig()
    """Cross-entropy and the handling of class imbalance."""
    epochs: int = 20
    """Passes over the training frames."""
    batch_size: int = 256
    """Frames per optimizer step."""
    rows_per_second: float = 5.0
    """Training frames per second of video and epoch, another one of each interval in every epoch: neighboring frames are nearly the same. 0 takes
    all frames."""
    window_s: float = 8.0
    """Length in seconds of the windows that a temporal head reads, at ``rows_per_second``."""
    max_gap_s: float = 1.0
    """Longest time in seconds between two frames of a window; windows end there, at cuts, and where the subject changes."""
    precision: Precision = "auto"
    """Precision of matrix products in training, with weights, gradients and optimizer in float32. ``auto``: ``float32`` on a CPU, ``bf16`` on a GPU.
    ``bf16`` pays on a CPU with AVX-512 BF16 or AMX (docs/performance.md); another CPU computes it slowly. The default is ours."""
    seed: int = 0
    """Seed of initial weights, sampling order and dropout."""

    def __post_init__(self) -> None:
        """Reject sizes below 1 and probabilities outside of [0, 1)."""
        for name, choices in (("mode", Mode), ("gate", Gate), ("head", Head), ("precision", Precision)):
            if getattr(self, name) not in get_args(choices):
                raise ConfigError(f"fusion.{name}={getattr(self, name)} must be one of {', '.join(get_args(choices))}")
        for name in ("hidden_dim", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"fusion.{name}={getattr(self, name)} must be at least 1")
        for name in ("dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"fusion.{name}={getattr(self, name)} is a probability; it must be at least 0 and below 1")
        if self.rows_per_second < 0:
            raise ConfigError(f"fusion.rows_per_second={self.rows_per_second} must be at least 0; 0 takes all frames")
        if self.head != "frame" and (self.rows_per_second == 0 or self.window_rows < 2 or self.max_gap_s <= 0):
            raise ConfigError(
                f"fusion.head={self.head} needs windows of two or more rows: fusion.rows_per_second={self.rows_per_second}, "
                f"window_s={self.window_s} and max_gap_s={self.max_gap_s} must be above 0"
            )
        if self.head == "attention" and self.hidden_dim % ATTENTION_HEADS:
            raise ConfigError(f"fusion.hidden_dim={self.hidden_dim} must be a multiple of {ATTENTION_HEADS} for fusion.head=attention")

    @property
    def window_rows(self) -> int:
        """Rows of a window."""
        return round(self.window_s * self.rows_per_second)

    def shape(self) -> "FusionConfig":
        """The settings that all candidates of a population share: those that vary within it have their default values."""
        default = FusionConfig()
        optim = replace(self.optim, lr=default.optim.lr, weight_decay=default.optim.weight_decay, max_grad_norm=default.optim.max_grad_norm)
        return replace(self, dropout=default.dropout, modality_dropout=default.modality_dropout, loss=default.loss, optim=optim)


SEED_STEP = 1_000
"""Difference between the seeds of one model, so that runs with the seeds 0, 1, 2 share none. Ours."""


def with_seeds(config: FusionConfig, count: int) -> list[FusionConfig]:
    """The settings with as many seeds, the first unchanged."""
    return [replace(config, seed=config.seed + number * SEED_STEP) for number in range(count)]


@dataclass(frozen=True, kw_only=True)
class SearchSpaceConfig:
    """Search space of the sweep; all defaults ours. Choices are one value for each population, ranges one for each of its candidates; a single choice
    or an empty range (``0.3 0.3``) fixes a setting.
    """

    hidden_dim: tuple[int, ...] = (64, 128, 256)
    """Choices for the width of the projections."""
    gate: tuple[Gate, ...] = ("frame", "dimension")
    """Choices for the gate."""
    rows_per_second: tuple[float, ...] = (5.0,)
    """Choices for the training frames per second. One by default: all frames cost six times as much, and neighboring frames are nearly the same."""
    head: tuple[Head, ...] = ()
    """Choices for the head; empty, the default, for that of ``sweep.fusion``: the temporal heads were worse on synthetic data (docs/method.md)."""
    dropout: tuple[float, float] = (0.0, 0.6)
    """Range of the dropout probability."""
    modality_dropout: tuple[float, float] = (0.0, 0.6)
    """Range of the modality dropout."""
    lr: tuple[float, float] = (1e-4, 1e-2)
    """Range of the learning rate, on a logarithmic scale."""
    weight_decay: tuple[float, float] = (1e-3, 0.3)
    """Range of the weight decay, on a logarithmic scale."""
    balancing_power: tuple[float, float] = (0.0, 1.0)
    """Range of the exponent of the class weights."""
    label_smoothing: tuple[float, float] = (0.0, 0.2)
    """Range of the label smoothing."""

    def __post_init__(self) -> None:
        """Reject an empty search space."""
        if not (self.hidden_dim and self.gate and self.rows_per_second):
            raise ConfigError("sweep.search_space: hidden_dim, gate and rows_per_second each need at least one value")
        for name in ("dropout", "modality_dropout", "lr", "weight_decay", "balancing_power", "label_smoothing"):
            low, high = getattr(self, name)
            if not (low > 0 if name in ("lr", "weight_decay") else low >= 0) or low > high:
                raise ConfigError(f"sweep.search_space.{name}={low} {high} must ascend, from {'above 0' if name in ('lr', 'weight_decay') else '0'}")


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Stage II: hyperparameter sweep, cross-validation folds and model selection. All defaults ours, not from the paper."""

    fusion: FusionConfig = field(default_factory=FusionConfig)
    """The unchanged settings: the first candidate, and every value that ``search_space`` does not vary."""
    search_space: SearchSpaceConfig = field(default_factory=SearchSpaceConfig)
    """Settings that the other trials vary."""
    trials: int = 8
    """Number of trials of Ray Tune. Each trains a population of candidates on one device; a larger sweep begins with the trials of a smaller one."""
    candidates: int = 8
    """Candidates that a trial trains together, of one architecture; the first of the first trial has the unchanged settings
    (``fusion``)."""
    ahead: int = 4
    """Trials that may run at the same time: the candidates of one are proposed from the results of those that lie at least this number before it, so
    they are the same on any number of devices."""
    unimodal: bool = True
    """Whether models of the face alone and of the voice alone are searched, each with as many trials as the fused model. Without it, they have the
    settings of the best fused model, which handicaps them."""
    halving: HalvingConfig = field(default_factory=HalvingConfig)
    """Early stopping of the worse candidates of a population."""
    min_gain_se: float = 1.0
    """Least gain in macro-F1 over the unchanged settings with which the candidate that has the highest score is used, in standard errors of the
    difference over recordings; 0 takes the highest score. After the one-standard-error rule of Breiman et al. (1984), with the error of the paired
    difference in place of that of the best score, and the unchanged settings in place of the simplest model: the highest of many scores is high by
    chance, too. With one recording there is no error, and the unchanged settings are used. The default is ours."""
    folds: int = 5
    """Number of folds, grouped by recording; the paper reports five."""
    final_seeds: int = 1
    """Seeds with which each final model is trained (the official one, those of the folds, and those of one modality); their probabilities are
    averaged. The search has one seed, and so have the scores on which the official model's epochs, smoothing and calibration are selected; those of
    the folds are selected on the averages. The default is ours: a single model, as in the paper."""
    fold_repeats: int = 1
    """Assignments of folds with which the protocol ``cv`` is scored; the models and the selection are those of the first."""
    seed: int = 0
    """Seed of the folds and of the sampled trials."""
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    """Whether a bias per class is fitted on out-of-fold scores."""
    smoothing: SmoothingGridConfig = field(default_factory=SmoothingGridConfig)
    """Smoothing grid, evaluated on the out-of-fold scores of each trial."""

    def __post_init__(self) -> None:
        """Reject sweeps without trials, candidates or folds, and choices of which no model can be made."""
        for name, least in (("trials", 1), ("candidates", 1), ("ahead", 1), ("folds", 2), ("final_seeds", 1), ("fold_repeats", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"sweep.{name}={getattr(self, name)} must be at least {least}")
        if not 0 <= self.min_gain_se < math.inf:
            raise ConfigError(f"sweep.min_gain_se={self.min_gain_se} must be a finite number from 0; 0 takes the candidate with the highest score")
        space = self.search_space
        for width, gate, rate, head in product(space.hidden_dim, space.gate, space.rows_per_second, space.head or (self.fusion.head,)):
            replace(self.fusion, hidden_dim=width, gate=gate, rows_per_second=rate, head=head)  # refuses what does not fit together
