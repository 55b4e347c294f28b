"""Parameter groups with layer-wise learning rate decay, the AdamW optimizer, and the learning rate schedule.

Input: named parameters and the layer of each. Independent of the model and of the engine that takes the steps.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from abaw_ray.training.config import OptimConfig


def lr_multiplier(step: int, total_steps: int, config: OptimConfig) -> float:
    """Learning rate of a step as a fraction of the peak: linear warmup, then cosine decay to ``min_lr_ratio`` at the last step.

    Args:
        step: Index of the step, from 0.
        total_steps: Steps of the whole run.
        config: ``warmup_ratio`` and ``min_lr_ratio`` are read.
    """
    warmup_steps = math.ceil(config.warmup_ratio * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps))
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]],
    config: OptimConfig,
    *,
    layer_of: Callable[[str], int],
    layers: int,
    no_decay: Callable[[str, nn.Parameter], bool] | None = None,
) -> list[dict]:
    """Groups of trainable parameters with one learning rate and one weight decay each, lowest layer first.

    Args:
        named: Names and parameters, as from ``nn.Module.named_parameters``; frozen parameters are left out.
        config: Peak learning rate and decays.
        layer_of: Layer of a parameter's name; 0 is the input side.
        layers: Number of layers; the last one has the full learning rate.
        no_decay: Selects further parameters without weight decay; vectors and biases never have one.

    Returns:
        Parameter groups for an optimizer, each with its ``peak_lr``, which ``set_learning_rates`` reads.
    """
    groups: dict[tuple[float, float], dict] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        undecayed = parameter.ndim <= 1 or name.endswith("bias") or (no_decay is not None and no_decay(name, parameter))
        peak_lr = config.lr * config.layer_decay ** (layers - 1 - layer_of(name))
        weight_decay = 0.0 if undecayed else config.weight_decay
        group = groups.setdefault((peak_lr, weight_decay), {"params": [], "lr": peak_lr, "peak_lr": peak_lr, "weight_decay": weight_decay})
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def make_adamw(param_groups: list[dict], config: OptimConfig) -> torch.optim.AdamW:
    """Fused AdamW over the groups; the implementation that loops over tensors takes three times as long on a CPU."""
    return torch.optim.AdamW(param_groups, lr=config.lr, betas=config.betas, fused=True)


def set_learning_rates(param_groups: Iterable[dict], multiplier: float) -> None:
    """Set the learning rate of every group to its peak times ``multiplier``."""
    for group in param_groups:
        group["lr"] = group["peak_lr"] * multiplier
