"""Predictions, scores and the submission.  ray job submit --working-dir . -- python jobs/predict.py paper"""

from abaw_ray.cluster.command import run
from abaw_ray.cluster.line import SweepJob
from abaw_ray.cluster.predict import predict

from presets import presets_of

if __name__ == "__main__":
    run(predict, presets_of(SweepJob), "predictions")
