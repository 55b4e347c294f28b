"""Training steps of Stage I on one GPU: in plain PyTorch, through DeepSpeed, with prefetched images, and through Ray Train."""

import os
import shutil
import time
from collections.abc import Callable

import cv2
import pyarrow as pa
import torch
import torch.distributed as dist

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.training.checkpoints import checkpoint
from abaw_ray.cluster.training.checkpoints.meta import CheckpointMeta
from abaw_ray.cluster.training.ranks.zero import ZeroConfig, ZeroEngine, prepare_deepspeed
from abaw_ray.cluster.training.trainer import train_encoder
from abaw_ray.core import schema
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.images import open_image_set
from abaw_ray.encoder.memory import largest_micro_batch
from abaw_ray.encoder.task import EncoderTask, MicroBatch, RankContext
from abaw_ray.encoder.vit.preprocessing import preprocessing_of
from abaw_ray.training.adamw import SlicedAdamW
from abaw_ray.training.copies import copies_to, on_device
from abaw_ray.training.loop import Engine, PlainEngine, run_steps
from tools.bench.gpu.bare_loop import compile_where_possible, measure_bare_loop
from tools.bench.gpu.work import Work, share_of_ceiling, synchronize, synthetic_images
from tools.bench.gpu.yardsticks import count_operators, make_ddp_engine

SHARDS = ["train.parquet", "val.parquet"]
_WARMUP_STEPS = 3


def measure_training(work: Work, raw: dict) -> dict:
    """Measure images per second of the same step in plain PyTorch and through DeepSpeed, validation, and a checkpoint."""
    task = _task(work)
    step = list(on_device(task.micro_batches(0), copies_to(work.device)))
    plain, plain_operators = _plain_pytorch(work, task, step)
    prepare_deepspeed(gpu=work.bf16)
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    dist.init_process_group("nccl" if work.bf16 else "gloo", init_method=f"file://{work.folder / 'group'}", rank=0, world_size=1)
    try:
        ddp = make_ddp_engine(work, len(step))
        ddp_rate, ddp_operators = _images_per_second(work, task, ddp, lambda number: step, 0), count_operators(task, ddp, step)
        del ddp
        figures = _deepspeed(work, task, step, plain)
    finally:
        dist.destroy_process_group()
    bare = measure_bare_loop(work, step)  # last: a process that has compiled counts other operators
    operators = {"plain": plain_operators, "ddp": ddp_operators, "zero": figures.pop("operators")}
    ratios: dict = {f"{kind}_zero_of_plain": operators["zero"][kind] / max(count, 1) for kind, count in plain_operators.items()}
    ratios["zero_compiled_of_bare"] = figures["zero_compiled_images_per_second"] / bare["bare_images_per_second"]
    ratios["zero_compiled_of_ceiling"] = share_of_ceiling(figures["zero_compiled_images_per_second"], 3, raw)
    ratios["bare_of_ceiling"] = share_of_ceiling(bare["bare_images_per_second"], 3, raw)
    yardsticks = {**bare, "plain_images_per_second": plain, "plain_of_ceiling": share_of_ceiling(plain, 3, raw), "ddp_images_per_second": ddp_rate}
    return {**yardsticks, **figures, "zero_of_ddp": figures["zero_images_per_second"] / ddp_rate, "operators_per_step": operators, **ratios}


def _task(work: Work) -> EncoderTask:
    """The task with the micro-batches that the job would choose for this GPU."""
    with torch.device("meta"):
        model = ExpressionModel(work.encoder)
    memory = torch.cuda.get_device_properties(0).total_memory if work.bf16 else None
    count = sum(parameter.numel() for parameter in model.parameters())
    images = largest_micro_batch(memory, model.encoder.shape, parameters=count, recompute=False)
    context = RankContext(device=work.device, micro_batch_size=images)
    return EncoderTask(work.encoder, open_image_set(write_images(work), SHARDS, work.folder), context, noise_sizes=model.noise_sizes)


def _deepspeed(work: Work, task: EncoderTask, step: list[MicroBatch], plain: float) -> dict:
    """Measure training steps through DeepSpeed, validation and a checkpoint; then compiled steps, without and with prefetched images."""
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
    zero = _images_per_second(work, task, engine, lambda number: step, 0)
    operators = count_operators(task, engine, step)
    start = time.perf_counter()
    metrics = task.validate(model, num_workers=work.cpus - 1).metrics(config.classes)
    validation_rate = len(task.val) / (time.perf_counter() - start)
    start = time.perf_counter()
    folder = checkpoint.write(engine, {}, CheckpointMeta(world_size=1), rank=0)
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    compile_where_possible(model, work)
    compiled = _compiled_steps(work, task, engine, step)
    return {
        **compiled,
        "zero_compiled_of_zero": compiled["zero_compiled_images_per_second"] / zero,
        "zero_images_per_second": zero,
        "zero_of_plain": zero / plain,
        "operators": operators,
        "scored_images_per_second": validation_rate,
        "scored": metrics["macro_f1"],
        "checkpoint_s": seconds,
        "checkpoint_gb": size / 1e9,
        "images_in_step": config.global_batch_size,
        "images_in_micro_batch": config.global_batch_size // len(step),
    }


def _compiled_steps(work: Work, task: EncoderTask, engine: ZeroEngine, step: list[MicroBatch]) -> dict:
    """Measure steps of a compiled model on the GPU's images and then, as in a job, on prefetched and augmented ones."""
    compiled = _images_per_second(work, task, engine, lambda number: step, 0)
    if work.bf16:
        torch.cuda.reset_peak_memory_stats()
    waits: list[float] = []
    prefetched = _images_per_second(work, task, engine, task.micro_batches, work.cpus - 1, waits.append)
    return {
        "zero_compiled_images_per_second": compiled,
        "read_images_per_second": prefetched,
        "read_of_zero": prefetched / compiled,
        "data_wait_share": sum(waits[_WARMUP_STEPS:]) * prefetched / (work.steps * work.encoder.global_batch_size),
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if work.bf16 else None,
    }


def measure_ray_training(work: Work, raw: dict) -> dict:
    """Measure training as its job runs it: under Ray Train, with a checkpoint and validation after each epoch."""
    store = StageStore(write_images(work), "encoder", work.encoder, 1)
    gpus = 1.0 if work.bf16 else 0.0
    compute = ComputeConfig(local_cpus=work.cpus + 1, training=Resources(workers=1, cpus=work.cpus, gpus=gpus))
    with RaySession(compute) as session:
        session.start(compute.training)
        start = time.perf_counter()
        figures = train_encoder(store=store, item=Item(name="run", identity="bench"), shards=SHARDS, config=work.encoder, compute=compute)
        wall = time.perf_counter() - start
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


def write_images(work: Work) -> Storage:
    """Write two shards of ``IMAGE`` rows, for training and validation, unless they exist; returns their storage."""
    storage = Storage(StorageConfig(uri=str(work.folder / "store")))
    if not storage.exists(SHARDS[0]):
        quality = [cv2.IMWRITE_JPEG_QUALITY, work.encoder.ingest.quality]
        side = min(work.encoder.ingest.max_side, 2 * preprocessing_of(work.encoder.model).img_size)
        jpegs = [cv2.imencode(".jpg", image, quality)[1].tobytes() for image in synthetic_images(side)]
        for name, split, count in zip(SHARDS, ("train", "val"), (work.images, max(work.images // 10, 16)), strict=True):
            classes, scale = len(work.encoder.classes), work.encoder.ingest.scale
            rows = [
                (f"{split}-{row}", jpegs[row % len(jpegs)], row % classes, "synthetic", split, scale, None, None, 1.0, None) for row in range(count)
            ]
            columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema.IMAGE, strict=True)]
            storage.write_table(name, pa.Table.from_arrays(columns, schema=schema.IMAGE))
    return storage


def _plain_pytorch(work: Work, task: EncoderTask, step: list[MicroBatch]) -> tuple[float, dict[str, float]]:
    """Return images per second and operators of the same step in plain PyTorch: weights and AdamW in the model's precision, pixels on the GPU."""
    model = ExpressionModel(work.encoder).to(work.device, torch.bfloat16 if work.bf16 else torch.float32).train()
    optimizer = SlicedAdamW(model.parameter_groups(work.encoder), work.encoder.optim)
    engine = PlainEngine(model, optimizer, max_grad_norm=work.encoder.optim.max_grad_norm, gradient_accumulation_steps=len(step))
    rate, operators = _images_per_second(work, task, engine, lambda number: step, 0), count_operators(task, engine, step)
    del model, optimizer
    if work.bf16:
        torch.cuda.empty_cache()
    return rate, operators


def _images_per_second(
    work: Work,
    task: EncoderTask,
    engine: Engine,
    micro_batches: Callable[[int], list[MicroBatch]],
    num_workers: int,
    on_data_wait: Callable[[float], None] | None = None,
) -> float:
    """Return images per second over all steps after the warm-up; ``on_data_wait`` gets the seconds that each step waits for its images."""
    steps = run_steps(
        range(_WARMUP_STEPS + work.steps),
        micro_batches,
        lambda micro_batch: task.loss_of(engine, micro_batch),
        engine,
        lr_multiplier=lambda step: 1e-3,
        seed=task.seed,
        num_workers=num_workers,
        device=work.device,
        on_data_wait=on_data_wait,
    )
    start = 0.0
    for number, _ in enumerate(steps):
        if number == _WARMUP_STEPS - 1:
            synchronize()
            start = time.perf_counter()
    synchronize()
    return work.steps * work.encoder.global_batch_size / (time.perf_counter() - start)
