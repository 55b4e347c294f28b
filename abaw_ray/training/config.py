"""Settings of the loss and of the optimizer, without tensor libraries: a command that only reads settings starts quickly."""

from dataclasses import dataclass
from typing import Literal

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Cross-entropy and the handling of class imbalance. The paper says only "cross-entropy"; all values are ours."""

    class_balancing: Literal["weights", "logits", "none"] = "weights"
    """``weights``: the weight of a sample is n_max / n_c (several winners of earlier ABAW competitions). ``logits``: logit adjustment, log
    priors are added to the logits in training only (Menon et al., Long-tail learning via logit adjustment, ICLR 2021). ``none``: neither."""
    balancing_power: float = 1.0
    """Exponent of the class weights, or factor of the log priors; 0 equals ``none``."""
    label_smoothing: float = 0.1
    """Fraction of a label's probability that is spread over all classes."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"loss.label_smoothing={self.label_smoothing} must be at least 0 and below 1")
        if self.balancing_power < 0:
            raise ConfigError(f"loss.balancing_power={self.balancing_power} must not be negative")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with layer-wise learning rate decay, linear warmup and cosine decay. All values are ours: the paper publishes none."""

    lr: float = 2e-5
    """Peak learning rate of the topmost layer."""
    layer_decay: float = 0.75
    """Factor of the learning rate from each layer to the one below it; use 1 to train a model from scratch."""
    weight_decay: float = 0.05
    """Decoupled weight decay of matrices; biases, norms, tokens and position embeddings have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates of the averages of gradient and squared gradient."""
    warmup_ratio: float = 0.1
    """Fraction of all steps in which the learning rate rises from 0 to ``lr``."""
    min_lr_ratio: float = 0.01
    """Learning rate of the last step as a fraction of ``lr``."""
    max_grad_norm: float = 1.0
    """Gradient clipping: largest norm of the gradient of a step; 0 disables clipping."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.lr <= 0:
            raise ConfigError(f"optim.lr={self.lr} must be above 0")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"optim.layer_decay={self.layer_decay} must be above 0 and at most 1")
        for name in ("warmup_ratio", "min_lr_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"optim.{name}={getattr(self, name)} must lie between 0 and 1")
        if self.weight_decay < 0 or self.max_grad_norm < 0:
            raise ConfigError(f"optim.weight_decay={self.weight_decay} and optim.max_grad_norm={self.max_grad_norm} must not be negative")
