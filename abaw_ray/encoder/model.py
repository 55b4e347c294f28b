"""The encoder: RGB pixels -> one vector per image. It is built here, and saved and loaded in ``checkpoint``; the head is in ``moe``, the training
step in ``task``.

The encoder is a plain vision Transformer of timm (its classes ``VisionTransformer`` and ``Eva``: DINOv2 and DINOv3, SigLIP, CLIP, EVA-02, ...) that
includes the normalization of pixels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.weights import WeightsSource
from abaw_ray.encoder.config import ModelConfig, Pool
from abaw_ray.encoder.memory import EncoderShape
from abaw_ray.encoder.vit.preprocessing import Preprocessing, preprocessing_of, pretrained_config

_WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of timm's files of weights."""
_REMEDY = "set encoder.model.weights to the path or URI of a file of weights, to a repository on the model hub, or to random"


class Encoder(nn.Module):
    """A timm vision Transformer that includes the normalization of its uint8 input."""

    def __init__(
        self,
        vit: nn.Module,
        preprocessing: Preprocessing,
        *,
        pool: Pool = "own",
        name: str = "",
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        """Wrap the model; the mean and standard deviation of pixels are not parameters and are not saved with the weights.

        Args:
            vit: The model, without a classifier.
            preprocessing: Size and normalization of its input.
            pool: As in ``ModelConfig.pool``.
            name: Its name in timm.
            model_args: Arguments of ``timm.create_model`` that build it again.

        Raises:
            ConfigError: it is no plain vision Transformer with square images, or has no class token where ``pool`` needs one.
        """
        super().__init__()
        self.vit: Any = vit
        self.preprocessing, self.pool, self.name, self.model_args = preprocessing, pool, name, dict(model_args or {})
        _check_vit(self.vit, preprocessing.img_size, pool, name)
        self.img_size, self.depth = preprocessing.img_size, len(self.vit.blocks)
        self.dim: int = int(self.vit.num_features) * (2 if pool == "cls_mean" else 1)
        self._normalization: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def forward(self, pixels: Shaped[Tensor, "n 3 size size"]) -> Float[Tensor, "n dim"]:
        """Vectors of RGB images.

        Args:
            pixels: uint8, red first.

        Raises:
            TypeError: the pixels are not uint8, so their range is unknown.
        """
        if pixels.dtype != torch.uint8:
            raise TypeError(f"the encoder takes uint8 RGB pixels and normalizes them itself, got {pixels.dtype}")
        mean, std = self._mean_and_std(pixels.device)
        normalized = ((pixels.float() - mean) / std).to(next(self.vit.parameters()).dtype)
        return self.vit(normalized) if self.pool == "own" else self._class_token_and_mean(normalized)

    def _class_token_and_mean(self, normalized: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n dim"]:
        """Class token and mean of the patch tokens, after the model's last norm."""
        tokens = self.vit.forward_features(normalized)
        both = torch.stack([tokens[:, 0], tokens[:, self.vit.num_prefix_tokens :].mean(dim=1)], dim=1)
        return self.vit.fc_norm(both).flatten(1)  # models that pool by the mean have their last norm after it, all others have none there

    @property
    def shape(self) -> EncoderShape:
        """Sizes that determine the memory of a pass."""
        return EncoderShape(self.depth, self.vit.patch_embed.num_patches + self.vit.num_prefix_tokens, self.vit.embed_dim)

    def has_no_weight_decay(self, name: str) -> bool:
        """Whether timm lists a parameter of its model as one without weight decay: position embeddings and tokens."""
        return name in self.vit.no_weight_decay()

    def recompute_activations(self) -> None:
        """Recompute each block's activations in the backward pass: less memory, a third more computation."""
        self.vit.set_grad_checkpointing()

    def _mean_and_std(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of pixel values 0..255; not buffers, because DeepSpeed would convert those to bf16 with the weights."""
        if device not in self._normalization:
            mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) * 255 for values in (self.preprocessing.mean, self.preprocessing.std))
            self._normalization[device] = (mean, std)
        return self._normalization[device]


def _check_vit(vit: Any, img_size: int, pool: Pool, name: str) -> None:
    if not all(hasattr(vit, attribute) for attribute in ("blocks", "patch_embed", "num_prefix_tokens", "fc_norm", "no_weight_decay")):
        raise ConfigError(f"encoder.model.name={name}: is no plain vision Transformer of timm; choose a vit_*, deit3_* or eva02_* model")
    patch = vit.patch_embed.patch_size
    if patch[0] != patch[1] or img_size % patch[0]:
        raise ConfigError(f"encoder.model.img_size={img_size} is no multiple of the patch size of {name}, {patch[0]} pixels")
    if pool == "cls_mean" and getattr(vit, "cls_token", None) is None:
        raise ConfigError(f"encoder.model.pool=cls_mean: {name} has no class token; choose own")


def check_architecture(config: ModelConfig) -> None:
    """Refuse a model that timm does not have or cannot build with these sizes; no memory is used for its weights.

    Raises:
        ConfigError: timm has no model of this name (similar names are suggested), it is no plain vision Transformer, or it does not accept the sizes.
    """
    architecture = config.name.partition(".")[0]
    if not timm.is_model(architecture):
        similar = timm.list_models(f"{architecture[:12]}*")[:3]
        raise ConfigError(f"encoder.model.name={config.name}: timm has no such model; similar names are {', '.join(similar) or 'none'}")
    with torch.device("meta"):
        _assemble(config, lambda arguments: timm.create_model(architecture, **arguments))


def parameters_and_shape(architecture: str, arguments: Mapping[str, Any]) -> tuple[int, EncoderShape]:
    """Number of parameters and sizes of a vision Transformer of timm; no memory is used for its weights.

    Args:
        architecture: Its name in timm, which has it.
        arguments: Arguments of ``timm.create_model``.
    """
    with torch.device("meta"):
        vit: Any = timm.create_model(architecture, **arguments)
    tokens = vit.patch_embed.num_patches + vit.num_prefix_tokens
    return sum(parameter.numel() for parameter in vit.parameters()), EncoderShape(len(vit.blocks), tokens, vit.embed_dim)


def weights_source(config: ModelConfig, storage: StorageConfig | None = None) -> WeightsSource:
    """Where the initial weights come from; ``hub`` is timm's own repository of the model.

    Args:
        config: The model.
        storage: Settings of object stores, for a URI.
    """
    repository = pretrained_config(config.name).hf_hub_id or ""
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
    source = weights_source(config, storage)
    check_architecture(config)
    if source.is_random:
        return _assemble(config, lambda arguments: _with_random_weights(config, arguments))
    return _assemble(config, lambda arguments: _with_loaded_weights(config, source, arguments))


def _assemble(config: ModelConfig, create: Callable[[dict], nn.Module]) -> Encoder:
    """The encoder around the model that ``create`` makes from the arguments for timm."""
    preprocessing = preprocessing_of(config)
    stored = config.timm_arguments(preprocessing.img_size)
    arguments = {**stored, "drop_path_rate": config.drop_path_rate}
    try:
        vit = create(arguments)
    except (TypeError, AssertionError) as error:
        raise ConfigError(f"encoder.model: timm cannot build {config.name} with {arguments}: {error}") from error
    return Encoder(vit, preprocessing, pool=config.pool, name=config.name, model_args=stored)


def _with_random_weights(config: ModelConfig, arguments: dict) -> nn.Module:
    vit: Any = timm.create_model(config.name, **arguments)
    if config.pos_embed_std is not None and getattr(vit, "pos_embed", None) is not None:
        vit.init_weights("jax")
        nn.init.normal_(vit.pos_embed, std=config.pos_embed_std)
    return vit


def _with_loaded_weights(config: ModelConfig, source: WeightsSource, arguments: dict) -> nn.Module:
    """The model with weights from a file that has all of its tensors, and possibly its classifier, which is left out."""
    errors = []
    with source.local_file(*_WEIGHTS_FILES) as local:
        # timm accepts a file that lacks tensors where its numbers of classes differ, so each is tried with an equal number.
        for classes in dict.fromkeys((0, pretrained_config(config.name).num_classes)):
            overlay = {"file": str(local), "num_classes": classes}
            try:
                vit: Any = timm.create_model(config.name, pretrained=True, pretrained_cfg_overlay=overlay, **{**arguments, "num_classes": classes})
                vit.reset_classifier(0)
                return vit
            except (RuntimeError, OSError, KeyError) as error:
                errors.append(error)
    reason = " ".join(str(errors[0]).split())[:200]
    raise DataError(f"encoder.model.weights={config.weights}: cannot be loaded into {config.name}: {reason}") from errors[0]


def layer_of(name: str) -> int | None:
    """Layer of a timm parameter for learning rate decay: 0 for embeddings, 1 and up for blocks, None for parameters after the blocks."""
    parts = name.split(".")
    if "blocks" in parts:
        return 1 + int(parts[parts.index("blocks") + 1])
    embeddings = ("patch_embed", "pos_embed", "cls_token", "reg_token", "dist_token", "norm_pre", "rope")
    return 0 if any(part in embeddings for part in parts) else None
