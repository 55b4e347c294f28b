"""Settings of a model -> size and normalization of its input, which are timm's own for the model where the settings leave them open.

Weights work as they were trained only with the normalization of their training: ImageNet's for DINOv2 and DINOv3, 0.5 for SigLIP, CLIP's own.
"""

from typing import NamedTuple

from timm.models import PretrainedCfg, get_pretrained_cfg

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.config import ModelConfig


class Preprocessing(NamedTuple):
    """Size and normalization of a model's input."""

    img_size: int
    """Side in pixels."""
    mean: tuple[float, float, float]
    """Mean of red, green, blue in 0..1."""
    std: tuple[float, float, float]
    """Standard deviation of red, green, blue."""


def preprocessing_of(config: ModelConfig) -> Preprocessing:
    """Size and normalization of the input of a model.

    Raises:
        ConfigError: timm has no such model.
    """
    pretrained = pretrained_config(config.name)
    (_, height, width), mean, std = pretrained.input_size, pretrained.mean, pretrained.std
    red, green, blue = config.mean or mean
    deviations = config.std or std
    return Preprocessing(config.img_size or max(height, width), (red, green, blue), (deviations[0], deviations[1], deviations[2]))


def pretrained_config(name: str) -> PretrainedCfg:
    """The configuration of a model's weights in timm: normalization, input size, and their repository on the model hub.

    Raises:
        ConfigError: timm has no such model.
    """
    try:
        found = get_pretrained_cfg(name)
    except RuntimeError as error:  # timm has the architecture, and no such weights
        raise ConfigError(f"encoder.model.name={name}: {error} Leave the part after the dot out, or correct it") from error
    return found or PretrainedCfg()
