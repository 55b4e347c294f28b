"""Settings of the loss and of the optimizer, without tensor libraries: a command that only reads settings starts quickly."""

from dataclasses import dataclass
from typing import Literal

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """How rare classes are heard. The paper says only "cross-entropy"; all values ours."""

    balance: Literal["weights", "logits", "none"] = "weights"
    """``weights``: each sample counts n_max / n_c (several first places of earlier ABAW competitions). ``logits``: log priors are
    added to the logits in training only (Menon et al., Long-tail learning via logit adjustment, ICLR 2021). ``none``: neither."""
    strength: float = 1.0
    """Exponent of the weights, or factor of the log priors; 0 is the same as ``none``."""
    smoothing: float = 0.1
    """Share of a label's mass that is spread over all classes."""

    def __post_init__(self) -> None:
        """Refuse shares outside of 0 and 1."""
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"loss.smoothing={self.smoothing} must be at least 0 and below 1")
        if self.strength < 0:
            raise ConfigError(f"loss.strength={self.strength} must not be negative")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with layer-wise decay of the learning rate, linear warm-up and a cosine down. All values ours: the paper publishes none."""

    lr: float = 2e-5
    """Learning rate of the topmost layer at its peak."""
    layer_decay: float = 0.75
    """Factor of the learning rate from each layer to the one below it; 1 when a model is trained from scratch."""
    weight_decay: float = 0.05
    """Decoupled weight decay of matrices; biases, norms, tokens and position embeddings have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's averages of gradient and squared gradient."""
    warmup: float = 0.1
    """Share of all steps in which the rate rises from 0 to ``lr``."""
    final: float = 0.01
    """Share of ``lr`` at the last step."""
    clip: float = 1.0
    """Largest norm of the whole gradient of a step; 0 for none."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot train."""
        if self.lr <= 0:
            raise ConfigError(f"optim.lr={self.lr} must be above 0")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"optim.layer_decay={self.layer_decay} must be above 0 and at most 1")
        for name in ("warmup", "final"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"optim.{name}={getattr(self, name)} is a share; it must lie between 0 and 1")
        if self.weight_decay < 0 or self.clip < 0:
            raise ConfigError(f"optim.weight_decay={self.weight_decay} and optim.clip={self.clip} must not be negative")
