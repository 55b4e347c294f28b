"""Training steps of Stage I on one card: in bare PyTorch, through DeepSpeed, with images read, and through Ray Train."""

import os
import shutil
import time

import cv2
import pyarrow as pa
import torch
import torch.distributed as dist

from abaw_ray.cluster.engine.compute import ComputeConfig
from abaw_ray.cluster.engine.resources import Resources
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.training import checkpoint
from abaw_ray.cluster.training.trainer import train_encoder
from abaw_ray.cluster.training.zero import ZeroConfig, ZeroEngine, prepare_deepspeed
from abaw_ray.core import schema
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.images import open_image_set
from abaw_ray.encoder.task import EncoderTask, ExpressionModel, MicroBatch, RankContext
from abaw_ray.training.loop import PlainEngine, run_steps
from abaw_ray.training.optim import make_adamw
from tools.bench.gpu.work import Work, finish, of_ceiling, pictures

SHARDS = ["train.parquet", "val.parquet"]
_WARM = 3
"""Steps that do not count."""


def training(work: Work, raw: dict) -> dict:
    """Images a second of the same step, part by part, and a checkpoint."""
    task = EncoderTask(work.encoder, open_image_set(stored(work), SHARDS, work.folder), RankContext(device=work.device))
    step = [MicroBatch(one.pixels.to(work.device), one.labels.to(work.device), one.loss_scale) for one in task.micro_batches(0)]
    plain = _plain(work, task, step)
    prepare_deepspeed(gpu=work.bf16)
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    dist.init_process_group("nccl" if work.bf16 else "gloo", init_method=f"file://{work.folder / 'group'}", rank=0, world_size=1)
    try:
        found = _engine(work, task, step, plain)
    finally:
        dist.destroy_process_group()
    return {"plain_images_per_second": plain, "plain_of_ceiling": of_ceiling(plain, 3, raw)} | found


def _engine(work: Work, task: EncoderTask, step: list[MicroBatch], plain: float) -> dict:
    """Our engine's steps, its score and its checkpoint."""
    config = work.encoder
    zero_config = ZeroConfig(
        stage=config.zero_stage,
        global_batch_size=config.global_batch_size,
        gradient_accumulation_steps=len(step),
        world_size=1,
        bf16=work.bf16,
        max_grad_norm=config.optim.max_grad_norm,
        gpu=work.bf16,
    )
    model = ExpressionModel(config)
    engine = ZeroEngine(model, model.parameter_groups(config), config.optim, zero_config)
    zero = _rate(work, task, engine, lambda number: step, 0)
    read = _rate(work, task, engine, task.micro_batches, work.cpus - 1)
    begun = time.perf_counter()
    counted = task.validate(model, num_workers=work.cpus - 1).metrics(config.classes)
    scored = len(task.val) / (time.perf_counter() - begun)
    begun = time.perf_counter()
    folder = checkpoint.write(engine, {}, rank=0, world_size=1)
    seconds = time.perf_counter() - begun
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    return {
        "zero_images_per_second": zero,
        "zero_of_plain": zero / plain,
        "read_images_per_second": read,
        "read_of_zero": read / zero,
        "scored_images_per_second": scored,
        "scored": counted["macro_f1"],
        "checkpoint_s": seconds,
        "checkpoint_gb": size / 1e9,
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if work.bf16 else None,
        "images_in_step": config.global_batch_size,
        "images_in_micro_batch": config.global_batch_size // len(step),
    }


def through_ray(work: Work, raw: dict) -> dict:
    """The encoder's training as its job runs it: Ray Train, a checkpoint and a score after each epoch."""
    store = StageStore(stored(work), "encoder", work.encoder, 1)
    gpus = 1.0 if work.bf16 else 0.0
    resources = Resources(workers=1, cpus=work.cpus, gpus=gpus)
    with RaySession(ComputeConfig(local_cpus=work.cpus + 1)) as session:
        session.start(resources)
        begun = time.perf_counter()
        figures = train_encoder(store=store, item=Item(name="run", identity="bench"), shards=SHARDS, config=work.encoder, resources=resources)
        wall = time.perf_counter() - begun
    plain = raw.get("training", {}).get("plain_images_per_second")
    last = figures["curve"][-1]
    return {
        "images_per_second": last["images_per_second"],
        "ray_of_plain": last["images_per_second"] / plain if plain else None,
        "epoch_s": last["seconds"],
        "scoring_s": last["seconds"] - work.images / last["images_per_second"],
        "wall_s": wall,
        "curve": figures["curve"],
    }


def stored(work: Work) -> Storage:
    """Two parts of ``IMAGE`` rows in the sizes that the settings give."""
    storage = Storage(StorageConfig(uri=str(work.folder / "store")))
    if not storage.exists(SHARDS[0]):
        quality = [cv2.IMWRITE_JPEG_QUALITY, work.encoder.ingest.quality]
        side = min(work.encoder.ingest.max_side, 2 * work.encoder.model.img_size)
        jpegs = [cv2.imencode(".jpg", picture, quality)[1].tobytes() for picture in pictures(side)]
        for name, split, count in zip(SHARDS, ("train", "val"), (work.images, max(work.images // 10, 16)), strict=True):
            classes, scale = len(work.encoder.classes), work.encoder.ingest.scale
            rows = [(f"{split}-{row}", jpegs[row % len(jpegs)], row % classes, "drawn", split, scale) for row in range(count)]
            columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema.IMAGE, strict=True)]
            storage.write_table(name, pa.Table.from_arrays(columns, schema=schema.IMAGE))
    return storage


def _plain(work: Work, task: EncoderTask, step: list[MicroBatch]) -> float:
    """The same step without DeepSpeed, weights and AdamW in the model's own precision, pixels on the card: what PyTorch gives."""
    model = ExpressionModel(work.encoder).to(work.device, torch.bfloat16 if work.bf16 else torch.float32).train()
    optimizer = make_adamw(model.parameter_groups(work.encoder), work.encoder.optim)
    engine = PlainEngine(model, optimizer, max_grad_norm=work.encoder.optim.max_grad_norm, gradient_accumulation_steps=len(step))
    rate = _rate(work, task, engine, lambda number: step, 0)
    del model, optimizer
    if work.bf16:
        torch.cuda.empty_cache()
    return rate


def _rate(work: Work, task: EncoderTask, engine: object, micro_batches: object, num_workers: int) -> float:
    """Images a second over all steps but the first few."""
    steps = run_steps(
        range(_WARM + work.steps),
        micro_batches,
        lambda micro_batch: task.loss_of(engine, micro_batch),
        engine,
        lr_multiplier=lambda step: 1e-3,
        seed=task.seed,
        num_workers=num_workers,
    )
    begun = 0.0
    for number, _ in enumerate(steps):
        if number == _WARM - 1:
            finish()
            begun = time.perf_counter()
    finish()
    return work.steps * work.encoder.global_batch_size / (time.perf_counter() - begun)
