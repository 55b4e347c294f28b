"""The description of a model bundle -> the arithmetic of its networks per image and per second of audio, without loading them."""

import json
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from abaw_ray.features.config import SpeechConfig
from abaw_ray.predict.bundle.metadata import CLASSIFIER_FOLDER, ENCODER_FOLDER, SPEECH_FOLDER, BundleMetadata

_BYTES = 4
"""Bytes of a parameter: bundles are written in float32."""
_PATCH, _CLASSIFIER_PATCH = 14, 16
"""Pixels: side of a patch of DINOv2, and of the usual vision Transformers, which stand for every image classifier."""
_RATE = 16_000
"""Samples per second of audio."""
BASE_SPEECH = {
    "conv_dim": (512,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}
"""Sizes of Wav2Vec 2.0 base (its ``config.json``), also assumed for other models that are on the model hub only."""


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """Arithmetic of a model: 10^9 operations, where multiplication and addition count as two."""

    images: int
    """Images that pass through the encoder for each scored face: one per scale."""
    image_gflop: float
    """Per image."""
    speech_gflop: float = 0.0
    """Per second of audio that passes through the speech model; 0 without one."""
    speech_window_s: float = 0.0
    """Seconds of audio that pass through it for each scored frame, in mode ``windows``; 0 where the audio passes once."""
    chip_side: int = 0
    """Pixels: largest side of a stored face crop."""


def model_cost(folder: Path, metadata: BundleMetadata) -> ModelCost:
    """The arithmetic of the model in an opened bundle.

    Exact to a few percent for vision Transformers and Wav2Vec 2.0. Every image classifier is taken for a vision Transformer with patches of 16
    pixels: convolutional networks have 0.4 to 0.8 of that.

    Args:
        folder: The bundle's folder.
        metadata: Its description.
    """
    side = metadata.faces.chips.max_side
    if metadata.classifier is not None:
        tokens = (metadata.classifier.input_size // _CLASSIFIER_PATCH) ** 2 + 1
        return ModelCost(images=1, image_gflop=2e-9 * _parameters(metadata, CLASSIFIER_FOLDER) * tokens, chip_side=side)
    body = json.loads((folder / ENCODER_FOLDER / "config.json").read_text())
    patch = re.search(r"patch(\d+)", body["architecture"])
    tokens = (metadata.faces.chips.size // (int(patch[1]) if patch else _PATCH)) ** 2 + 1
    speech, path = metadata.features.speech, folder / SPEECH_FOLDER / "config.json"
    return ModelCost(
        images=len(metadata.features.visual.scales or metadata.faces.chips.scales),
        image_gflop=transformer_gflop(_parameters(metadata, ENCODER_FOLDER), tokens, body["num_features"]),
        speech_gflop=speech_gflop(json.loads(path.read_text()) if path.is_file() else BASE_SPEECH, speech),
        speech_window_s=speech.window_s if speech.mode == "windows" else 0.0,
        chip_side=side,
    )


def transformer_gflop(parameters: float, tokens: int, width: int) -> float:
    """Arithmetic of a vision Transformer for one image: two operations per parameter and token, and those of attention.

    A block has 12 width^2 parameters and 4 tokens^2 width operations of attention.
    """
    return 1e-9 * (2 * parameters * tokens + parameters * tokens**2 / (3 * width))


def speech_gflop(config: dict[str, Any], speech: SpeechConfig) -> float:
    """Arithmetic of Wav2Vec 2.0 for one second of audio, with the margins of its chunks.

    Args:
        config: Content of the model's ``config.json``.
        speech: How audio is divided.
    """
    channels, convolutions, rate = 1, 0.0, float(_RATE)
    for outputs, kernel, stride in zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"], strict=True):
        rate /= stride
        convolutions += 2 * rate * kernel * channels * outputs
        channels = outputs
    states, width = _RATE / prod(config["conv_stride"]), config["hidden_size"]
    length_s = speech.window_s if speech.mode == "windows" else speech.chunk_s
    block = 8 * width**2 + 4 * width * config["intermediate_size"] + 4 * states * length_s * width
    positions = 2 * config["num_conv_pos_embeddings"] * width**2 / config["num_conv_pos_embedding_groups"]
    repeated = 1.0 if speech.mode == "windows" else speech.chunk_s / (speech.chunk_s - 2 * speech.margin_s)
    return 1e-9 * repeated * (convolutions + states * (config["num_hidden_layers"] * block + positions))


def _parameters(metadata: BundleMetadata, folder: str) -> float:
    """Parameters in a folder of the bundle, from the sizes of its files."""
    sizes = (file.size for name, file in metadata.files.items() if name.startswith(f"{folder}/") and name.endswith(".safetensors"))
    return sum(sizes) / _BYTES
