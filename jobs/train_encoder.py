"""Stage I on still images.  ray job submit --working-dir . -- python jobs/train_encoder.py paper --optim.lr 3e-5"""

from abaw_ray.cluster.launch.command import run
from abaw_ray.cluster.launch.config import EncoderJob
from abaw_ray.cluster.launch.presets import presets_of
from abaw_ray.cluster.stages.encoder import prepare_encoder

if __name__ == "__main__":
    run(lambda what, job: prepare_encoder(what, job.encoder), presets_of(EncoderJob), "images", "encoder")
