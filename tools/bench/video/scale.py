"""Thousands of stand-in videos through the job -> what a video costs apart from its pictures, and how large the driver grows.

Everything of the job is the real thing: the folder is listed, every file gets its identity, actors write parts into storage as they always do,
the record comes last. Only the work inside a video is left out: its part has one row.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa

from abaw_ray.cluster.engine.compute import ComputeConfig
from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.launch.config import FacesJob
from abaw_ray.cluster.stages import faces
from abaw_ray.cluster.stages.video_chunks import store_output
from abaw_ray.core import schema
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.data.config import DataConfig
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.output import write_faces
from tools.bench.video.memory import Peaks, resident_mb

CPUS = 2
"""Actors."""


class StandIn:
    """In the place of ``FaceWork``, and built like it: writes the one row of a video of one frame without a face."""

    def __init__(self, config: FacesConfig, limits: ChildLimits, weights: bytes | None) -> None:
        pass

    def __call__(self, home: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Do one item."""
        row = {"video": payload["video"], "track": schema.MAIN_TRACK, "frame": 1, "time": 0.0, "seen": False}
        table = pa.Table.from_pylist([row], schema=schema.FACE)
        with tempfile.TemporaryDirectory(prefix="abaw-faces-") as folder:
            local = Path(folder) / "part.parquet"
            return store_output(home, item, write_faces(iter([table]), local), local)


@dataclass(frozen=True, kw_only=True)
class Many:
    """What is run."""

    config: FacesConfig
    videos: int
    folder: Path
    """For the files and the results."""


def at_scale(many: Many) -> dict[str, float]:
    """Run the job, then once more with everything done, then once more without the record; call it in a process of its own.

    Returns:
        ``seconds_per_video`` (wall, from the call to the record, Ray's start aside), ``seconds``, ``ray_start_s``, ``driver_mb`` (peak, resident),
        ``rerun_s`` (all there), ``rerun_without_record_s`` (all parts there), ``videos``.
    """
    videos = many.folder / "videos"
    videos.mkdir(parents=True)
    for number in range(many.videos):
        (videos / f"{number:06d}.mp4").write_bytes(b"%06d" % number)
    job = FacesJob(
        storage=StorageConfig(uri=str(many.folder / "results")),
        data=DataConfig(videos=str(videos)),
        compute=ComputeConfig(local_cpus=CPUS),
        faces=many.config,
    )
    with patch.object(faces, "FaceWork", StandIn), Peaks(driver=lambda: resident_mb(os.getpid())) as peaks:
        begun = time.monotonic()
        with RaySession(job.compute, job.storage) as session:
            session.start()
            started = time.monotonic()
            record = faces.PREPARE_FACES.complete(Run(job, session))
            seconds = time.monotonic() - started
        rerun = _again(job)
        for path in (many.folder / "results" / record.store / "records").iterdir():
            path.unlink()
        without = _again(job)
    return {
        "seconds_per_video": seconds / many.videos,
        "seconds": seconds,
        "ray_start_s": started - begun,
        "driver_mb": peaks.highest["driver"],
        "rerun_s": rerun,
        "rerun_without_record_s": without,
        "videos": len(record.outputs),
    }


def _again(job: FacesJob) -> float:
    begun = time.monotonic()
    with RaySession(job.compute, job.storage) as session:
        faces.PREPARE_FACES.complete(Run(job, session))
    return time.monotonic() - begun
