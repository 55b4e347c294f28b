"""The preparation of a classifier's input, from the settings that timm and transformers save: sizes, filter, rescaling, mean and standard deviation.

Input of the network: the square crop of a face, resized to ``resize`` pixels, of which the center of ``input_size`` pixels is used.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from timm.data.config import resolve_model_data_config
from torch import nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize

from abaw_ray.core.errors import ConfigError
from abaw_ray.predict.classifiers.source import PREPROCESSOR_FILE
from abaw_ray.predict.config import ClassifierConfig

_SMALL_EDGE = 384
"""Pixels from which transformers ignores ``crop_pct``."""
_FILTERS = {int(value): value.name.lower() for value in Image.Resampling}
"""The numbers of filters in transformers' settings."""


def resize_and_crop(crop: UInt8[np.ndarray, "side side 3"], config: ClassifierConfig) -> UInt8[np.ndarray, "size size 3"]:
    """The network's input before rescaling, from the square crop of a face at any resolution."""
    if len(crop) != config.resize:
        crop = _resize(crop, config)
    first = round((config.resize - config.input_size) / 2)
    return crop[first : first + config.input_size, first : first + config.input_size]


def _resize(crop: UInt8[np.ndarray, "side side 3"], config: ClassifierConfig) -> UInt8[np.ndarray, "size size 3"]:
    """Resized by the framework's own library: the two round differently, in one of a hundred pixels by one."""
    size = (config.resize, config.resize)
    if config.framework == "transformers" and config.interpolation in ("bilinear", "bicubic"):
        mode = InterpolationMode(config.interpolation)
        return resize(torch.from_numpy(crop).permute(2, 0, 1), list(size), mode, antialias=True).permute(1, 2, 0).numpy()
    return np.asarray(Image.fromarray(crop).resize(size, Image.Resampling[config.interpolation.upper()]))


def timm_preprocessing(network: nn.Module, source: str) -> dict[str, Any]:
    """Fields of ``ClassifierConfig``, from the settings in timm's ``pretrained_cfg``.

    Raises:
        ConfigError: the input is not a square of three channels.
    """
    config = resolve_model_data_config(network)
    channels, height, width = config["input_size"]
    if channels != 3:
        raise ConfigError(f"{source}: takes images of {channels} channels; only classifiers of RGB images can be imported")
    return {
        "input_size": _side({"height": height, "width": width}, source),
        "resize": math.floor(height / config["crop_pct"]),
        "interpolation": _known_filter(config["interpolation"], source),
        "mean": tuple(map(float, config["mean"])),
        "std": tuple(map(float, config["std"])),
    }


def transformers_preprocessing(settings: dict[str, Any] | None, source: str) -> dict[str, Any]:
    """Fields of ``ClassifierConfig``, from the content of ``preprocessor_config.json``.

    Raises:
        ConfigError: there is no such file, or it states a step that is not supported.
    """
    if settings is None:
        raise ConfigError(f"{source}: has no {PREPROCESSOR_FILE}, so its normalization is not known; add the file of its image processor")
    if settings.get("rescale_offset") or settings.get("include_top") or "size" not in settings or not settings.get("do_resize", True):
        raise ConfigError(
            f"{source}: its {PREPROCESSOR_FILE} has no size, or a step other than resize, crop, rescale, normalize; import cannot use it"
        )
    resize = input_size = _side(settings["size"], source)
    if settings.get("crop_pct") and resize < _SMALL_EDGE:
        resize = int(resize / settings["crop_pct"])
    if settings.get("do_center_crop") and settings.get("crop_size"):
        input_size = _side(settings["crop_size"], source)
    normalize, rescale = settings.get("do_normalize", True), settings.get("do_rescale", True)
    if normalize and not {"image_mean", "image_std"} <= settings.keys():
        raise ConfigError(f"{source}: its {PREPROCESSOR_FILE} has no image_mean and image_std; add them, or do_normalize: false")
    return {
        "resize": resize,
        "input_size": input_size,
        "rescale": float(settings.get("rescale_factor", 1 / 255)) if rescale else 1.0,
        "mean": _channels(settings["image_mean"], source) if normalize else (0.0,) * 3,
        "std": _channels(settings["image_std"], source) if normalize else (1.0,) * 3,
        "interpolation": _known_filter(_FILTERS.get(settings.get("resample", Image.Resampling.BILINEAR), "unknown"), source),
    }


def _known_filter(name: str, source: str) -> str:
    if name not in _FILTERS.values():
        raise ConfigError(f"{source}: resizes images by the filter '{name}'; only {', '.join(_FILTERS.values())} can be imported")
    return name


def _side(size: Any, source: str) -> int:
    """The side in pixels of a square, in one of the forms that transformers saves."""
    if isinstance(size, dict):
        sides = {size[key] for key in ("height", "width", "shortest_edge", "longest_edge") if size.get(key)}
    else:
        sides = set(size) if isinstance(size, list | tuple) else {size}
    if len(sides) != 1 or not isinstance(side := sides.pop(), int):
        raise ConfigError(f"{source}: takes images of {size}; only classifiers of square images of a fixed size can be imported")
    return side


def _channels(values: Any, source: str) -> tuple[float, ...]:
    """One value per channel; transformers also saves one for all."""
    if isinstance(values, int | float):
        return (float(values),) * 3
    if len(values) != 3:
        raise ConfigError(f"{source}: normalizes {len(values)} channels; only classifiers of RGB images can be imported")
    return tuple(map(float, values))
