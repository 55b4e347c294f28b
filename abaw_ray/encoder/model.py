"""The encoder: RGB pixels -> one vector per image. It is built here, and saved and loaded in ``checkpoint``; the head is in ``moe``, the training
step in ``task``.

The encoder is a timm model that includes the normalisation of pixels.
"""

from typing import Any

import timm
import torch
from jaxtyping import Float, Shaped
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.weights import WeightsSource
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.encoder.memory import EncoderShape

_WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of timm's files of weights."""
_REMEDY = "set encoder.model.weights to the path or URI of a file of weights, to a repository on the model hub, or to random"


class Encoder(nn.Module):
    """A timm vision Transformer that includes the normalisation of its uint8 input."""

    def __init__(self, vit: nn.Module, config: ModelConfig) -> None:
        """Wrap the model; the mean and standard deviation of pixels are not parameters and are not saved with the weights."""
        super().__init__()
        self.vit: Any = vit
        self.config = config
        self.img_size, self.dim, self.depth = config.img_size, int(self.vit.num_features), len(self.vit.blocks)
        self._normalisation: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def forward(self, pixels: Shaped[Tensor, "n 3 size size"]) -> Float[Tensor, "n dim"]:
        """Vectors of RGB images.

        Args:
            pixels: uint8, red first.

        Raises:
            TypeError: the pixels are not uint8, so their range is unknown.
        """
        if pixels.dtype != torch.uint8:
            raise TypeError(f"the encoder takes uint8 RGB pixels and normalises them itself, got {pixels.dtype}")
        mean, std = self._mean_and_std(pixels.device)
        return self.vit(((pixels.float() - mean) / std).to(next(self.vit.parameters()).dtype))

    @property
    def shape(self) -> EncoderShape:
        """Sizes that determine the memory of a pass."""
        return EncoderShape(self.depth, self.vit.patch_embed.num_patches + self.vit.num_prefix_tokens, self.vit.embed_dim)

    def recompute_activations(self) -> None:
        """Recompute each block's activations in the backward pass: less memory, a third more computation."""
        self.vit.set_grad_checkpointing()

    def _mean_and_std(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of pixel values 0..255; not buffers, because DeepSpeed would convert those to bf16 with the weights."""
        if device not in self._normalisation:
            mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) * 255 for values in (self.config.mean, self.config.std))
            self._normalisation[device] = (mean, std)
        return self._normalisation[device]


def check_architecture(config: ModelConfig) -> None:
    """Refuse a name that is not among timm's models.

    Raises:
        ConfigError: timm has no model of this name; similar names are suggested.
    """
    architecture = config.name.partition(".")[0]
    if not timm.is_model(architecture):
        similar = timm.list_models(f"{architecture[:12]}*")[:3]
        raise ConfigError(f"encoder.model.name={config.name}: timm has no such model; similar names are {', '.join(similar) or 'none'}")


def weights_source(config: ModelConfig, storage: StorageConfig | None = None) -> WeightsSource:
    """Where the initial weights come from; ``hub`` is timm's own repository of the model.

    Args:
        config: The model.
        storage: Settings of object stores, for a URI.
    """
    pretrained = get_pretrained_cfg(config.name)
    repository = pretrained.hf_hub_id if pretrained and pretrained.hf_hub_id else ""
    setting, storage = "encoder.model.weights", storage or StorageConfig()
    return WeightsSource(setting=setting, value=config.weights, repository=repository, remedy=_REMEDY, storage=storage)


def check_weights(config: ModelConfig, storage: StorageConfig) -> None:
    """Check that timm has the architecture and that its initial weights exist, without a download.

    Raises:
        ConfigError: the architecture or the weights do not exist, or the model hub does not respond.
        StorageError: the object store of the weights cannot be read.
    """
    check_architecture(config)
    weights_source(config, storage).check(*_WEIGHTS_FILES)


def build_encoder(config: ModelConfig, storage: StorageConfig | None = None) -> Encoder:
    """An encoder with its initial weights, in float32.

    Args:
        config: The model.
        storage: Settings of object stores, for weights at a URI.

    Raises:
        ConfigError: timm has no such model, the architecture does not accept these sizes, or the weights do not exist.
        DataError: the weights do not fit the architecture.
        StorageError: the object store could not be read after all retries.
    """
    check_architecture(config)
    arguments = {**config.timm_arguments(), "drop_path_rate": config.drop_path_rate}
    source = weights_source(config, storage)
    try:
        vit = _with_random_weights(config, arguments) if source.is_random else _with_loaded_weights(config, source, arguments)
    except (TypeError, AssertionError) as error:
        raise ConfigError(f"model: timm cannot build {config.name} with {arguments}: {error}") from error
    return Encoder(vit, config)


def _with_random_weights(config: ModelConfig, arguments: dict) -> nn.Module:
    vit: Any = timm.create_model(config.name, **arguments)
    if config.pos_embed_std is not None:
        vit.init_weights("jax")
        nn.init.normal_(vit.pos_embed, std=config.pos_embed_std)
    return vit


def _with_loaded_weights(config: ModelConfig, source: WeightsSource, arguments: dict) -> nn.Module:
    with source.local_file(*_WEIGHTS_FILES) as local:
        try:
            return timm.create_model(config.name, pretrained=True, pretrained_cfg_overlay={"file": str(local)}, **arguments)
        except (RuntimeError, OSError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"encoder.model.weights={config.weights}: cannot be loaded into {config.name}: {reason}") from error


def layer_of(name: str) -> int | None:
    """Layer of a timm parameter for learning rate decay: 0 for embeddings, 1 and up for blocks, None for parameters after the blocks."""
    parts = name.split(".")
    if "blocks" in parts:
        return 1 + int(parts[parts.index("blocks") + 1])
    embeddings = ("patch_embed", "pos_embed", "cls_token", "reg_token")
    return 0 if any(part in embeddings for part in parts) else None
