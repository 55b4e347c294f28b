"""Stage ``fold_encoders``: encoders that continue from that of the still images with chips of annotated videos, one per protocol and fold.

They are trained one after another, each an item of the stage's store, so that a killed run continues with the unfinished one. Before each training,
the subjects of its images are read from the shards and compared with those that it must not see.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import RunWork
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.annotations import annotated, cv_folds
from abaw_ray.cluster.stages.stage_one.annotated_images import PREPARE_ANNOTATED_IMAGES
from abaw_ray.cluster.stages.stage_one.encoder import TRAIN_ENCODER, train_on
from abaw_ray.cluster.stages.stage_one.images import INGEST_IMAGES, image_counts
from abaw_ray.cluster.stages.stage_one.training_reports import scores_text
from abaw_ray.cluster.stages.workloads.encoder import training_workload
from abaw_ray.cluster.training.checkpoints.meta import fraction_trained
from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.progress import echo
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import RUN, Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import REVISION, EncoderConfig
from abaw_ray.encoder.folds.config import FoldEncodersConfig
from abaw_ray.encoder.folds.plan import FoldEncoder, fold_encoders

_READ_THREADS = 8
"""Threads that read a column of the shards, which is bound by storage latency. Ours."""


def subjects_of_images(storage: Storage, shards: Sequence[str]) -> frozenset[str]:
    """Names in the column ``subject`` of these shards; shards of still images have no such column."""

    def read(shard: str) -> set[str]:
        if "subject" not in storage.table_schema(shard).names:
            return set()
        return set(storage.read_table(shard, columns=["subject"])["subject"].unique().to_pylist())

    with ThreadPoolExecutor(_READ_THREADS) as pool:
        return frozenset().union(*pool.map(read, shards))


def checked_subjects(storage: Storage, shards: Sequence[str], encoder: FoldEncoder) -> frozenset[str]:
    """The subjects of the images that an encoder is about to be trained on.

    Raises:
        StageError: it must not see one of them, or there is none.
    """
    subjects = subjects_of_images(storage, shards)
    encoder.check(subjects)
    if not subjects:
        raise StageError(f"fold_encoders: no chip for {encoder.name}; no labelled frame of {len(encoder.train)} subjects shows a face")
    return subjects


def training_config(config: EncoderConfig, folds: FoldEncodersConfig) -> EncoderConfig:
    """Settings of the training: those of Stage I, with fewer epochs, no probe, and without pretrained weights, which would be replaced at once."""
    return replace(config, epochs=folds.epochs, probe_images_per_class=0, model=replace(config.model, weights="random"))


def train_all(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Train all encoders; returns the folder, the subjects and the scores of each by its name."""
    chips = PREPARE_ANNOTATED_IMAGES.require(run)
    encoders = fold_encoders(annotated(run).splits, cv_folds(run))
    echo(f"fold_encoders: {len(encoders)} encoders, {run.config.fold_encoders.epochs} epochs each; {run.storage.uri(store.path)}")
    trained = {encoder.name: _train(run, store, encoder) for encoder in encoders}
    figures = {"rows": chips.figures["rows"], "encoders": trained}
    store.complete_folder(item, figures)
    return figures


def _item(run: Run[Any], encoder: FoldEncoder) -> tuple[Item, list[str], str]:
    """An encoder as an item, with the shards that train it and the folder of the encoder that it continues."""
    images, chips, stills = (stage.require(run).outputs for stage in (INGEST_IMAGES, PREPARE_ANNOTATED_IMAGES, TRAIN_ENCODER))
    shards = [*sorted(images.values()), *(chips[name] for name in sorted(encoder.train & chips.keys()))]
    start_from = f"{stills[RUN]}/encoder"
    return Item(name=encoder.name, identity=digest([shards, start_from])), shards, start_from


def _train(run: Run[Any], store: StageStore, encoder: FoldEncoder) -> dict[str, Any]:
    """Train one encoder, unless an earlier run has done so."""
    own, shards, start_from = _item(run, encoder)
    subjects = checked_subjects(run.storage, shards, encoder)
    config = training_config(run.config.encoder, run.config.fold_encoders)
    figures = train_on(run, store, own, shards, config, name=encoder.name, start_from=start_from)
    epoch = figures["selection"]["epoch"]
    echo(f"fold_encoders: {encoder.name}, epoch {epoch} of {config.epochs} is used, {len(subjects)} subjects; {scores_text(figures['data_sets'])}")
    return {
        "folder": f"{store.output(own, '')}/encoder",
        "subjects": sorted(subjects),
        "images": figures["train_images"],
        "epoch": epoch,
        "data_sets": {name: scores["macro_f1"] for name, scores in figures["data_sets"].items()},
    }


def check(run: Run[Any]) -> None:
    """Check that an encoder of still images is trained, and that there are annotations.

    Raises:
        ConfigError: ``encoder.path`` names an encoder that is used as it is.
    """
    if run.config.encoder.path:
        raise ConfigError(
            "encoder.path: encoders per fold continue the training of Stage I on still images, which an encoder from elsewhere does not have; "
            "leave it out, or set fold_encoders.epochs to 0"
        )
    cv_folds(run)


def describe(run: Run[Any]) -> str:
    """Text of the work in the plan."""
    return f"{1 + run.config.sweep.folds} encoders, {run.config.fold_encoders.epochs} epochs each"


def workload(run: Run[Any]) -> Workload:
    """What remains of the trainings: still images and, where they are not counted yet, the largest number of chips."""
    train, val = image_counts(run)
    chips = PREPARE_ANNOTATED_IMAGES.record(run)
    encoders, done, share = 1 + run.config.sweep.folds, 0.0, (run.config.sweep.folds - 1) / run.config.sweep.folds
    if chips is not None and TRAIN_ENCODER.record(run) is not None:
        wanted = [_item(run, encoder)[0] for encoder in fold_encoders(annotated(run).splits, cv_folds(run))]
        store = TRAIN_FOLD_ENCODERS.store(run)
        done = sum(fraction_trained(store, item) for item in wanted)
    images = chips.figures["rows"] if chips is not None else run.config.fold_encoders.images
    return training_workload(run, train + images * share, val, run.config.fold_encoders.epochs, trainings=encoders, done=done)


TRAIN_FOLD_ENCODERS = Stage(
    name="fold_encoders",
    revision=REVISION,
    settings=lambda config: {
        "encoder": config.encoder,
        "epochs": config.fold_encoders.epochs,
        "folds": config.sweep.folds,
        "seed": config.sweep.seed,
    },
    inputs=(INGEST_IMAGES, PREPARE_ANNOTATED_IMAGES, TRAIN_ENCODER),
    is_needed=lambda config: config.fold_encoders.are_trained,
    check=check,
    workloads=lambda run, todo: (workload(run),),
    work=RunWork(
        run=train_all,
        resources=lambda compute: compute.training,
        identity=lambda run: annotated(run).identity,
        describe=describe,
        gang=True,
    ),
    job="abaw-ray sweep",
)
