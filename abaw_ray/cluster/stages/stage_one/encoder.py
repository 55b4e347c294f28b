"""Stage ``encoder`` (paper, Stage I): one training run over all images; its output is ``encoder/`` as timm loads it, without the head.

With ``encoder.path`` it copies an encoder that was trained before, in the driver, and no still images are needed.
"""

import tempfile
from pathlib import Path
from typing import Any

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import RunWork
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.stage_one.images import INGEST_IMAGES, image_counts
from abaw_ray.cluster.stages.stage_one.scales import check_scales, scale_warnings
from abaw_ray.cluster.stages.stage_one.training_reports import TrainingReports, scores_text
from abaw_ray.cluster.stages.workloads.encoder import done_text, training_workload
from abaw_ray.cluster.training.checkpoints.meta import fraction_trained
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.file_digest import file_sha256
from abaw_ray.core.progress import echo
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.folders import upload_folder
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.encoder.config import REVISION, EncoderConfig, parse_source_weights


def check(run: Run[Any]) -> None:
    """Check that the encoder to copy exists; or weights, scales and data sets of its training, and that the number of ranks divides the batch."""
    from abaw_ray.encoder.model import check_weights
    from abaw_ray.encoder.vit.saved_encoder import SavedEncoder

    if run.config.encoder.path:
        SavedEncoder(run.config.encoder.path, run.config.storage).check()
        return
    check_weights(run.config.encoder.model, run.config.storage)
    run.config.encoder.check_world_size(run.compute.training.workers)
    check_source_weights(run)
    check_scales(run)


def check_source_weights(run: Run[Any]) -> None:
    """Check that every weighted data set is used.

    Raises:
        ConfigError: one is not.
    """
    from abaw_ray.data.still_images.read import source_names

    sources = source_names(run.config.data)
    unknown = [name for name in parse_source_weights(run.config.encoder.source_weights) if name not in sources]
    if unknown:
        raise ConfigError(f"encoder.source_weights: '{unknown[0]}' is no data set of this run, which has {', '.join(sources) or 'none'}")


def check_input_size(run: Run[Any]) -> None:
    """Check that the chips have the size of the encoder's input.

    Raises:
        ConfigError: they have another size.
    """
    from abaw_ray.encoder.vit.preprocessing import preprocessing_of
    from abaw_ray.encoder.vit.saved_encoder import SavedEncoder

    config, chip_size = run.config.encoder, run.config.faces.chips.size
    saved = SavedEncoder(config.path, run.config.storage) if config.path else None
    img_size = saved.img_size() if saved else preprocessing_of(config.model).img_size
    if chip_size != img_size:
        where = f"the encoder at encoder.path={config.path}" if saved else config.model.name
        raise ConfigError(f"faces.chips.size={chip_size} is not the input size of {where}; set faces.chips.size={img_size} for all commands")


@once_per_run
def identity_of_saved(run: Run[Any]) -> tuple[str, ...]:
    """Identity of the encoder that is copied; empty where one is trained."""
    if not run.config.encoder.path:
        return ()
    from abaw_ray.encoder.vit.saved_encoder import SavedEncoder

    return (SavedEncoder(run.config.encoder.path, run.config.storage).identity(),)


def settings(config: EncoderConfig) -> Any:
    """What determines the encoder: all settings of Stage I, or of an encoder that is copied, besides its content, how its tokens become a vector."""
    return {"pool": config.model.pool} if config.path else config


def describe(run: Run[Any]) -> str:
    """Text of the work in the plan."""
    if run.config.encoder.path:
        return f"a copy of {run.config.encoder.path}"
    images, epochs = INGEST_IMAGES.record(run), run.config.encoder.epochs
    return f"{epochs} epochs" + (f" over {images.figures['rows']:,.0f} images" if images else "") + done_text(_fraction_done(run))


@once_per_run
def _fraction_done(run: Run[Any]) -> float:
    """Fraction of the training that the checkpoint of an interrupted run contains."""
    if INGEST_IMAGES.record(run) is None:
        return 0.0
    (item,) = TRAIN_ENCODER.items(run)
    return fraction_trained(TRAIN_ENCODER.store(run), item)


def train_or_copy(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Train the encoder or copy one; returns the figures."""
    return copy(run, store, item) if run.config.encoder.path else train(run, store, item)


def copy(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Write the encoder at ``encoder.path`` as the output, without a classifier; returns where it is from and the digest of its weights.

    Raises:
        ConfigError: it does not exist.
        DataError: it is not complete, or no plain vision Transformer.
        StorageError: it cannot be read, or the output cannot be written.
    """
    from abaw_ray.encoder.checkpoint import load_encoder, save_encoder
    from abaw_ray.encoder.vit.saved_encoder import WEIGHTS_FILE, SavedEncoder

    config = run.config.encoder
    with disk_full_to_storage_error(), tempfile.TemporaryDirectory(prefix="abaw-encoder-") as folder:
        with SavedEncoder(config.path, run.config.storage).local_folder() as source:
            encoder = load_encoder(source, pool=config.model.pool, name=config.path)
            source_sha256 = file_sha256(source / WEIGHTS_FILE)
        save_encoder(Path(folder), encoder)
        upload_folder(Path(folder), store.storage, f"{store.output(item, '')}/encoder")
    figures = {"rows": 0, "curve": [], "copied_from": config.path, "source_sha256": source_sha256, "architecture": encoder.name, "dim": encoder.dim}
    store.complete_folder(item, figures)
    echo(f"encoder: not trained, a copy of {config.path}: {encoder.name}, vectors of {encoder.dim:,} numbers, SHA-256 {source_sha256[:12]}")
    return figures


def train(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Train on all images; returns the metrics of the selected epoch, and those of all epochs as ``curve``."""
    config, images = run.config.encoder, INGEST_IMAGES.require(run)
    echo(f"encoder: {config.epochs} epochs over {images.figures['rows']:,.0f} images; {run.storage.uri(store.path)}")
    figures = train_on(run, store, item, sorted(images.outputs.values()), config)
    selection = figures["selection"]
    echo(f"encoder: the {selection['select']} epoch is used, {selection['epoch']} of {selection['last_epoch']}; {scores_text(figures['data_sets'])}")
    if figures["probe"]:
        echo(f"encoder: linear probe of its vectors, {scores_text(figures['probe']['data_sets'])}")
    return {**figures, "rows": images.figures["rows"]}


def train_on(
    run: Run[Any], store: StageStore, item: Item, shards: list[str], config: EncoderConfig, *, name: str = "encoder", start_from: str = ""
) -> dict[str, Any]:
    """Train one encoder with the run's workers; arguments and result as of ``train_encoder``, ``name`` is printed."""
    from abaw_ray.cluster.training.ranks.polls import preempted_nodes
    from abaw_ray.cluster.training.trainer import train_encoder

    return train_encoder(
        store=store,
        item=item,
        shards=shards,
        config=config,
        compute=run.compute,
        start_from=start_from,
        is_synthetic=run.config.data.use_synthetic,
        run_id=run.id,
        on_report=TrainingReports(name, run.events),
        on_wait=lambda text: echo(f"  {name}: {text}"),
        preempted_nodes=preempted_nodes if run.session.shared else None,
    )


def workload(run: Run[Any]) -> Workload | None:
    """What remains of the training; None for a copied encoder."""
    return None if run.config.encoder.path else training_workload(run, *image_counts(run), run.config.encoder.epochs, done=_fraction_done(run))


TRAIN_ENCODER = Stage(
    name="encoder",
    revision=REVISION,
    settings=lambda config: settings(config.encoder),
    inputs=(INGEST_IMAGES,),
    sources=identity_of_saved,
    check=check,
    workloads=lambda run, todo: (workload(run),),
    warnings=scale_warnings,
    work=RunWork(
        run=train_or_copy,
        resources=lambda compute: compute.training,
        describe=describe,
        gang=True,
        in_driver=lambda config: bool(config.encoder.path),
    ),
    job="abaw-ray train",
)
