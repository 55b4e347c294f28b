"""Settings of the search of Stage I's hyperparameters, without tensor libraries. The paper publishes none of the values; all are ours."""

from dataclasses import dataclass, field

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EncoderSearchSpaceConfig:
    """What the trials vary; the first trial has the settings of ``encoder`` unchanged."""

    lr: tuple[float, float] = (5e-6, 2e-4)
    """Range of ``encoder.optim.lr``, sampled log-uniformly."""
    layer_decay: tuple[float, ...] = (0.65, 0.75, 0.85, 0.95)
    """Choices for ``encoder.optim.layer_decay``."""
    strength: tuple[float, ...] = (0.5, 1.0, 1.5)
    """Choices for ``encoder.augment.strength``."""

    def __post_init__(self) -> None:
        """Refuse an empty search space."""
        if not (self.layer_decay and self.strength) or not 0 < self.lr[0] <= self.lr[1]:
            raise ConfigError(f"search.space: layer_decay and strength need a value each, and lr={self.lr} must ascend from above 0")


@dataclass(frozen=True, kw_only=True)
class EncoderSearchConfig:
    """A search on a subset of the training images: trials with poor scores are stopped early (Li et al., ASHA, MLSys 2020)."""

    space: EncoderSearchSpaceConfig = field(default_factory=EncoderSearchSpaceConfig)
    """What the trials vary."""
    trials: int = 16
    """Number of trials."""
    images: int = 20_000
    """Training images of a trial, a random subset that is the same for all; the validation images are all of them."""
    epochs: int = 6
    """Passes of a trial over its images; ``encoder.epochs`` is not used. The schedule of the learning rate ends with the last one."""
    grace_epochs: int = 1
    """Passes before a trial may be stopped."""
    reduction: int = 3
    """Fraction of the trials that continue after ``grace_epochs`` passes, and after each ``reduction`` times as many: one in this number."""
    seed: int = 0
    """Seed of the subset and of the candidates."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("trials", "images", "epochs", "grace_epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"search.{name}={getattr(self, name)} must be at least 1")
        if self.grace_epochs > self.epochs or self.reduction < 2:
            raise ConfigError(
                f"search.grace_epochs={self.grace_epochs} must not exceed epochs={self.epochs}, search.reduction={self.reduction} must be at least 2"
            )
