"""Predictions, scores and the submission.  ray job submit --working-dir . -- python jobs/predict.py paper"""

from abaw_ray.cluster.launch.command import main
from abaw_ray.cluster.launch.config import SweepJob

if __name__ == "__main__":
    main(SweepJob, "predictions")
