"""The encoder: RGB pixels in, one vector an image out. Built, saved and loaded here; the head and its training stand elsewhere.

It is a plain timm model with the normalisation in front. A saved encoder is a folder of ``model.safetensors`` with timm's own names and
``config.json`` with what ``timm.create_model`` needs, so it is of use without this package.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float, Shaped
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which timm model, and where its first weights come from. The architecture is the paper's, the rest ours."""

    name: str = "vit_large_patch14_dinov2.lvd142m"
    """A vision Transformer of timm."""
    size: int = 224
    """Side of the input in pixels, a multiple of the patch; position embeddings of pretrained weights are resampled to it."""
    width: int | None = None
    """Width of a small model of the same kind; none keeps the architecture's own, as its weights need."""
    depth: int | None = None
    """Blocks of a small model."""
    heads: int | None = None
    """Attention heads of a small model."""
    layer_scale: float | None = None
    """First value of LayerScale; none keeps the architecture's own (1e-5 for DINOv2, which suits pretrained weights), 0 leaves it out, as
    training from scratch needs."""
    drop_path: float = 0.1
    """Stochastic depth of the topmost block, growing from 0 at the lowest; in training only."""
    weights: str = "hub"
    """First weights: a path or URI of a safetensors or PyTorch file (timm's or DINOv2's own names), ``hub`` for timm's download, empty for
    random."""
    position_std: float | None = None
    """Standard deviation of random first position embeddings, with Xavier's first weights: at 0.3 a small model that learns from scratch
    leaves chance about three epochs earlier than from timm's own 0.02. None keeps timm's; pretrained weights are never touched. Ours."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of red, green, blue in 0..1, as DINOv2 was trained with."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of red, green, blue, as DINOv2 was trained with."""

    def __post_init__(self) -> None:
        """Refuse a name that timm does not know, or sizes that cannot be."""
        if not timm.is_model(self.name.partition(".")[0]):
            near = timm.list_models(f"{self.name.partition('.')[0][:12]}*")[:3]
            raise ConfigError(f"model.name={self.name}: timm has no such model; near are {', '.join(near) or 'none'}")
        if self.size < 1 or not 0 <= self.drop_path < 1 or min(self.std) <= 0:
            raise ConfigError(f"model.size={self.size} must be above 0, drop_path={self.drop_path} below 1 and std={self.std} above 0")

    def arguments(self) -> dict[str, Any]:
        """What ``timm.create_model`` takes beside the name: no classifier, the class token's vector comes out."""
        own = {"embed_dim": self.width, "depth": self.depth, "num_heads": self.heads}
        made = {"img_size": self.size, "num_classes": 0, **{key: value for key, value in own.items() if value is not None}}
        if self.layer_scale is not None:
            made["init_values"] = self.layer_scale  # 0.0, not None: timm drops arguments that are None
        return made


class Encoder(nn.Module):
    """A timm model with its normalisation in front."""

    def __init__(self, vit: nn.Module, config: ModelConfig) -> None:
        """Wrap the model; the normalisation is no parameter and is not saved with it."""
        super().__init__()
        self.vit, self.config = vit, config
        self.size, self.dim = config.size, int(vit.num_features)
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def forward(self, pixels: Shaped[Tensor, "n 3 size size"]) -> Float[Tensor, "n dim"]:
        """Vectors of RGB images.

        Args:
            pixels: uint8, red first.

        Raises:
            TypeError: the pixels are not uint8, so nobody can tell their range.
        """
        if pixels.dtype != torch.uint8:
            raise TypeError(f"the encoder takes uint8 RGB pixels and normalises them itself, got {pixels.dtype}")
        mean, std = self._normalisation(pixels.device)
        return self.vit(((pixels.float() - mean) / std).to(next(self.vit.parameters()).dtype))

    def _normalisation(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation of pixel values; no buffers, which an engine would turn to bf16 with the weights."""
        if device not in self._constants:
            both = (torch.tensor(values, device=device).view(1, 3, 1, 1) * 255 for values in (self.config.mean, self.config.std))
            self._constants[device] = tuple(both)
        return self._constants[device]


def build_encoder(config: ModelConfig) -> Encoder:
    """An encoder with its first weights, in float32.

    Raises:
        ConfigError: the architecture does not take these sizes.
        DataError: the weights are not there or do not fit.
        StorageError: the store that has them did not give them, however often it was asked.
    """
    arguments = {**config.arguments(), "drop_path_rate": config.drop_path}
    try:
        if config.weights == "hub":
            vit = _from_hub(config, arguments)
        elif config.weights:
            vit = _with_weights(config, arguments)
        else:
            vit = timm.create_model(config.name, **arguments)
            if config.position_std is not None:
                vit.init_weights("jax")
                nn.init.normal_(vit.pos_embed, std=config.position_std)
    except (TypeError, AssertionError) as error:
        raise ConfigError(f"model: timm cannot build {config.name} with {arguments}: {error}") from error
    return Encoder(vit, config)


def _from_hub(config: ModelConfig, arguments: dict) -> nn.Module:
    try:
        return timm.create_model(config.name, pretrained=True, **arguments)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120].rstrip(". ")
        todo = "give model.weights the path or URI of a file with them"
        raise DataError(f"model.weights=hub: {config.name} cannot be had from the model hub ({reason}); {todo}") from error


def _with_weights(config: ModelConfig, arguments: dict) -> nn.Module:
    folder, slash, name = config.weights.rpartition("/")
    try:
        with Storage(StorageConfig(uri=folder or slash or ".")).local_copy(name) as local:
            return timm.create_model(config.name, pretrained=True, pretrained_cfg_overlay={"file": str(local)}, **arguments)
    except FileNotFoundError as error:
        raise DataError(f"model.weights={config.weights}: no such file; give a path, 'hub' to download, or '' for random weights") from error
    except (RuntimeError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"model.weights={config.weights}: cannot be loaded into {config.name}: {reason}") from error


def save_encoder(folder: Path, encoder: Encoder) -> None:
    """Write ``model.safetensors`` (float32) and ``config.json`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = encoder.config
    weights = {name: value.detach().float().cpu().contiguous() for name, value in encoder.vit.state_dict().items()}
    save_file(weights, folder / MODEL_FILE)
    body = {
        "architecture": config.name,
        "arguments": config.arguments(),
        "size": config.size,
        "dim": encoder.dim,
        "mean": list(config.mean),
        "std": list(config.std),
        "pixels": "RGB, (value / 255 - mean) / std",
    }
    (folder / CONFIG_FILE).write_text(json.dumps(body, indent=1))


def load_encoder(folder: Path) -> Encoder:
    """A saved encoder, in evaluation mode.

    Raises:
        DataError: the folder does not hold a saved encoder.
    """
    for name in (CONFIG_FILE, MODEL_FILE):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: holds no {name}; give the folder that the encoder's training wrote")
    try:
        body = json.loads((folder / CONFIG_FILE).read_text())
        vit = timm.create_model(body["architecture"], pretrained=False, **body["arguments"])
        vit.load_state_dict(load_file(folder / MODEL_FILE))
    except (KeyError, ValueError, RuntimeError) as error:
        raise DataError(f"{folder}: is not a whole saved encoder: {' '.join(str(error).split())[:200]}") from error
    arguments = body["arguments"]
    config = ModelConfig(
        name=body["architecture"],
        size=body["size"],
        width=arguments.get("embed_dim"),
        depth=arguments.get("depth"),
        heads=arguments.get("num_heads"),
        layer_scale=(arguments["init_values"] or 0.0) if "init_values" in arguments else None,
        weights="",
        mean=tuple(body["mean"]),
        std=tuple(body["std"]),
    )
    return Encoder(vit, config).eval()


def layer_of(name: str) -> int | None:
    """Layer of a timm parameter's name for the decay of learning rates: 0 embeddings, 1.. blocks, none for what follows the blocks."""
    parts = name.split(".")
    if "blocks" in parts:
        return 1 + int(parts[parts.index("blocks") + 1])
    embeddings = ("patch_embed", "pos_embed", "cls_token", "reg_token")
    return 0 if any(part in embeddings for part in parts) else None
