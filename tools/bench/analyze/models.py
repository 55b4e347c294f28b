"""Model bundles with random weights, of the sizes of a preset: the time of a forward pass does not depend on the weights."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from abaw_ray.cluster.launch.config import PipelineConfig
from abaw_ray.cluster.launch.presets import DEMO, PAPER
from abaw_ray.core.licenses import License
from abaw_ray.encoder.checkpoint import save_encoder
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.encoder.model import build_encoder
from abaw_ray.features.config import WAV2VEC_HUB
from abaw_ray.fusion.checkpoint import save_fusion
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.trained import TrainedFusion, TrainingProvenance
from abaw_ray.media.audio import RATE
from abaw_ray.predict.bundle.audio_visual import write_audio_visual
from abaw_ray.predict.bundle.metadata import BundleMetadata
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.postprocessing import Postprocessing

_FOLDS = 5
"""Fusion models of a bundle, as the pipeline writes them."""


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """A model to measure."""

    preset: PipelineConfig
    """Its settings."""
    name: str
    """What the figures call it."""


def with_encoder(preset: PipelineConfig, name: str) -> PipelineConfig:
    """The preset with another architecture of timm, at its own width and depth."""
    model = ModelConfig(name=name, img_size=preset.encoder.model.img_size, weights="random")
    return replace(preset, encoder=replace(preset.encoder, model=model))


MODELS = {
    "demo": ModelSize(preset=DEMO, name="the demo's sizes: 4 blocks of width 128, 70 px, three scales; Wav2Vec 2.0 of 2 blocks"),
    "check": ModelSize(preset=with_encoder(PAPER, "vit_small_patch14_dinov2"), name="DINOv2 ViT-S/14, 224 px, three scales; Wav2Vec 2.0 base"),
    "paper": ModelSize(preset=PAPER, name="DINOv2 ViT-L/14, 224 px, three scales; Wav2Vec 2.0 base"),
}


def write_model(folder: Path, preset: PipelineConfig) -> Path:
    """Write the bundle of a preset with random weights into a new folder; returns the folder."""
    folder.mkdir(parents=True)
    parts = folder.with_name(f"{folder.name}-parts")
    torch.manual_seed(0)
    encoder = build_encoder(replace(preset.encoder.model, weights="random"))
    save_encoder(parts / "encoder", encoder)
    speech, width = _speech(preset, parts / "speech")
    fusion = {}
    for number in range(_FOLDS):
        model = GatedFusion(encoder.dim, width, preset.sweep.fusion).eval()
        provenance = TrainingProvenance(subjects=frozenset({"1"}), recordings=frozenset({"1"}))
        fusion[f"fold-{number}"] = parts / f"fold-{number}"
        save_fusion(fusion[f"fold-{number}"], TrainedFusion(model=model, provenance=provenance))
    metadata = BundleMetadata(
        kind="audio-visual",
        name=folder.name,
        license=License(id="apache-2.0", terms="Random weights."),
        training_data=(),
        is_synthetic=True,
        protocol="cv",
        faces=preset.faces,
        features=replace(preset.features, speech=speech),
        postprocessing=Postprocessing(smoothing=SmoothingConfig()),
        identity=folder.name,
    )
    write_audio_visual(folder, metadata, encoder=parts / "encoder", fusion=fusion)
    shutil.rmtree(parts)
    return folder


def _speech(preset: PipelineConfig, folder: Path) -> tuple:
    """Settings of the speech model, whose weights are random too, and the length of its vectors."""
    speech = preset.features.speech
    width: int = speech.random.hidden_size
    if speech.weights == WAV2VEC_HUB:
        config = Wav2Vec2Config()  # the base model
        Wav2Vec2Model(config).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True).save_pretrained(folder)
        speech, width = replace(speech, weights=str(folder)), config.hidden_size
    return speech, width * (2 if speech.pooling == "mean_std" else 1)


Models = Callable[[str], Path]
"""Name in ``MODELS`` -> folder of its bundle."""
