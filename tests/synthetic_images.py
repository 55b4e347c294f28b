"""Synthetic still images, and settings that train the encoder on them in seconds."""

import cv2
import numpy as np
import pyarrow as pa

from abaw_ray.core import schema
from abaw_ray.encoder.augmentation.config import NO_DEGRADATION, AugmentConfig, PadAugConfig
from abaw_ray.encoder.config import EncoderConfig, IngestConfig, ModelConfig, MoeConfig
from abaw_ray.training.config import LossConfig, OptimConfig

TINY = ModelConfig(
    name="vit_small_patch14_dinov2.lvd142m", img_size=28, embed_dim=32, depth=2, num_heads=2, init_values=0.0, drop_path_rate=0.0, weights="random"
)
CONFIG = EncoderConfig(
    ingest=IngestConfig(classes=("one", "two", "three"), max_side=56),
    model=TINY,
    moe=MoeConfig(num_experts=3, top_k=2, hidden_dim=16, dropout=0.0),
    augment=AugmentConfig(scales=(1.5, 2.0), degrade=NO_DEGRADATION, padaug=PadAugConfig(probability=0.3)),
    loss=LossConfig(label_smoothing=0.0),
    optim=OptimConfig(lr=2e-3, layer_decay=1.0, warmup_ratio=0.05),
    epochs=6,
    global_batch_size=16,
)


def synthetic_image(label, rng, side=56):
    """A bright disc, horizontal bar or vertical bar on dark noise: the classes differ in shape, not in color."""
    image = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
    color, (x, y) = tuple(int(value) for value in rng.integers(120, 256, 3)), rng.integers(22, 35, 2).tolist()
    if label == 0:
        cv2.circle(image, (x, y), 13, color, -1)
    if label == 1:
        cv2.rectangle(image, (x - 18, y - 3), (x + 18, y + 3), color, -1)
    if label == 2:
        cv2.rectangle(image, (x - 3, y - 18), (x + 3, y + 18), color, -1)
    return image


def synthetic_table(count, *, split, seed, shuffled=False):
    """An IMAGE table of ``count`` rows of the data sets ``even`` and ``odd`` in turn, with true or shuffled labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    jpegs = [cv2.imencode(".jpg", synthetic_image(label, rng))[1].tobytes() for label in labels]
    labels = rng.permutation(labels) if shuffled else labels
    columns = [
        [f"{split}-{row}" for row in range(count)],
        jpegs,
        labels,
        [("even", "odd")[row % 2] for row in range(count)],
        [split] * count,
        [2.0] * count,
        [None] * count,
        [None] * count,
        [1.0] * count,
        [None] * count,
    ]
    return pa.Table.from_arrays([pa.array(column, field.type) for column, field in zip(columns, schema.IMAGE, strict=True)], schema=schema.IMAGE)
