"""Precision of the products in training and in the scores after an epoch."""

import torch

from abaw_ray.fusion.config import FusionConfig


def is_bf16(config: FusionConfig, device: torch.device) -> bool:
    """Whether products are computed in bfloat16 on this device."""
    return config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")


def training_precision(config: FusionConfig, device: torch.device) -> torch.autocast:
    """Autocast to bfloat16, or none; weights, gradients and optimizer stay in single precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=is_bf16(config, device))
