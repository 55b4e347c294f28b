"""A complete model bundle with small random networks, and a generated talking face."""

import numpy as np
import pytest
import torch

from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import make_script
from abaw_ray.encoder.checkpoint import save_encoder
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.encoder.model import build_encoder
from abaw_ray.faces.config import ChipConfig, DetectorConfig, FacesConfig
from abaw_ray.features.config import FeaturesConfig, RandomWav2VecConfig, SpeechConfig
from abaw_ray.fusion.checkpoint import save_fusion
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.train import TrainedFusion, TrainingProvenance
from abaw_ray.media.write import write_video
from abaw_ray.predict.bundle.audio_visual import write_audio_visual
from abaw_ray.predict.bundle.metadata import BundleMetadata, License
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.postprocessing import Postprocessing

FACES = FacesConfig(detector=DetectorConfig(kind="haar", width=320, min_size=0.15), chips=ChipConfig(scales=(1.0, 1.4), size=28))
SPEECH = SpeechConfig(weights="random", random=RandomWav2VecConfig(conv_dim=16, hidden_size=16, num_hidden_layers=1))
METADATA = BundleMetadata(
    kind="audio-visual",
    name="tiny",
    license=License(id="apache-2.0", terms="Free to use."),
    training_data=("generated faces",),
    is_synthetic=True,
    protocol="cv",
    faces=FACES,
    features=FeaturesConfig(speech=SPEECH),
    postprocessing=Postprocessing(smoothing=SmoothingConfig(window_s=0.4)),
    scores={"five folds": 0.5},
    identity="tiny-1",
)


def random_fusion(seed, widths):
    """A fusion model whose outputs differ clearly from frame to frame."""
    torch.manual_seed(seed)
    model = GatedFusion(*widths, FusionConfig(hidden_dim=8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    provenance = TrainingProvenance(subjects=frozenset({"1"}), recordings=frozenset({"1"}))
    return TrainedFusion(model=model.eval(), provenance=provenance)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """Folder of the bundle: encoder for 28 pixels, random Wav2Vec 2.0, two fusion models."""
    parts, folder = tmp_path_factory.mktemp("parts"), tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    config = ModelConfig(name="vit_small_patch14_dinov2", img_size=28, embed_dim=24, depth=1, num_heads=2, init_values=0, weights="random")
    save_encoder(parts / "encoder", build_encoder(config))
    for seed in (0, 1):
        save_fusion(parts / f"fold-{seed}", random_fusion(seed, (24, 16)))
    write_audio_visual(folder, METADATA, encoder=parts / "encoder", fusion={f"fold-{seed}": parts / f"fold-{seed}" for seed in (0, 1)})
    return folder


@pytest.fixture(scope="session")
def scene():
    """One person who talks for 2.4 seconds, with sound."""
    config = SyntheticConfig(train_subjects=6, val_subjects=3, test_subjects=1, video_duration_s=2.4, segment_duration_s=(0.4, 0.9))
    scenes = (Scene(config, script) for script in make_script(config) if len(script.subjects) == 1)
    return next(scene for scene in scenes if scene.audio()[0] is not None)


@pytest.fixture(scope="session")
def clip(scene, tmp_path_factory):
    """The scene as a video file."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    samples, start = scene.audio()
    write_video(path, scene.frames(), scene.times, samples, audio_start=start, preset="veryfast")
    return path


@pytest.fixture
def make_clip(tmp_path):
    """Writes a video of plain frames without a face."""

    def make(name, frames=8, audio=None):
        images = (np.full((64, 96, 3), 40 + index, np.uint8) for index in range(frames))
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, images, np.arange(frames) / 25, audio, preset="veryfast")
        return path

    return make
