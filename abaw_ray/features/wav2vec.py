"""Wav2Vec 2.0: audio samples -> hidden states. The model is loaded from a folder or the model hub, or is a small one with random weights.

``speech`` determines the model's input and pools its states.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from abaw_ray.core.errors import DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.weights import WeightsSource
from abaw_ray.features.config import Layer, RandomWav2VecConfig, SpeechConfig
from abaw_ray.features.pretrained import without_progress_bar
from abaw_ray.features.speech_weights import CONFIG_FILE, REMEDY, weights_source
from abaw_ray.media.audio import RATE

_BAND_HZ = (80.0, 6000.0)
"""Range of the filters' center frequencies in the random model; ours."""


def build_random(config: RandomWav2VecConfig) -> Wav2Vec2Model:
    """The small model with random weights; the same seed gives the same weights, and the global random state does not change."""
    architecture = Wav2Vec2Config(
        conv_dim=(config.conv_dim,) * len(config.conv_kernel),
        conv_kernel=config.conv_kernel,
        conv_stride=config.conv_stride,
        feat_extract_norm=config.feat_extract_norm,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=4,
        intermediate_size=2 * config.hidden_size,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Wav2Vec2Model(architecture)
    layers: Any = model.feature_extractor.conv_layers
    first, *others = layers
    rng = np.random.default_rng(config.seed)
    with torch.no_grad():
        first.conv.weight.copy_(torch.from_numpy(_gabor_filters(rng, config.conv_dim, config.conv_kernel[0])[:, None]))
        for layer, width in zip(others, config.conv_kernel[1:], strict=True):
            smooth = np.hanning(width + 2)[1:-1]
            mix = rng.normal(size=(config.conv_dim, config.conv_dim, 1)) * np.sqrt(2 / config.conv_dim)
            layer.conv.weight.copy_(torch.from_numpy(mix * smooth / smooth.sum()))
    return model


def _gabor_filters(rng: np.random.Generator, channels: int, width: int) -> Float[np.ndarray, "channels width"]:
    """Gabor band-pass filters of unit norm with random center frequency and phase, four periods long or as long as the kernel allows."""
    low, high = np.log(_BAND_HZ)
    frequency = np.exp(rng.uniform(low, high, channels))[:, None]
    time = (np.arange(width) - (width - 1) / 2) / RATE
    std = np.minimum(2 / frequency, width / RATE / 5)
    wave = np.exp(-0.5 * (time / std) ** 2) * np.cos(2 * np.pi * frequency * time + rng.uniform(0, 2 * np.pi, channels)[:, None])
    wave -= wave.mean(axis=1, keepdims=True)
    return wave / np.linalg.norm(wave, axis=1, keepdims=True)


class Wav2Vec:
    """A loaded model, with the stride and receptive field of its states."""

    def __init__(self, source: WeightsSource, random: RandomWav2VecConfig, device: torch.device) -> None:
        """Build or load the model.

        Args:
            source: Where its weights come from.
            random: Sizes of the small model.
            device: Device of the model.

        Raises:
            ConfigError: there is no such folder or repository, or the model hub does not respond.
            DataError: it is not a complete Wav2Vec 2.0 model.
            StorageError: the object store could not be read after all retries.
        """
        self.normalize = True
        if source.is_random:
            model = build_random(random)
        else:
            with source.local_folder(CONFIG_FILE) as folder:
                model = self._load(folder, source.value)
        module: Any = model.eval().requires_grad_(False)
        self.device, self.model = device, module.to(device)
        kernels, strides = model.config.conv_kernel, model.config.conv_stride
        steps = np.cumprod([1, *strides])
        self.stride: int = int(steps[-1])
        """Samples from one state to the next."""
        self.receptive_field: int = int(1 + sum((kernel - 1) * step for kernel, step in zip(kernels, steps, strict=False)))
        """Samples that determine one output of the convolutions; fewer samples give no state."""
        self.layers: int = model.config.num_hidden_layers
        self.dim: int = model.config.hidden_size

    def _load(self, folder: str, name: str) -> Wav2Vec2Model:
        """The model from a folder or the hub; its preprocessor settings determine whether samples are normalized."""
        try:
            with without_progress_bar():
                loaded: Any = Wav2Vec2Model.from_pretrained(folder, output_loading_info=True)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise DataError(f"features.speech.weights={name}: {' '.join(str(error).split())[:160]}; {REMEDY}") from error
        model, info = loaded
        missing = [key for key in info["missing_keys"] if key != "masked_spec_embed"]
        if missing or model.config.model_type != "wav2vec2":
            raise DataError(
                f"features.speech.weights={name}: is no complete Wav2Vec 2.0 model ({len(missing)} weights are missing, as {missing[:1]})"
            )
        with suppress(OSError):  # no preprocessor settings: normalize, as the published models do
            preprocessor, _ = Wav2Vec2FeatureExtractor.get_feature_extractor_dict(folder)
            self.normalize = bool(preprocessor.get("do_normalize", True))
        return model

    def centers(self, samples: int) -> Float[np.ndarray, " states"]:
        """Centers of the states of an input of ``samples`` samples, as fractional sample positions."""
        count = 0 if samples < self.receptive_field else 1 + (samples - self.receptive_field) // self.stride
        return np.arange(count) * self.stride + (self.receptive_field - 1) / 2

    @torch.inference_mode()
    def states(self, samples: Float32[np.ndarray, "n samples"], layer: Layer) -> Float32[Tensor, "n states dim"]:
        """Hidden states of a batch of inputs of equal length, at least ``receptive_field``.

        Args:
            samples: At 16 kHz, normalized as the model requires.
            layer: Index of the layer (0: input of the first block, -1: output of the last one), indices of layers whose mean is returned, or
                ``mean`` of all of them.
        """
        inputs = torch.from_numpy(np.ascontiguousarray(samples)).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            hidden_states = self.model(inputs, output_hidden_states=True).hidden_states
        if isinstance(layer, int):
            return hidden_states[layer].float()
        chosen = hidden_states if layer == "mean" else [hidden_states[index] for index in layer]
        return torch.stack(tuple(chosen)).float().mean(dim=0)


def save_speech_model(folder: Path, config: SpeechConfig, storage: StorageConfig | None = None) -> str:
    """Save the speech model as transformers does, safetensors and JSON, unless it is one of the model hub; returns the repository or "".

    Raises:
        ConfigError: it does not exist.
        DataError: it is not a complete Wav2Vec 2.0 model.
        StorageError: the object store could not be read after all retries.
    """
    source = weights_source(config, storage)
    if source.hub_repository:
        return source.hub_repository
    speech = Wav2Vec(source, config.random, torch.device("cpu"))
    speech.model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=speech.normalize).save_pretrained(folder)
    return ""
