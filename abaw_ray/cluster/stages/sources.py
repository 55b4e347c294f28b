"""The user's data sets and videos, or the synthetic data set, as inputs of the first stages."""

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.stage import PendingError
from abaw_ray.cluster.stages.synthetic import generate, is_generated, location
from abaw_ray.core.errors import AbawError, ConfigError, DataError, ItemError, MissingError, StorageError
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote
from abaw_ray.data.affwild2 import AffWild2, is_affwild2
from abaw_ray.data.config import DataConfig
from abaw_ray.data.videos import list_videos


@once_per_run
def data_of(run: Run[Any]) -> DataConfig:
    """Paths of the data sets; generates the synthetic one first where the job uses it.

    Raises:
        PendingError: it does not exist yet, and the run is only a plan.
    """
    data: DataConfig = run.config.data
    if not data.use_synthetic:
        return data
    root = location(data.synthetic_dir, run.storage)
    if run.config.plan and not is_generated(root, run.storage):
        raise PendingError("after the synthetic data set is generated")
    generate(root, data.synthetic, run.storage)
    given = replace(data, use_synthetic=False, ferplus="", expw="", image_folders=(), class_map=())
    return replace(given, affwild2=f"{root}/affwild2", affectnet=f"{root}/affectnet", rafdb=f"{root}/rafdb")


@once_per_run
def affwild2(run: Run[Any]) -> AffWild2:
    """The user's Aff-Wild2 tree."""
    data = data_of(run)
    return AffWild2(data.affwild2, test_names=data.test_names, test_example=data.test_example, storage=run.config.storage)


@once_per_run
def videos(run: Run[Any]) -> dict[Item, dict]:
    """VIDEO rows of the videos given by the user, else of the Aff-Wild2 tree, by item.

    Raises:
        ConfigError: no videos were given.
        DataError: two videos have the same name.
    """
    data = run.config.data if run.config.data.videos else data_of(run)  # with videos given, the synthetic data set is not needed
    if data.videos:
        rows = [row for where in data.videos for row in _videos_at(where, data, run.config.storage)]
    elif data.affwild2:
        rows = affwild2(run).videos()
    else:
        raise ConfigError("no videos: give a video, a folder, a glob or a list (data.videos), or an Aff-Wild2 tree (data.affwild2)")
    by_name: dict[str, dict] = {}
    for row in rows:
        if row["video"] in by_name:
            other = by_name[row["video"]]["uri"]
            raise DataError(f"{row['uri']}: a video named {row['video']} was given twice, also as {other}; give their common folder, or a list")
        by_name[row["video"]] = row
    return {Item(name=row["video"], identity=digest([row["identity"], row["subjects"]])): row for row in rows}


def _videos_at(where: str, data: DataConfig, storage: StorageConfig) -> list[dict]:
    """VIDEO rows of one value of ``data.videos``, which may be an Aff-Wild2 tree."""
    if is_affwild2(where, storage):
        return AffWild2(where, test_names=data.test_names, test_example=data.test_example, storage=storage).videos()
    return list_videos(where, storage)


def video_missing(uri: str, error: MissingError) -> AbawError:
    """The error of a worker for a video that existed when videos were listed: the file was deleted, or this machine does not have its folder."""
    folder = Path(uri.removeprefix("file://")).parent
    if not is_remote(uri) and not folder.is_dir():
        return StorageError(f"{folder}: {platform.node()} has no such folder; all machines need the videos at the same path")
    return ItemError(f"it no longer exists ({error})")
