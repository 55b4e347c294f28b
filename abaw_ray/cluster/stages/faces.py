"""Stage ``faces``: VIDEO rows to FACE outputs, one output per video. ``abaw_ray.faces`` processes the video."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import ItemOperator, ItemWork
from abaw_ray.cluster.engine.workers.worker import Task
from abaw_ray.cluster.stages.sources import affwild2, video_missing, videos
from abaw_ray.cluster.stages.video_chunks import process_chunk, split_videos, store_output
from abaw_ray.cluster.stages.workloads.videos import faces_workload
from abaw_ray.core.errors import ConfigError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.progress import echo
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.units import size_text
from abaw_ray.data.videos import identity_of
from abaw_ray.faces.config import SCALE_TOLERANCE, FacesConfig
from abaw_ray.faces.crop import REVISION
from abaw_ray.faces.detection.box_table import BoxTable
from abaw_ray.faces.identity.embedder import describe
from abaw_ray.faces.identity.sface_weights import SFACE_SHA256
from abaw_ray.faces.isolated import IsolatedFaceWriter
from abaw_ray.faces.official_crops import CROPS_REVISION
from abaw_ray.faces.weights import FaceWeights, load_face_weights


class FaceWork:
    """Decodes, detects, tracks and crops one video, or one chunk of a long one; the output is written to the local disk and then stored."""

    def __init__(self, config: FacesConfig, limits: ChildLimits, weights: FaceWeights) -> None:
        self.writer = IsolatedFaceWriter(config, limits, weights.detector, weights.embedder)

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item; its payload is the VIDEO row, with a ``chunk`` where the video is divided.

        Raises:
            ItemError: the video is damaged; the rows before the damage are stored.
            StorageError: it cannot be read, or its output cannot be written.
            DataError: the user's table of boxes cannot be read here.
        """
        try:
            if "chunk" in payload:
                return process_chunk(self.writer, store, item, payload)
            write = self.writer.write_crops if "crops" in payload else self.writer.write_video
            with tempfile.TemporaryDirectory(prefix="abaw-faces-") as folder:
                path = Path(folder) / "output.parquet"
                return store_output(store, item, write(payload, path), path)
        except MissingError as error:
            raise video_missing(payload["uri"], error) from error


@once_per_run
def face_items(run: Run[Any]) -> dict[Item, dict]:
    """VIDEO rows by item; with official crops, also their folder for each subject. Their content is not part of the identity: millions of files.

    Raises:
        ConfigError: crops are used with other videos than those of an Aff-Wild2 tree.
        DataError: the tree has no such crops.
    """
    kind, rows = run.config.data.affwild2_crops, videos(run)
    if not kind:
        return rows
    if run.config.data.videos:
        raise ConfigError("data.affwild2_crops: crops are those of the Aff-Wild2 tree at data.affwild2; leave out data.videos")
    folders = affwild2(run).crop_folders(kind)
    crops = {item: {subject["track"]: folders.get(subject["track"], "") for subject in row["subjects"]} for item, row in rows.items()}
    return {
        Item(name=item.name, identity=digest([item.identity, crops[item], CROPS_REVISION])): row | {"crops": crops[item]}
        for item, row in rows.items()
    }


def face_sources(run: Run[Any]) -> tuple[str, ...]:
    """Identity of the user's table of boxes and of the embedder's weights, where they are used."""
    detector = run.config.faces.detector
    boxes = (identity_of(detector.boxes, run.config.storage),) if detector.kind == "given" else ()
    return (*boxes, SFACE_SHA256) if run.config.faces.uses_embeddings else boxes


@once_per_run
def load_weights(run: Run[Any]) -> FaceWeights:
    """Load and check the files that the detector and the embedder need, which workers may not be able to download, before anything starts.

    Raises:
        ConfigError: the weights, or the table of boxes, are missing.
        DataError: the table cannot be used.
    """
    faces, storage = run.config.faces, run.config.storage
    if faces.detector.kind == "given":
        BoxTable(faces.detector.boxes, storage).check(item.name for item in videos(run))
    return load_face_weights(faces, storage)


def build_work(run: Run[Any]) -> partial[FaceWork]:
    """The builder of the work, with the weights of detector and embedder."""
    if not run.config.data.affwild2_crops and any(not video["subjects"] for video in videos(run).values()):
        echo(f"faces: {describe(run.config.faces)}")
    return partial(FaceWork, run.config.faces, run.compute.limits, load_weights(run))


def split_tasks(run: Run[Any], todo: Mapping[Item, dict], workers: int) -> list[Task]:
    """Tasks, the largest first; a video that would occupy one worker after all others have finished is divided."""
    faces = run.config.faces
    undivided = faces.detector.kind == "given" or run.config.data.affwild2_crops  # both are numbered from a video's first frame
    minutes = 0 if undivided else run.compute.chunk_minutes
    tasks = split_videos(todo, faces.segments, workers=workers, minutes=minutes)
    return sorted(tasks, key=lambda task: -task[1]["size"])


def crop_warnings(run: Run[Any]) -> tuple[str, ...]:
    """A sentence about scales beyond the borders of the official crops."""
    faces = run.config.faces
    beyond = [f"{scale:g}" for scale in faces.chips.scales if scale > faces.crop_scale * (1 + SCALE_TOLERANCE)]
    if not run.config.data.affwild2_crops or not beyond:
        return ()
    return (
        f"faces.chips.scales {' '.join(beyond)}: the official crops show about {faces.crop_scale:g} times the face (faces.crop_scale), so "
        "larger chips are black on all sides; set faces.chips.scales and encoder.augment.scales to scales up to it",
    )


PREPARE_FACES = Stage(
    name="faces",
    revision=REVISION,
    settings=lambda config: config.faces,
    sources=face_sources,
    check=load_weights,
    warnings=crop_warnings,
    workloads=lambda run, todo: (faces_workload(run, todo),),
    work=ItemWork(
        items=face_items,
        operators=(ItemOperator(build=build_work, resources=lambda compute: compute.decode),),
        unit="videos",
        split=split_tasks,
        describe=lambda items: f"{size_text(sum(row['size'] for row in items.values()))} in all",
    ),
    job="abaw-ray faces",
)
