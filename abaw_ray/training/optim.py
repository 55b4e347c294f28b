"""Which parameter learns how fast, and how that changes from step to step.

Takes named parameters and the depth of each; knows neither the model nor the engine that takes the steps.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from abaw_ray.core.errors import ConfigError


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


def rate_share(step: int, steps: int, config: OptimConfig) -> float:
    """Share of the peak rate at a step: linear warm-up, then half a cosine down to ``final`` at the last step.

    Args:
        step: From 0.
        steps: Of the whole run.
        config: ``warmup`` and ``final`` are read.
    """
    warm = math.ceil(config.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    done = min(1.0, (step - warm) / max(1, steps - 1 - warm))
    return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]],
    config: OptimConfig,
    *,
    layer_of: Callable[[str], int],
    layers: int,
    no_decay: Callable[[str, nn.Parameter], bool] | None = None,
) -> list[dict]:
    """Sort trainable parameters into groups of one rate and one weight decay each, lowest layer first.

    Args:
        named: Names and parameters, as of ``nn.Module.named_parameters``; frozen ones are left out.
        config: Peak rate and decays.
        layer_of: Layer of a parameter's name, 0 for the input's side.
        layers: Number of layers; the last one learns with the full rate.
        no_decay: Further parameters without weight decay; vectors and biases never have one.

    Returns:
        Groups for an optimiser, each with its ``peak`` rate, which ``set_rates`` reads.
    """
    groups: dict[tuple[float, float], dict] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        free = parameter.ndim <= 1 or name.endswith("bias") or (no_decay is not None and no_decay(name, parameter))
        peak = config.lr * config.layer_decay ** (layers - 1 - layer_of(name))
        decay = 0.0 if free else config.weight_decay
        group = groups.setdefault((peak, decay), {"params": [], "lr": peak, "peak": peak, "weight_decay": decay})
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def make_adamw(groups: list[dict], config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the groups, as one fused operation a group: the plain loop over tensors costs three times as much on a CPU."""
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def set_rates(groups: Iterable[dict], share: float) -> None:
    """Give every group its peak rate times ``share``."""
    for group in groups:
        group["lr"] = group["peak"] * share
