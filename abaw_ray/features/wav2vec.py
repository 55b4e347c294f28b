"""A Wav2Vec 2.0 model: from its folder, from the model hub, or small with random weights; and samples -> its hidden states.

Which sounds go in, and what is made of the states, stands in ``speech``.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage import Storage, StorageConfig, is_remote

RANDOM = "random"
"""The name that stands for random weights."""
_FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, kw_only=True)
class RandomSpeech:
    """The small model with random weights: what a demo can have without a download. All values ours, found by trial on drawn voices."""

    seed: int = 0
    """Of the weights."""
    channels: int = 64
    """Width of the convolutions."""
    hidden: int = 96
    """Width of the Transformer, and so of a state."""
    layers: int = 2
    """Blocks of the Transformer."""
    kernels: tuple[int, ...] = (10, 8, 4, 4, 4)
    """Samples, then steps, that each convolution sees."""
    strides: tuple[int, ...] = (5, 4, 2, 2, 4)
    """Steps of each convolution; together 320 samples, so that a state comes every 20 ms, as in the published models."""
    norm: Literal["group", "layer"] = "layer"
    """``layer`` norms every state for itself; ``group``, as the published base model, every channel over the whole stretch of sound."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        if len(self.kernels) != len(self.strides) or min(*self.kernels, *self.strides, self.channels, self.layers) < 1:
            raise ConfigError(f"speech.random: kernels={self.kernels} and strides={self.strides} must be as many, and all sizes at least 1")
        if self.hidden % 16 or self.hidden < 16:
            raise ConfigError(f"speech.random.hidden={self.hidden} must be a multiple of 16")

    def build(self) -> Wav2Vec2Model:
        """The model; the same seed gives the same weights, and nobody else's random numbers change."""
        config = Wav2Vec2Config(
            conv_dim=(self.channels,) * len(self.kernels),
            conv_kernel=self.kernels,
            conv_stride=self.strides,
            feat_extract_norm=self.norm,
            num_feat_extract_layers=len(self.kernels),
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=4,
            intermediate_size=2 * self.hidden,
            num_conv_pos_embeddings=32,
            num_conv_pos_embedding_groups=16,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return Wav2Vec2Model(config)


class Wav2Vec:
    """A model ready for use, and the clock of its states."""

    def __init__(self, weights: str, random: RandomSpeech, device: torch.device) -> None:
        """Build or load it.

        Args:
            weights: ``random``, a folder (local, or a URI that pyarrow understands) as transformers saves it, or a name of the model hub.
            random: The small model's sizes.
            device: Where it runs.

        Raises:
            DataError: no such folder or name, no network for the hub, or not a Wav2Vec 2.0 model.
        """
        self.normalise = True
        if weights == RANDOM:
            model = random.build()
        elif is_remote(weights):
            with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
                model = self._load(str(_fetch(weights, Path(folder))), weights)
        else:
            model = self._load(weights.removeprefix("file://"), weights)
        self.device, self.model = device, model.eval().requires_grad_(False).to(device)
        kernels, strides = model.config.conv_kernel, model.config.conv_stride
        steps = np.cumprod([1, *strides])
        self.step: int = int(steps[-1])
        """Samples from one state to the next."""
        self.field: int = int(1 + sum((kernel - 1) * step for kernel, step in zip(kernels, steps, strict=False)))
        """Samples that one state of the convolutions sees; fewer give no state."""
        self.layers, self.dim = model.config.num_hidden_layers, model.config.hidden_size

    def _load(self, folder: str, name: str) -> Wav2Vec2Model:
        """Read a folder or ask the hub; whether samples are normalised is what its processor says."""
        try:
            model, about = Wav2Vec2Model.from_pretrained(folder, output_loading_info=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = "no such folder, and the model hub does not give it" if not Path(folder).exists() else " ".join(str(error).split())[:160]
            raise DataError(f"speech.weights={name}: {reason}; give the folder of a Wav2Vec 2.0 model as transformers saves it") from error
        lost = [key for key in about["missing_keys"] if key != "masked_spec_embed"]
        if lost or model.config.model_type != "wav2vec2":
            raise DataError(f"speech.weights={name}: is no whole Wav2Vec 2.0 model ({len(lost)} weights are missing, as {lost[:1]}); get it again")
        processor = Path(folder) / "preprocessor_config.json"
        if processor.exists():
            self.normalise = bool(json.loads(processor.read_text()).get("do_normalize", True))
        return model

    def centres(self, samples: int) -> np.ndarray:
        """Sample numbers on which the states of a stretch of this length are centred, as fractions."""
        count = 0 if samples < self.field else 1 + (samples - self.field) // self.step
        return np.arange(count) * self.step + (self.field - 1) / 2

    @torch.inference_mode()
    def states(self, samples: Float32[np.ndarray, "stretches samples"], layer: int | Literal["mean"]) -> Float32[Tensor, "stretches states dim"]:
        """Hidden states of stretches of one length, at least ``field``.

        Args:
            samples: At 16 kHz, normalised as the model wants it.
            layer: Number of the layer (0: what goes into the first block, -1: the last one), or ``mean`` of all of them.
        """
        sound = torch.from_numpy(np.ascontiguousarray(samples)).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            hidden = self.model(sound, output_hidden_states=True).hidden_states
        return torch.stack(hidden).float().mean(dim=0) if layer == "mean" else hidden[layer].float()


def weights_identity(weights: str) -> str:
    """Names the content of the weights, for the stage's home: other files in the same folder are other features.

    Raises:
        DataError: the address is that of a folder without a model.
    """
    if weights == RANDOM or not (is_remote(weights) or Path(weights.removeprefix("file://")).exists()):
        return weights
    storage = Storage(StorageConfig(uri=weights))
    files = [name for name in storage.files("") if name in _FILES or name.startswith(("model-", "pytorch_model-"))]
    if "config.json" not in files:
        raise DataError(f"speech.weights={weights}: holds no config.json; give the folder of a Wav2Vec 2.0 model as transformers saves it")
    return digest([[name, _hash(storage, name)] for name in files])


def _hash(storage: Storage, name: str) -> str:
    with storage.local_copy(name) as path, path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(weights: str, folder: Path) -> Path:
    storage = Storage(StorageConfig(uri=weights))
    for name in storage.files(""):
        if name.endswith((".json", ".safetensors", ".bin")):
            storage.get_file(name, folder / name)
    return folder
