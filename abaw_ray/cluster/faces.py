"""VIDEO rows to FACE parts, one part a video, over the workers of a cluster. What happens inside a video is ``faces.crop``."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from abaw_ray.cluster.job import Run, once_a_run
from abaw_ray.cluster.stage import Pool, needed, run_items
from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.records import Home, Item, Record
from abaw_ray.core.settings import digest
from abaw_ray.data.affwild2 import AffWild2
from abaw_ray.data.videos import list_videos
from abaw_ray.faces.crop import REVISION, CropFaces, FacesConfig

STAGE = "faces"


class FaceWork:
    """One video: decode, find, follow, cut; its part is spooled to the local disk and stored whole."""

    def __init__(self, config: FacesConfig) -> None:
        self.crop = CropFaces(config)

    def __call__(self, home: Home, item: Item, video: dict) -> Mapping[str, float]:
        """Do one item; its payload is the VIDEO row."""
        rows = seen = 0
        with tempfile.TemporaryDirectory(prefix="abaw-faces-") as folder:
            local = Path(folder) / "part.parquet"
            with pq.ParquetWriter(local, schema.FACE, compression="zstd") as writer:
                for table in self.crop(video):
                    writer.write_table(schema.conform(table, schema.FACE, stage=STAGE))
                    rows, seen = rows + len(table), seen + pc.sum(table["seen"]).as_py()
            home.storage.put_file(local, home.part(item))
        return {"rows": rows, "faces": seen}


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
    if run.data.videos:
        rows = list_videos(run.data.videos, run.where.storage)
    elif run.data.affwild2:
        rows = affwild2(run).videos()
    else:
        raise ConfigError("no videos: give data.affwild2 (an Aff-Wild2 tree) or data.videos (a folder, a glob or a list)")
    found: dict[str, dict] = {}
    for row in rows:
        if row["video"] in found:
            raise DataError(f"{row['uri']}: a video named {row['video']} was given twice, also as {found[row['video']]['uri']}")
        found[row["video"]] = row
    return {Item(name=row["video"], identity=digest([row["identity"], row["subjects"]])): row for row in rows}


def faces_home(run: Run, config: FacesConfig) -> Home:
    """Where faces cut with these settings live."""
    return Home(run.storage, STAGE, config, REVISION)


def prepare_faces(run: Run, config: FacesConfig) -> Record:
    """Bring the faces of all the user's videos into storage; only videos that are not there yet are decoded."""
    pool = Pool(workers=run.compute.item_workers, memory_gb=run.compute.item_memory_gb)
    return run_items(run, faces_home(run, config), videos(run), partial(FaceWork, config), pool=pool, unit="videos")


def faces_record(run: Run, config: FacesConfig) -> Record:
    """The record of prepared faces that a later stage builds on.

    Raises:
        DataError: they are not there (yet) for these videos and settings.
    """
    home = faces_home(run, config)
    return needed(home, home.record(videos(run)), "jobs/prepare_faces.py")
