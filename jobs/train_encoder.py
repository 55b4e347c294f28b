"""Stage I on still images.  ray job submit --working-dir . -- python jobs/train_encoder.py paper --optim.lr 3e-5"""

from abaw_ray.cluster.command import run
from abaw_ray.cluster.encoder_stage import prepare_encoder
from abaw_ray.cluster.line import EncoderJob

from presets import presets_of

if __name__ == "__main__":
    run(lambda what, job: prepare_encoder(what, job.encoder), presets_of(EncoderJob), "images", "encoder")
