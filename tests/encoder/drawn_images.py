"""Drawn images, and settings small enough to train on them in seconds."""

import cv2
import numpy as np
import pyarrow as pa

from abaw_ray.core import schema
from abaw_ray.encoder.augment import AugmentConfig
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.ingest import IngestConfig
from abaw_ray.encoder.model import ModelConfig
from abaw_ray.encoder.moe import MoeConfig
from abaw_ray.encoder.padaug import PadAugConfig
from abaw_ray.training.losses import LossConfig
from abaw_ray.training.optim import OptimConfig

TINY = ModelConfig(name="vit_small_patch14_dinov2.lvd142m", size=28, width=32, depth=2, heads=2, layer_scale=0.0, drop_path=0.0, weights="")
CONFIG = EncoderConfig(
    ingest=IngestConfig(classes=("one", "two", "three"), max_side=56),
    model=TINY,
    moe=MoeConfig(experts=3, active=2, hidden=16, dropout=0.0),
    augment=AugmentConfig(scales=(1.5, 2.0), padaug=PadAugConfig(probability=0.3, max_share=0.2)),
    loss=LossConfig(smoothing=0.0),
    optim=OptimConfig(lr=2e-3, layer_decay=1.0, warmup=0.05),
    epochs=6,
    global_batch=16,
    piece=16,
)


def draw(label, rng, side=56):
    """A bright disc, lying bar or standing bar on dark noise: told apart by its shape, not by its colour."""
    image = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
    colour, (x, y) = tuple(int(value) for value in rng.integers(120, 256, 3)), rng.integers(22, 35, 2).tolist()
    if label == 0:
        cv2.circle(image, (x, y), 13, colour, -1)
    if label == 1:
        cv2.rectangle(image, (x - 18, y - 3), (x + 18, y + 3), colour, -1)
    if label == 2:
        cv2.rectangle(image, (x - 3, y - 18), (x + 3, y + 18), colour, -1)
    return image


def drawn_table(count, *, split, seed, shuffled=False):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    jpegs = [cv2.imencode(".jpg", draw(label, rng))[1].tobytes() for label in labels]
    labels = rng.permutation(labels) if shuffled else labels
    columns = [[f"{split}-{row}" for row in range(count)], jpegs, labels, ["drawn"] * count, [split] * count, [2.0] * count]
    return pa.Table.from_arrays([pa.array(column, field.type) for column, field in zip(columns, schema.IMAGE, strict=True)], schema=schema.IMAGE)
