"""Faces and voice to two vectors a frame.  ray job submit --working-dir . -- python jobs/extract_features.py paper --speech.window 1.5"""

from abaw_ray.cluster.command import run
from abaw_ray.cluster.features import extract_features
from abaw_ray.cluster.line import FeaturesJob

from presets import presets_of

if __name__ == "__main__":
    run(extract_features, presets_of(FeaturesJob), "features")
