"""A Wav2Vec 2.0 model: from its folder, from the model hub, or small with random weights; and samples -> its hidden states.

Which sounds go in, and what is made of the states, stands in ``speech``.
"""

import hashlib
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import SafetensorError
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote
from abaw_ray.core.storage.storage import Storage
from abaw_ray.media.audio import RATE

RANDOM = "random"
"""The name that stands for random weights."""
_BAND = (80.0, 6000.0)
"""Hz: where the random model listens; ours."""
_FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, kw_only=True)
class RandomSpeech:
    """The small model with random weights: what can be had without a download. All values ours, found by trial on drawn voices.

    Its first convolution listens at random pitches and the others mix them at random but smoothly in time, so that it tells loudness,
    pitch and colour of a voice. It has learnt nothing: what is said, and what only training finds, is not in it.
    """

    seed: int = 0
    """Of the weights."""
    channels: int = 128
    """Width of the convolutions; the first has one pitch a channel."""
    hidden: int = 96
    """Width of the Transformer, and so of a state."""
    layers: int = 2
    """Blocks of the Transformer."""
    kernels: tuple[int, ...] = (400, 10, 8)
    """Samples, then steps, that each convolution sees."""
    strides: tuple[int, ...] = (16, 5, 4)
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
            model = Wav2Vec2Model(config)
        first, *others = model.feature_extractor.conv_layers
        rng = np.random.default_rng(self.seed)
        with torch.no_grad():
            first.conv.weight.copy_(torch.from_numpy(_pitches(rng, self.channels, self.kernels[0])[:, None]))
            for layer, width in zip(others, self.kernels[1:], strict=True):
                smooth = np.hanning(width + 2)[1:-1]
                mix = rng.normal(size=(self.channels, self.channels, 1)) * np.sqrt(2 / self.channels)
                layer.conv.weight.copy_(torch.from_numpy(mix * smooth / smooth.sum()))
        return model


def _pitches(rng: np.random.Generator, channels: int, width: int) -> np.ndarray:
    """Band-pass filters of unit norm (Gabor): pitch and phase drawn, four periods long or as long as the kernel allows."""
    hertz = np.exp(rng.uniform(*np.log(_BAND), channels))[:, None]
    time = (np.arange(width) - (width - 1) / 2) / RATE
    spread = np.minimum(2 / hertz, width / RATE / 5)
    wave = np.exp(-0.5 * (time / spread) ** 2) * np.cos(2 * np.pi * hertz * time + rng.uniform(0, 2 * np.pi, channels)[:, None])
    wave -= wave.mean(axis=1, keepdims=True)
    return wave / np.linalg.norm(wave, axis=1, keepdims=True)


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
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = "no such folder, and the model hub does not give it" if not Path(folder).exists() else " ".join(str(error).split())[:160]
            raise DataError(f"speech.weights={name}: {reason}; give the folder of a Wav2Vec 2.0 model as transformers saves it") from error
        lost = [key for key in about["missing_keys"] if key != "masked_spec_embed"]
        if lost or model.config.model_type != "wav2vec2":
            raise DataError(f"speech.weights={name}: is no whole Wav2Vec 2.0 model ({len(lost)} weights are missing, as {lost[:1]}); get it again")
        with suppress(OSError):  # it has none: then as the published ones
            processor, _ = Wav2Vec2FeatureExtractor.get_feature_extractor_dict(folder)
            self.normalise = bool(processor.get("do_normalize", True))
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
    storage.download_folder("", folder, names=[name for name in storage.files("") if name.endswith((".json", ".safetensors", ".bin"))])
    return folder
