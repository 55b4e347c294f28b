"""Predictions, scores and the submission.  ray job submit --working-dir . -- python jobs/predict.py paper"""

from abaw_ray.cluster.launch.command import run
from abaw_ray.cluster.launch.config import SweepJob
from abaw_ray.cluster.launch.presets import presets_of
from abaw_ray.cluster.stages.predictions import predict

if __name__ == "__main__":
    run(predict, presets_of(SweepJob), "predictions")
