"""What a job will do, said before anything is paid for: its stages, what is there already, what they ask the cluster for, what is wrong."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from abaw_ray.cluster.engine import capacity as room
from abaw_ray.cluster.engine.compute import ComputeConfig
from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.session import refusal
from abaw_ray.cluster.stages.annotations import annotated
from abaw_ray.cluster.stages.encoder import encoder_item, encoder_store
from abaw_ray.cluster.stages.faces import check_detector, faces_store, videos
from abaw_ray.cluster.stages.features import feature_items, features_record, features_store
from abaw_ray.cluster.stages.fusion import sweep_item, sweep_store
from abaw_ray.cluster.stages.images import images_store, shards
from abaw_ray.cluster.stages.predictions import predictions_item, predictions_store
from abaw_ray.cluster.stages.pretrained import check_encoder, check_speech
from abaw_ray.cluster.stages.synthetic import is_drawn, place_of
from abaw_ray.core.errors import AbawError, ConfigError, DataError
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.records import Item, StageStore

_THERE = "there already"


@dataclass(frozen=True)
class Ask:
    """Workers of one size that a stage asks for."""

    workers: int
    """0 for as many as there is room for."""
    cpus: float
    gpus: float
    memory_gb: float = 0.0
    together: bool = False
    """All at the same time or not at all."""

    def __str__(self) -> str:
        parts = [(self.cpus, "CPU"), (self.gpus, "GPU"), (self.memory_gb, "GB")]
        return f"{self.workers or 'up to all'} x " + " + ".join(f"{value:g} {name}" for value, name in parts if value)


def show(run: Run, job: Any, stages: tuple[str, ...]) -> None:
    """Print the plan of these stages, and every problem found.

    Raises:
        AbawError: the first problem; nothing has been started but, where no cluster is there, a Ray to ask.
    """
    problems: list[AbawError] = []
    _noted(problems, run.storage.check)
    run.engine.start()
    there = room.machines()
    data = run.where.data
    needs_drawn = data.draw and not (data.videos and stages == ("faces",))
    undrawn = needs_drawn and not is_drawn(place_of(data.drawn, run.storage), run.storage)
    rows = [("stage", "work", "asks for", "room for")]
    for stage in stages:
        look, ask = _STEPS[stage]
        asked = ask(run.compute)
        work = "when the data set is drawn" if undrawn else _noted(problems, partial(look, run, job, stages))
        found = room.workers(there, cpus=asked.cpus, gpus=asked.gpus, memory=asked.memory_gb * 2**30)
        if work != _THERE and not run.engine.grows_unseen:
            _noted(problems, partial(_schedulable, stage, asked, found))
        rows.append((stage, work or "cannot be said, see below", str(asked), f"{found:,}"))
    echo(f"plan, results in {run.storage.uri()}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # no table of the terminal's: a log has no width, and lines must stay whole
        echo("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for problem in problems:
        echo(f"PROBLEM {problem}")
    if problems:
        raise problems[0]
    echo("nothing stands in the way; the same command without --plan does it")


def _noted(problems: list[AbawError], call: Callable[[], Any]) -> Any:
    """What the call returns; its error is noted, once, instead of raised."""
    try:
        return call()
    except AbawError as error:
        if str(error) not in map(str, problems):
            problems.append(error)
        return None


def _schedulable(stage: str, asked: Ask, found: int) -> None:
    least = asked.workers if asked.together else 1
    if found < least:
        raise ConfigError(f"{stage}: {refusal(least, found, cpus=asked.cpus, gpus=asked.gpus, memory_gb=asked.memory_gb)}")


def _counted(store: StageStore, items: Iterable[Item], unit: str) -> str:
    """What of these is to do."""
    items = list(items)
    if store.record(items) is not None:
        return _THERE
    done = len(store.done(items))
    return f"{len(items) - done:,} of {len(items):,} {unit}" + (f", {done:,} there already" if done else "")


def _faces(run: Run, job: Any, stages: tuple[str, ...]) -> str:
    wanted = videos(run)
    check_detector(run, job.faces, wanted)
    said = _counted(faces_store(run, job.faces), wanted, "videos")
    return said if said == _THERE else f"{said}, {sum(row['size'] for row in wanted.values()) / 1e9:,.1f} GB in all"


def _images(run: Run, job: Any, stages: tuple[str, ...]) -> str:
    return _counted(images_store(run, job.encoder.ingest), shards(run), "shards of images")


def _encoder(run: Run, job: Any, stages: tuple[str, ...]) -> str:
    config = job.encoder
    check_encoder(config.model, run.where.storage)
    config.check_world_size(run.compute.train_workers)
    images = images_store(run, config.ingest).record(shards(run))
    if images and encoder_store(run, config).record([encoder_item(images)]):
        return _THERE
    return f"{config.epochs} epochs" + (f" over {images.figures['rows']:,.0f} images" if images else "")


def _features(run: Run, job: Any, stages: tuple[str, ...]) -> str:
    check_speech(job.features.speech, run.where.storage)
    items = _later(lambda: feature_items(run, job), "faces" in stages)
    return _counted(features_store(run, job), items, "videos") if items else "when faces and encoder are there"


def _fusion(run: Run, job: Any, stages: tuple[str, ...]) -> str:
    who = annotated(run)
    features = _later(lambda: features_record(run, job), "features" in stages)
    if features and sweep_store(run, job).record([sweep_item(features, who)]):
        return _THERE
    return f"{job.sweep.trials} trials of {job.sweep.folds} folds, {len(who.labels):,} annotated subjects"


def _predictions(run: Run, job: Any, stages: tuple[str, ...]) -> str:
    item = _later(lambda: predictions_item(run, job), "fusion" in stages)
    if item and predictions_store(run, job).record([item]):
        return _THERE
    return "validation" + (" and test release" if annotated(run).example else "")


def _later(read: Callable[[], Any], soon: bool) -> Any:
    """What an earlier stage left; None where this job will make it."""
    try:
        return read()
    except DataError:
        if not soon:
            raise
        return None


_STEPS: dict[str, tuple[Callable[[Run, Any, tuple[str, ...]], str], Callable[[ComputeConfig], Ask]]] = {
    "faces": (_faces, lambda on: Ask(on.item_workers, 1, 0, on.item_memory_gb)),
    "images": (_images, lambda on: Ask(on.item_workers, 1, 0, on.item_memory_gb)),
    "encoder": (_encoder, lambda on: Ask(on.train_workers, on.cpus_per_worker, on.gpus_per_worker, on.train_memory_gb, together=True)),
    "features": (_features, lambda on: Ask(on.feature_workers, on.feature_cpus, on.feature_gpus, on.feature_memory_gb)),
    "fusion": (_fusion, lambda on: Ask(on.trials, on.cpus_per_trial, on.gpus_per_trial, on.trial_memory_gb)),
    "predictions": (_predictions, lambda on: Ask(1, 1, on.gpus_per_trial, on.trial_memory_gb)),
}
"""Stage -> what of it is to do, and what it asks for."""
ALL = tuple(_STEPS)
"""Every stage, in the order of the line."""
