"""Predictions, scores and the submission.  ray job submit --working-dir . -- python jobs/predict.py paper"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("predict")
