"""Stage I as a stage of the line: images into storage, then one training run on all of them; what is there already is not done again."""

from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import needed, run_once
from abaw_ray.cluster.stages.images import images_store, ingest_images, shards
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.records import Item, Record, StageStore
from abaw_ray.encoder.config import REVISION, EncoderConfig

STAGE = "encoder"


def encoder_store(run: Run, config: EncoderConfig) -> StageStore:
    """Where encoders trained with these settings live."""
    return StageStore(run.storage, STAGE, config, REVISION, (images_store(run, config.ingest).path,))


def encoder_item(images: Record) -> Item:
    """The training on exactly these images."""
    return Item(name="run", identity=images.identity)


def prepare_encoder(run: Run, config: EncoderConfig) -> Record:
    """Bring the trained encoder into storage: its part holds ``encoder/`` as timm loads it, without the head."""
    images = ingest_images(run, config.ingest)
    store, item = encoder_store(run, config), encoder_item(images)

    def train() -> dict[str, Any]:
        echo(f"{STAGE}: {config.epochs} epochs over {images.figures['rows']:,.0f} images; {run.storage.uri(store.path)}")
        ranks = run.compute.train_workers
        on = run.compute
        run.engine.start(workers=ranks, cpus=on.cpus_per_worker, gpus=on.gpus_per_worker, memory_gb=on.train_memory_gb)
        from abaw_ray.cluster.training.rank import preempted_nodes
        from abaw_ray.cluster.training.trainer import train_encoder

        parts, poll = sorted(images.parts.values()), preempted_nodes if run.engine.shared else None
        figures = train_encoder(store=store, item=item, shards=parts, config=config, compute=run.compute, on_report=_say, preempted_nodes=poll)
        return {**figures, "rows": images.figures["rows"]}

    return run_once(store, item, train)


def _say(figures: dict) -> None:
    if "preempted_nodes" in figures:
        step = f"step {figures['step']} of {figures['total_steps']}"
        echo(f"  encoder: {figures['preempted_nodes']} machines are about to be preempted; a checkpoint is written after {step}")
        return
    done, rate = f"epoch {figures['epoch']} of {figures['epochs']}", f"{figures['images_per_second']:,.0f} images/s"
    echo(f"  encoder: {done}, loss {figures['loss']:.3f}, macro-F1 of held-out images {figures['macro_f1']:.3f}, {rate}")


def encoder_record(run: Run, config: EncoderConfig) -> Record:
    """The record of a trained encoder that a later stage builds on.

    Raises:
        DataError: it is not there (yet) for these images and settings.
    """
    store, images = encoder_store(run, config), images_store(run, config.ingest).record(shards(run))
    return needed(store, images and store.record([encoder_item(images)]), "jobs/train_encoder.py")
