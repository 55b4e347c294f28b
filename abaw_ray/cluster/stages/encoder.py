"""Stage ``encoder`` (paper, Stage I): one training run over all images; its output is ``encoder/`` as timm loads it, without the head."""

from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import RunWork, Stage
from abaw_ray.cluster.stages.images import INGEST_IMAGES
from abaw_ray.cluster.stages.scales import check_scales, scale_warnings
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.encoder.config import REVISION


def check(run: Run[Any]) -> None:
    """Check the pretrained weights, the ranges of scales, and that the number of ranks divides the batch."""
    from abaw_ray.encoder.model import check_weights

    check_weights(run.config.encoder.model, run.config.storage)
    run.config.encoder.check_world_size(run.compute.training.workers)
    check_scales(run)


def describe(run: Run[Any]) -> str:
    """Text of the work in the plan."""
    images, epochs = INGEST_IMAGES.record(run), run.config.encoder.epochs
    return f"{epochs} epochs" + (f" over {images.figures['rows']:,.0f} images" if images else "")


def train(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Train on all images; returns the metrics of the last epoch, and those of all epochs as ``curve``."""
    from abaw_ray.cluster.training.preemption import preempted_nodes
    from abaw_ray.cluster.training.trainer import train_encoder

    config, images = run.config.encoder, INGEST_IMAGES.require(run)
    echo(f"encoder: {config.epochs} epochs over {images.figures['rows']:,.0f} images; {run.storage.uri(store.path)}")
    figures = train_encoder(
        store=store,
        item=item,
        shards=sorted(images.outputs.values()),
        config=config,
        resources=run.compute.training,
        micro_batch_size=run.compute.micro_batch_size,
        recompute_activations=run.compute.recompute_activations,
        preemption_poll_s=run.compute.preemption_poll_s,
        on_report=_show,
        preempted_nodes=preempted_nodes if run.session.shared else None,
    )
    return {**figures, "rows": images.figures["rows"]}


def _show(figures: dict) -> None:
    if "preempted_nodes" in figures:
        step = f"step {figures['step']} of {figures['total_steps']}"
        echo(f"  encoder: {figures['preempted_nodes']} machines are being preempted; a checkpoint is written after {step}")
        return
    done, rate = f"epoch {figures['epoch']} of {figures['epochs']}", f"{figures['images_per_second']:,.0f} images/s"
    echo(f"  encoder: {done}, loss {figures['loss']:.3f}, macro-F1 of held-out images {figures['macro_f1']:.3f}, {rate}")


TRAIN_ENCODER = Stage(
    name="encoder",
    revision=REVISION,
    settings=lambda config: config.encoder,
    inputs=(INGEST_IMAGES,),
    check=check,
    warnings=scale_warnings,
    work=RunWork(run=train, resources=lambda compute: compute.training, describe=describe, gang=True),
    job="abaw-ray train",
)
