"""Stage I on still images.  ray job submit --working-dir . -- python jobs/train_encoder.py paper --optim.lr 3e-5"""

from abaw_ray.cluster.launch.command import main
from abaw_ray.cluster.launch.config import EncoderJob

if __name__ == "__main__":
    main(EncoderJob, "images", "encoder")
