"""The numbers of every experiment: ``paper`` as published as far as it is, ``demo`` and ``smoke`` on drawn videos, derived from it."""

from dataclasses import replace
from typing import TypeVar

from abaw_ray.cluster.engine.compute import ComputeConfig, compute_preset
from abaw_ray.cluster.engine.run import DataConfig, RunConfig
from abaw_ray.cluster.launch.config import PipelineConfig, part_of
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.encoder.config import AugmentConfig, EncoderConfig, ModelConfig, MoeConfig, PadAugConfig
from abaw_ray.features.config import SpeechConfig

_JobT = TypeVar("_JobT", bound=RunConfig)

PAPER = PipelineConfig(
    data=DataConfig(affwild2="data/affwild2", affectnet="data/affectnet", rafdb="data/rafdb"),
    storage=StorageConfig(uri="runs/paper"),
    compute=replace(compute_preset("gpu-1x1"), feature_workers=0),
)

SMALL = ModelConfig(
    name="vit_small_patch14_dinov2.lvd142m",
    img_size=70,
    embed_dim=128,
    depth=4,
    num_heads=4,
    init_values=0.0,
    pos_embed_std=0.3,
    drop_path_rate=0.0,
    weights="",
)  # 25 tokens: what learns in minutes on two cores

DEMO = replace(
    PAPER,
    data=DataConfig(draw=True, drawn="runs/demo/data"),
    storage=StorageConfig(uri="runs/demo"),
    compute=ComputeConfig(),
    faces=replace(
        PAPER.faces,
        detector=replace(PAPER.faces.detector, kind="haar", width=320, min_size=0.15),
        chips=replace(PAPER.faces.chips, scales=(1.0, 1.2, 1.4), size=SMALL.img_size),
    ),
    encoder=EncoderConfig(
        ingest=replace(PAPER.encoder.ingest, max_side=150),
        model=SMALL,
        moe=MoeConfig(hidden_dim=0, dropout=0.0),
        augment=AugmentConfig(
            scales=(1.0, 1.4), max_shift=0.03, max_rotation_deg=4.0, brightness=0.15, gamma=0.1, padaug=PadAugConfig(probability=0.3)
        ),
        optim=replace(PAPER.encoder.optim, lr=3e-4, layer_decay=1.0, betas=(0.9, 0.98), warmup_ratio=0.05),
        epochs=10,
        global_batch_size=32,
        micro_batch_size=16,
        zero_stage=1,
    ),
    features=replace(PAPER.features, speech=SpeechConfig(weights="random", pooling="mean_std")),
    sweep=replace(PAPER.sweep, trials=6, fusion=replace(PAPER.sweep.fusion, epochs=15, batch=512)),
)

SMOKE = replace(
    DEMO,
    data=DataConfig(
        draw=True,
        drawn="runs/smoke/data",
        synthetic=SyntheticConfig(
            train=10, validation=4, test=2, seconds=4.0, stretch=(0.5, 1.2), affectnet=240, affectnet_validation=40, rafdb=80, rafdb_test=40
        ),
    ),
    storage=StorageConfig(uri="runs/smoke"),
    encoder=replace(DEMO.encoder, epochs=2),
    sweep=replace(DEMO.sweep, trials=2, fusion=replace(DEMO.sweep.fusion, epochs=8)),
)

PRESETS = {
    "paper": ("As published, as far as it is; needs the data sets, the pretrained weights and a GPU.", PAPER),
    "demo": ("Drawn videos, small models: minutes on two cores.", DEMO),
    "smoke": ("The same line in about two minutes; its scores mean nothing.", SMOKE),
}


def presets_of(job: type[_JobT]) -> dict[str, tuple[str, _JobT]]:
    """Every preset, as one job shows it."""
    return {name: (text, part_of(job, line)) for name, (text, line) in PRESETS.items()}
