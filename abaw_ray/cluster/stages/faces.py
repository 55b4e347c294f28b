"""VIDEO rows to FACE parts, one part a video, over the workers of a cluster. What happens inside a video is ``faces``'s."""

import platform
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from abaw_ray.cluster.engine.items import Pool, Task
from abaw_ray.cluster.engine.run import Run, once_a_run
from abaw_ray.cluster.engine.stage import needed, run_items
from abaw_ray.cluster.stages.video_chunks import divided, do_share, store_output
from abaw_ray.core.errors import AbawError, ConfigError, DataError, ItemError, MissingError, StorageError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.records import Item, Record, StageStore
from abaw_ray.data.affwild2 import AffWild2, is_affwild2
from abaw_ray.data.videos import identity_of, list_videos
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.crop import REVISION
from abaw_ray.faces.detection.box_table import BoxTable
from abaw_ray.faces.detection.weights import yunet_weights
from abaw_ray.faces.isolated import GuardedParts

STAGE = "faces"


class FaceWork:
    """One video, or a share of a long one: decode, find, follow, cut; its part is written to the local disk and stored whole."""

    def __init__(self, config: FacesConfig, limits: ChildLimits, weights: bytes | None) -> None:
        self.parts = GuardedParts(config, limits, weights)

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Do one item; its payload is the VIDEO row, with a ``share`` where others work on the video too.

        Raises:
            ItemError: the video broke; what was good before is stored.
            StorageError: it could not be read or its part not be written.
            DataError: the user's table of boxes cannot be read here.
        """
        try:
            if "share" in payload:
                return do_share(self.parts, store, item, payload)
            with tempfile.TemporaryDirectory(prefix="abaw-faces-") as folder:
                local = Path(folder) / "part.parquet"
                return store_output(store, item, self.parts.whole(payload, local), local)
        except MissingError as error:
            raise gone(payload["uri"], error) from error


def gone(uri: str, error: MissingError) -> AbawError:
    """What a worker makes of a video that was there when the videos were listed and is not now: the file is gone, or this machine is apart."""
    folder = Path(uri.removeprefix("file://")).parent
    if not is_remote(uri) and not folder.is_dir():
        return StorageError(f"{folder}: {platform.node()} has no such folder; every machine must see the videos at the same place")
    return ItemError(f"it is gone ({error})")


@once_a_run
def affwild2(run: Run) -> AffWild2:
    """The user's Aff-Wild2 tree."""
    data = run.data
    return AffWild2(data.affwild2, test_names=data.test_names, test_example=data.test_example, storage=run.where.storage)


@once_a_run
def videos(run: Run) -> dict[Item, dict]:
    """The VIDEO rows of the videos the user named, else of the Aff-Wild2 tree, by item; the same name twice is an error.

    Raises:
        ConfigError: no video was given at all.
        DataError: two videos have the same name.
    """
    data = run.where.data if run.where.data.videos else run.data  # who names videos needs no drawn ones
    if data.videos and not is_affwild2(data.videos, run.where.storage):
        rows = list_videos(data.videos, run.where.storage)
    elif data.videos:
        rows = AffWild2(data.videos, test_names=data.test_names, test_example=data.test_example, storage=run.where.storage).videos()
    elif data.affwild2:
        rows = affwild2(run).videos()
    else:
        raise ConfigError("no videos: give data.affwild2 (an Aff-Wild2 tree) or data.videos (a folder, a glob or a list)")
    found: dict[str, dict] = {}
    for row in rows:
        if row["video"] in found:
            raise DataError(f"{row['uri']}: a video named {row['video']} was given twice, also as {found[row['video']]['uri']}")
        found[row["video"]] = row
    return {Item(name=row["video"], identity=digest([row["identity"], row["subjects"]])): row for row in rows}


def faces_store(run: Run, config: FacesConfig) -> StageStore:
    """Where faces cut with these settings live."""
    given = (identity_of(config.detector.boxes, run.where.storage),) if config.detector.kind == "given" else ()
    return StageStore(run.storage, STAGE, config, REVISION, given)


def prepare_faces(run: Run, config: FacesConfig) -> Record:
    """Bring the faces of all the user's videos into storage; only videos that are not there yet are decoded.

    Raises:
        ConfigError: the detector's weights, or the table of boxes, are missing; nothing has started yet.
        DataError: likewise.
    """
    store, wanted = faces_store(run, config), videos(run)
    make: partial | None = None
    if store.record(list(wanted)) is None or run.policy.retry_failures:
        make = partial(FaceWork, config, run.compute.limits, check_detector(run, config, wanted))
    pool = Pool(workers=run.compute.item_workers, memory_gb=run.compute.item_memory_gb)
    return run_items(run, store, wanted, make, pool=pool, unit="videos", divide=partial(_tasks, config, run.compute.piece_minutes))


def check_detector(run: Run, config: FacesConfig, wanted: Mapping[Item, dict]) -> bytes | None:
    """See that the detector can work before anything starts.

    Returns:
        YuNet's weights, for the workers have no other way to them; None for other detectors.

    Raises:
        ConfigError: the weights, or the table of boxes, are missing.
        DataError: the table cannot be used.
    """
    if config.detector.kind == "given":
        BoxTable(config.detector.boxes, run.where.storage).check(item.name for item in wanted)
    return yunet_weights(config.detector.weights, run.where.storage) if config.detector.kind == "yunet" else None


def _tasks(config: FacesConfig, minutes: float, todo: Mapping[Item, dict], workers: int) -> list[Task]:
    """The longest first; a video that would hold up the others is shared out."""
    if config.detector.kind == "given":
        minutes = 0  # its boxes are numbered from the first frame of a video
    tasks = divided(todo, config.stretches, workers=workers, minutes=minutes)
    return sorted(tasks, key=lambda task: -task[1]["size"])


def faces_record(run: Run, config: FacesConfig) -> Record:
    """The record of prepared faces that a later stage builds on.

    Raises:
        DataError: they are not there (yet) for these videos and settings.
    """
    store = faces_store(run, config)
    return needed(store, store.record(videos(run)), "jobs/prepare_faces.py")
