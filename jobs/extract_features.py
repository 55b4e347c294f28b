"""Faces and audio to two vectors per frame.  ray job submit --working-dir . -- python jobs/extract_features.py paper --speech.window-s 1.5"""

from abaw_ray.cluster.launch.command import main
from abaw_ray.cluster.launch.config import FeaturesJob

if __name__ == "__main__":
    main(FeaturesJob, "features")
