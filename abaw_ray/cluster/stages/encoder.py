"""Stage ``encoder`` (paper, Stage I): one training run over all images; its output is ``encoder/`` as timm loads it, without the head."""

from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import RunWork, Stage
from abaw_ray.cluster.stages.images import INGEST_IMAGES
from abaw_ray.cluster.stages.scales import check_scales, scale_warnings
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.encoder.config import REVISION, parse_source_weights


def check(run: Run[Any]) -> None:
    """Check weights, ranges of scales, that the number of ranks divides the batch, and that weighted data sets are used."""
    from abaw_ray.data.still_images.read import source_names
    from abaw_ray.encoder.model import check_weights

    check_weights(run.config.encoder.model, run.config.storage)
    run.config.encoder.check_world_size(run.compute.training.workers)
    sources = source_names(run.config.data)
    unknown = [name for name in parse_source_weights(run.config.encoder.source_weights) if name not in sources]
    if unknown:
        raise ConfigError(f"encoder.source_weights: '{unknown[0]}' is no data set of this run, which has {', '.join(sources) or 'none'}")
    check_scales(run)


def describe(run: Run[Any]) -> str:
    """Text of the work in the plan."""
    images, epochs = INGEST_IMAGES.record(run), run.config.encoder.epochs
    return f"{epochs} epochs" + (f" over {images.figures['rows']:,.0f} images" if images else "")


def train(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Train on all images; returns the metrics of the selected epoch, and those of all epochs as ``curve``."""
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
        is_synthetic=run.config.data.use_synthetic,
        on_report=_show,
        preempted_nodes=preempted_nodes if run.session.shared else None,
    )
    selection = figures["selection"]
    echo(f"encoder: the {selection['select']} epoch is used, {selection['epoch']} of {selection['last_epoch']}; {_scores(figures['data_sets'])}")
    if figures["probe"]:
        echo(f"encoder: linear probe of its vectors, {_scores(figures['probe']['data_sets'])}")
    return {**figures, "rows": images.figures["rows"]}


def _scores(data_sets: dict[str, dict[str, float]]) -> str:
    """Macro-F1 by validation set."""
    return "macro-F1 " + ", ".join(f"{name} {scores['macro_f1']:.3f}" for name, scores in data_sets.items())


def _show(figures: dict) -> None:
    if "preempted_nodes" in figures:
        step = f"step {figures['step']} of {figures['total_steps']}"
        echo(f"  encoder: {figures['preempted_nodes']} machines are being preempted; a checkpoint is written after {step}")
        return
    done, rate = f"epoch {figures['epoch']} of {figures['epochs']}", f"{figures['images_per_second']:,.0f} images/s"
    echo(f"  encoder: {done}, loss {figures['loss']:.3f}, {_scores(figures['data_sets'])}, {rate}")


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
