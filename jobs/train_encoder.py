"""Stage I on still images.  ray job submit --working-dir . -- python jobs/train_encoder.py paper --encoder.optim.lr 3e-5"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("train")
