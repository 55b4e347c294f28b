"""A model bundle, a generated talking face, and videos without a face."""

import numpy as np
import pytest
from tiny_bundle import write_tiny_bundle
from tiny_classifiers import save_timm, save_transformers

from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import make_script
from abaw_ray.media.write import write_video


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """Folder of a model bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder, tmp_path_factory.mktemp("parts"))
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


@pytest.fixture(scope="session")
def timm_checkpoint(tmp_path_factory):
    """Folder of a classifier as timm saves it."""
    return save_timm(tmp_path_factory.mktemp("timm") / "faces")


@pytest.fixture(scope="session")
def transformers_checkpoint(tmp_path_factory):
    """Folder of a classifier as transformers saves it."""
    return save_transformers(tmp_path_factory.mktemp("transformers") / "faces")
