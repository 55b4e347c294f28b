"""Faces and voice to two vectors a frame.  ray job submit --working-dir . -- python jobs/extract_features.py paper --speech.window-s 1.5"""

from abaw_ray.cluster.launch.command import run
from abaw_ray.cluster.launch.config import FeaturesJob
from abaw_ray.cluster.launch.presets import presets_of
from abaw_ray.cluster.stages.features import extract_features

if __name__ == "__main__":
    run(extract_features, presets_of(FeaturesJob), "features")
