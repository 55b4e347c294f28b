"""A complete model bundle with small random networks."""

from pathlib import Path

import torch

from abaw_ray.core.licenses import License
from abaw_ray.encoder.checkpoint import save_encoder
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.encoder.model import build_encoder
from abaw_ray.faces.config import ChipConfig, DetectorConfig, FacesConfig
from abaw_ray.features.config import FeaturesConfig, RandomWav2VecConfig, SpeechConfig
from abaw_ray.fusion.checkpoint import save_fusion
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.trained import TrainedFusion, TrainingProvenance
from abaw_ray.predict.bundle.audio_visual import write_audio_visual
from abaw_ray.predict.bundle.metadata import BundleMetadata
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.postprocessing import Postprocessing

METADATA = BundleMetadata(
    kind="audio-visual",
    name="tiny",
    license=License(id="apache-2.0", terms="Free to use."),
    training_data=("generated faces",),
    is_synthetic=True,
    protocol="cv",
    faces=FacesConfig(detector=DetectorConfig(kind="haar", width=320, min_size=0.15), chips=ChipConfig(scales=(1.0, 1.4), size=28)),
    features=FeaturesConfig(speech=SpeechConfig(weights="random", random=RandomWav2VecConfig(conv_dim=16, hidden_size=16, num_hidden_layers=1))),
    postprocessing=Postprocessing(smoothing=SmoothingConfig(window_s=0.4)),
    scores={"five folds": 0.5},
    identity="tiny-1",
)


def random_fusion(seed, widths, **settings):
    """A fusion model whose outputs differ clearly from frame to frame."""
    torch.manual_seed(seed)
    model = GatedFusion(*widths, FusionConfig(hidden_dim=8, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    provenance = TrainingProvenance(subjects=frozenset({"1"}), recordings=frozenset({"1"}))
    return TrainedFusion(model=model.eval(), provenance=provenance)


def write_tiny_bundle(folder: Path, parts: Path, **settings: object) -> None:
    """Write the bundle: an encoder for 28 pixels, a random Wav2Vec 2.0, two fusion models with these settings; ``parts`` is an empty folder for
    them.
    """
    torch.manual_seed(0)
    config = ModelConfig(name="vit_small_patch14_dinov2", img_size=28, embed_dim=24, depth=1, num_heads=2, init_values=0, weights="random")
    save_encoder(parts / "encoder", build_encoder(config))
    for seed in (0, 1):
        save_fusion(parts / f"fold-{seed}", random_fusion(seed, (24, 16), **settings))
    write_audio_visual(folder, METADATA, encoder=parts / "encoder", fusion={f"fold-{seed}": parts / f"fold-{seed}" for seed in (0, 1)})
