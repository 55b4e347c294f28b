"""Which parameter learns how fast, and how that changes from step to step.

Takes named parameters and the depth of each; knows neither the model nor the engine that takes the steps.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from abaw_ray.training.config import OptimConfig


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
