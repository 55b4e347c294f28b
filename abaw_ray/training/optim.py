"""Parameter groups with layer-wise learning rate decay, the AdamW optimizer, and the learning rate schedule.

Input: named parameters and the layer of each. Independent of the model and of the engine that takes the steps.
"""

import math
from collections.abc import Callable, Iterable
from operator import itemgetter

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
    """Two groups of trainable parameters, with and without weight decay; the learning rates of the layers are ``lr_scales`` of their group.

    Args:
        named: Names and parameters, as from ``nn.Module.named_parameters``; frozen parameters are left out.
        config: Peak learning rate and decays.
        layer_of: Layer of a parameter's name; 0 is the input side.
        layers: Number of layers; the last one has the full learning rate.
        no_decay: Selects further parameters without weight decay; vectors and biases never have one.

    Returns:
        Parameter groups for ``SlicedAdamW``, each with its ``peak_lr``, which ``set_learning_rates`` reads; none is empty. Within a group, parameters
        are in the order of their layers, so that a flat tensor of the group has few ranges of one rate.
    """
    found: dict[float, list[tuple[int, nn.Parameter]]] = {config.weight_decay: [], 0.0: []}
    for name, parameter in named:
        if parameter.requires_grad:
            undecayed = parameter.ndim <= 1 or name.endswith("bias") or (no_decay is not None and no_decay(name, parameter))
            found[0.0 if undecayed else config.weight_decay].append((layer_of(name), parameter))
    return [_group(sorted(members, key=itemgetter(0)), weight_decay, layers, config) for weight_decay, members in found.items() if members]


def _group(members: list[tuple[int, nn.Parameter]], weight_decay: float, layers: int, config: OptimConfig) -> dict:
    scales = [config.layer_decay ** (layers - 1 - layer) for layer, _ in members]
    return {
        "params": [parameter for _, parameter in members],
        "lr_scales": scales,
        "lr": config.lr,
        "peak_lr": config.lr,
        "weight_decay": weight_decay,
    }


def set_learning_rates(param_groups: Iterable[dict], multiplier: float) -> None:
    """Set the learning rate of every group to its peak times ``multiplier``."""
    for group in param_groups:
        group["lr"] = group["peak_lr"] * multiplier
