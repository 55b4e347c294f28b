"""Stage ``analysis``: videos to ANALYSIS tables, and the user's files about each. ``abaw_ray.predict`` analyzes the video.

Without a GPU one worker does both halves of a video. With GPUs two operators follow each other: CPU workers find faces and store chips and audio,
GPU workers score them. Chips stay in storage until their video is done.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import Forecast, ItemOperator, ItemWork
from abaw_ray.cluster.stages.analysis.plan import forecast, workloads
from abaw_ray.cluster.stages.analysis.work import CHIPS, AnalysisWork, FindWork, FusedWork, ScoreWork
from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.storage.storage import Storage
from abaw_ray.core.units import size_text
from abaw_ray.data.videos import IMAGE_SUFFIXES, SUFFIXES, list_videos
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.identity.embedder import describe
from abaw_ray.faces.weights import load_face_weights
from abaw_ray.predict.analyzer import faces_config
from abaw_ray.predict.bundle.metadata import BundleMetadata
from abaw_ray.predict.bundle.store import open_bundle
from abaw_ray.predict.config import output_config
from abaw_ray.predict.estimate.model import ModelCost, model_cost
from abaw_ray.predict.output.files import WRITTEN_SUFFIXES
from abaw_ray.predict.output.names import output_names

REVISION = 1
"""Raised when the same video, model and settings give another table."""
_DRIVER_BYTES = 20_000_000
"""Bytes of video up to which several videos are analyzed in the driver: starting Ray and loading the model in each worker takes longer. Ours."""


@once_per_run
def analyzed_videos(run: Run[Any]) -> dict[Item, dict]:
    """VIDEO rows of the given videos and images, each once, with the names of their files, by item. Files that an earlier run wrote into the output
    folder are no input.

    Raises:
        DataError: no video is found, or a listed file is missing.
        StorageError: a store cannot be reached.
    """
    storage, suffixes = run.config.storage, (*SUFFIXES, *IMAGE_SUFFIXES)
    output = f"{Storage(output_config(storage)).uri()}/"
    listed = {row["uri"]: row for where in run.config.data.videos for row in list_videos(where, storage, suffixes=suffixes)}
    rows = [row for uri, row in listed.items() if not (uri.startswith(output) and uri.endswith(WRITTEN_SUFFIXES))]
    if not rows:
        raise DataError(f"{next(iter(listed))}: only files that this command wrote were given; choose another folder with -o to analyze them")
    if len({row["video"] for row in rows}) < len(rows):
        rows = [row | {"video": row["uri"]} for row in rows]  # of several inputs; their paths differ
    rows = rows[: run.config.limit or None]
    names = output_names(row["video"] for row in rows)
    return {Item(name=row["video"], identity=digest([row["identity"]])): row | {"output": names[row["video"]]} for row in rows}


@once_per_run
def _model(run: Run[Any]) -> tuple[BundleMetadata, ModelCost]:
    """The description of the model, after it was verified, and its arithmetic."""
    with open_bundle(run.config.model, run.config.storage) as bundle:
        return bundle.metadata, model_cost(bundle.folder, bundle.metadata)


def model_metadata(run: Run[Any]) -> BundleMetadata:
    """The description of the model, after it was verified.

    Raises:
        ConfigError: no model was given, or there is none.
        DataError: it is damaged.
    """
    return _model(run)[0]


@once_per_run
def analysis_work(run: Run[Any]) -> AnalysisWork:
    """The work, with the detector's weights.

    Raises:
        ConfigError: the model or the detector's weights are missing.
        DataError: the model is damaged.
    """
    config, metadata = run.config, model_metadata(run)
    faces = _faces(run, metadata)
    threads = max(int(run.compute.features.cpus) - 1, 0)
    if config.device.device == "cuda" and not run.compute.features.gpus:
        raise ConfigError("--device cuda: the workers have no GPU; add --compute.features.gpus 1, or a --cluster-size with GPUs")
    return AnalysisWork(
        model=config.model,
        faces=faces,
        weights=load_face_weights(faces, config.storage),
        with_audio=metadata.kind == "audio-visual",
        analysis=config.analysis,
        outputs=config.outputs,
        output=Storage(output_config(config.storage)),
        notices=(*metadata.notices, *([describe(faces)] if config.analysis.people == "all" else [])),
        device=replace(config.device, decode_workers=threads),
        limits=run.compute.limits,
        storage=config.storage,
        keep_chips=config.keep_chips,
    )


def _faces(run: Run[Any], metadata: BundleMetadata) -> FacesConfig:
    chosen = run.config.faces
    return faces_config(metadata.faces, chosen.detector, chosen.people.weights)


def _sources(run: Run[Any]) -> tuple[str, ...]:
    """The model's content, and the settings of the faces that it is given."""
    metadata = model_metadata(run)
    files = {name: file.sha256 for name, file in metadata.files.items()}
    return (digest([files, _faces(run, metadata), metadata.postprocessing]),)


def _few(todo: Mapping[Item, dict]) -> bool:
    return len(todo) == 1 or sum(row["size"] for row in todo.values()) <= _DRIVER_BYTES


def _forecast(run: Run[Any], todo: Mapping[Item, dict], workers: tuple[int, ...]) -> Forecast:
    return forecast(run, todo, _model(run)[1], workers, in_driver=_few(todo))


def _operator(work: type, pool: str) -> ItemOperator[Any]:
    return ItemOperator(build=lambda run: partial(work, analysis_work(run)), resources=lambda compute: getattr(compute, pool))


ANALYZE = Stage[Any](
    name="analysis",
    revision=REVISION,
    settings=lambda config: config.analysis,
    sources=_sources,
    check=analysis_work,
    workloads=lambda run, todo: workloads(run, todo, _model(run)[1]) if todo else (),
    work=ItemWork(
        items=analyzed_videos,
        operators=(_operator(FusedWork, "features"),),
        unit="videos",
        in_driver=_few,
        between=lambda config: "" if config.keep_chips else CHIPS,
        forecast=_forecast,
        describe=lambda items: f"{size_text(sum(row['size'] for row in items.values()))} in all",
    ),
    job="abaw-ray analyze",
)
"""One operator that does both halves, for machines without a GPU."""

_SCORE = replace(_operator(ScoreWork, "features"), items_per_worker=lambda compute: compute.videos_per_features_worker)
ANALYZE_ON_GPUS = replace(ANALYZE, work=replace(ANALYZE.work, operators=(_operator(FindWork, "decode"), _SCORE)))
"""Two operators, for workers with a GPU; the results and their addresses are the same."""


def analyze_stage(run: Run[Any]) -> Stage[Any]:
    """The stage for this run's workers."""
    return ANALYZE_ON_GPUS if run.compute.features.gpus else ANALYZE
