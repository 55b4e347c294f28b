"""Stage ``analysis``: videos to ANALYSIS tables, and the user's files about each. ``abaw_ray.predict`` analyzes the video.

Without a GPU one worker does both halves of a video. With GPUs two operators follow each other: CPU workers find faces and store chips and audio,
GPU workers score them. Chips stay in storage until their video is done.
"""

import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.stage import ItemOperator, ItemWork, Stage
from abaw_ray.cluster.stages.sources import video_missing
from abaw_ray.core.errors import ConfigError, ItemError, MissingError, StorageError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.videos import IMAGE_SUFFIXES, SUFFIXES, list_videos
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.identity.embedder import describe
from abaw_ray.features.config import DeviceConfig
from abaw_ray.predict.analysis import Analysis
from abaw_ray.predict.analyzer import faces_config
from abaw_ray.predict.bundle.metadata import BundleMetadata
from abaw_ray.predict.bundle.store import open_bundle
from abaw_ray.predict.config import AnalysisConfig, OutputConfig, output_config
from abaw_ray.predict.find_faces import SUMMARY_FILE, FaceWeights, FindFaces, load_face_weights, read_summary
from abaw_ray.predict.models.load import load_model
from abaw_ray.predict.output.files import OutputWriter
from abaw_ray.predict.output.names import output_names
from abaw_ray.predict.score_faces import ScoreFaces

REVISION = 1
"""Raised when the same video, model and settings give another table."""
_DRIVER_BYTES = 20_000_000
"""Bytes of video up to which several videos are analyzed in the driver: starting Ray and loading the model in each worker takes longer. Ours."""


@dataclass(frozen=True, kw_only=True)
class AnalysisWork:
    """What both halves of the work need; picklable."""

    model: str
    faces: FacesConfig
    weights: FaceWeights
    with_audio: bool
    analysis: AnalysisConfig
    outputs: OutputConfig
    output: Storage
    """The user's output folder."""
    device: DeviceConfig
    limits: ChildLimits
    storage: StorageConfig
    keep_chips: bool
    notices: tuple[str, ...]
    """What the user is told about the model and the faces."""

    def finder(self) -> FindFaces:
        """The first half."""
        return FindFaces(self.faces, self.limits, weights=self.weights, with_audio=self.with_audio)

    def scorer(self) -> ScoreFaces:
        """The second half; imports the tensor libraries."""
        model, metadata = load_model(self.model, self.device, self.storage)
        return ScoreFaces(model, metadata, self.analysis)

    def writer(self) -> OutputWriter:
        """Writes the user's files."""
        return OutputWriter(self.output, self.outputs, self.limits)


class FindWork:
    """First operator: finds the faces of one video, and stores chips and audio for the second one."""

    def __init__(self, work: AnalysisWork) -> None:
        self.find = work.finder()

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item; its payload is the VIDEO row with ``output``, the name of its files."""
        with tempfile.TemporaryDirectory(prefix="abaw-analyze-") as folder:
            found = _find(self.find, payload, Path(folder))
            store.storage.upload_folder(Path(folder), chips_folder(store, item))
        return {"frames": found.frames, "faces": found.faces}


class ScoreWork:
    """Second operator: scores the chips of one video, writes its files, and deletes the chips."""

    def __init__(self, work: AnalysisWork) -> None:
        self.score, self.write, self.keep_chips = work.scorer(), work.writer(), work.keep_chips

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item, as ``FindWork``."""
        chips = chips_folder(store, item)
        with tempfile.TemporaryDirectory(prefix="abaw-analyze-") as folder:
            store.storage.download_folder(chips, Path(folder))
            if not (Path(folder) / SUMMARY_FILE).is_file():
                raise StorageError(f"{store.storage.uri(chips)}: the chips of {item.name} are gone; they are made again")
            try:
                return _finish(store, item, payload, self.score(payload, Path(folder)), self.write, Path(folder))
            finally:
                if not self.keep_chips:
                    store.storage.delete(chips)


class FusedWork:
    """Both halves in one worker. The model is loaded while the faces of the first video are found."""

    def __init__(self, work: AnalysisWork) -> None:
        self.find, self.write, self.keep_chips = work.finder(), work.writer(), work.keep_chips
        loader = ThreadPoolExecutor(1, thread_name_prefix="load-model")
        self.score: Future[ScoreFaces] = loader.submit(work.scorer)
        loader.shutdown(wait=False)

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item, as ``FindWork``."""
        with tempfile.TemporaryDirectory(prefix="abaw-analyze-") as folder:
            found = _find(self.find, payload, Path(folder))
            figures = _finish(store, item, payload, self.score.result()(payload, Path(folder)), self.write, Path(folder))
            if self.keep_chips:
                store.storage.upload_folder(Path(folder), chips_folder(store, item))
        return {**figures, "frames": found.frames, "faces": found.faces}


def chips_folder(store: StageStore, item: Item) -> str:
    """Where the chips and the audio of a video are stored until it is scored."""
    return f"{store.path}/chips/{item.key}"


def _find(find: FindFaces, payload: dict, folder: Path) -> Any:
    try:
        return find(payload, folder)
    except MissingError as error:
        raise video_missing(payload["uri"], error) from error


def _finish(store: StageStore, item: Item, payload: dict, analysis: Analysis, write: OutputWriter, folder: Path) -> Mapping[str, float]:
    """Write the user's files, then the stored analysis.

    Raises:
        ItemError: the video is damaged; raised after its failure, and then the rows of its good frames, are stored.
    """
    found = read_summary(folder)
    failure = ItemError(found.error, found.frames) if found.error else None
    write(analysis, payload["output"])
    if failure:
        store.write_failure(item, failure)
    with tempfile.TemporaryDirectory(prefix="abaw-analysis-") as local:
        store.storage.put_file(analysis.to_parquet(Path(local) / "analysis.parquet"), store.output(item))
    if failure:
        raise failure
    return {"rows": len(analysis.table), "people": len(analysis.people)}


@once_per_run
def analyzed_videos(run: Run[Any]) -> dict[Item, dict]:
    """VIDEO rows of the given videos and images with the names of their files, by item.

    Raises:
        DataError: no video is found, or a listed file is missing.
        StorageError: a store cannot be reached.
    """
    storage, suffixes = run.config.storage, (*SUFFIXES, *IMAGE_SUFFIXES)
    rows = [row for where in run.config.data.videos for row in list_videos(where, storage, suffixes=suffixes)]
    if len({row["video"] for row in rows}) < len(rows):
        rows = [row | {"video": row["uri"]} for row in {row["uri"]: row for row in rows}.values()]  # of several inputs: only paths tell them apart
    rows = rows[: run.config.limit or None]
    names = output_names(row["video"] for row in rows)
    return {Item(name=row["video"], identity=digest([row["identity"]])): row | {"output": names[row["video"]]} for row in rows}


@once_per_run
def model_metadata(run: Run[Any]) -> BundleMetadata:
    """The description of the model, after it was verified.

    Raises:
        ConfigError: no model was given, or there is none.
        DataError: it is damaged.
    """
    with open_bundle(run.config.model, run.config.storage) as bundle:
        return bundle.metadata


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


def _operator(work: type, pool: str) -> ItemOperator[Any]:
    return ItemOperator(build=lambda run: partial(work, analysis_work(run)), resources=lambda compute: getattr(compute, pool))


ANALYZE = Stage[Any](
    name="analysis",
    revision=REVISION,
    settings=lambda config: config.analysis,
    sources=_sources,
    check=analysis_work,
    work=ItemWork(
        items=analyzed_videos,
        operators=(_operator(FusedWork, "features"),),
        unit="videos",
        in_driver=_few,
        describe=lambda items: f"{sum(row['size'] for row in items.values()) / 1e9:,.1f} GB in all",
    ),
    job="abaw-ray analyze",
)
"""One operator that does both halves, for machines without a GPU."""

ANALYZE_ON_GPUS = replace(ANALYZE, work=replace(ANALYZE.work, operators=(_operator(FindWork, "decode"), _operator(ScoreWork, "features"))))
"""Two operators, for workers with a GPU; the results and their addresses are the same."""


def analyze_stage(run: Run[Any]) -> Stage[Any]:
    """The stage for this run's workers."""
    return ANALYZE_ON_GPUS if run.compute.features.gpus else ANALYZE
