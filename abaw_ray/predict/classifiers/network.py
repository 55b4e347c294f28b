"""A folder with ``config.json`` and ``model.safetensors`` -> the network of an image classifier, in float32 and evaluation mode."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForImageClassification

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.features.pretrained import without_progress_bar
from abaw_ray.predict.classifiers.source import CONFIG_FILE
from abaw_ray.predict.config import Framework


class Classifier(nn.Module):
    """A network of timm or transformers with one call."""

    def __init__(self, network: nn.Module, framework: Framework) -> None:
        super().__init__()
        self.network: Any = network
        self.framework = framework

    def forward(self, pixels: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n classes"]:
        """Logits of normalized RGB pixels."""
        return self.network(pixels) if self.framework == "timm" else self.network(pixel_values=pixels).logits


def framework_of(config: dict[str, Any], source: str) -> Framework:
    """The library whose ``config.json`` this is.

    Raises:
        ConfigError: it is of neither.
    """
    if "architecture" in config:
        return "timm"
    if "model_type" in config:
        if config.get("problem_type") == "multi_label_classification":
            raise ConfigError(f"{source}: predicts several labels for one image; a classifier with one label per image is needed")
        return "transformers"
    raise ConfigError(f"{source}: its {CONFIG_FILE} names no architecture of timm ('architecture') or transformers ('model_type'); add it")


def load_network(folder: Path, framework: Framework, source: str) -> Classifier:
    """The network; nothing is downloaded, and no code of the folder is run.

    Args:
        folder: A folder with both files.
        framework: The library that builds it.
        source: Name of the classifier, for messages.

    Raises:
        DataError: the library has no such architecture, or the weights do not fit it.
    """
    try:
        network = _load_timm(folder) if framework == "timm" else _load_transformers(folder)
    except (RuntimeError, ValueError, KeyError, TypeError, OSError, AttributeError, AssertionError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{source}: {framework} cannot load it: {reason}; check {CONFIG_FILE} and the weights") from error
    return Classifier(network, framework).eval()


def _load_timm(folder: Path) -> nn.Module:
    if not timm.is_model(name := str(json.loads((folder / CONFIG_FILE).read_text())["architecture"])):
        raise ValueError(f"it has no architecture '{name}'")
    network: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, pretrained_cfg_overlay={"custom_load": False})
    stated = network.pretrained_cfg
    if network.num_classes != stated["num_classes"] or stated.get("label_offset"):  # timm would then have left out saved weights of the last layer
        raise ValueError(f"it states {stated['num_classes']} classes and builds {network.num_classes}")
    return network


def _load_transformers(folder: Path) -> nn.Module:
    with without_progress_bar():
        network, info = AutoModelForImageClassification.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    if lacking := [*info["missing_keys"], *info["mismatched_keys"]]:
        raise ValueError(f"{len(lacking)} weights are missing or of another shape, such as {sorted(map(str, lacking))[0]}")
    return network
