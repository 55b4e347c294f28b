"""Overhead of the job per video, and memory of the driver, with thousands of stub videos.

The job is real: it lists the folder, identifies every file, its actors write outputs into storage, and it writes the record last. Only the work
on a video is replaced: its output has one row.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.config import FacesJob
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages import faces
from abaw_ray.cluster.stages.video_chunks import store_output
from abaw_ray.core import schema
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.config import DataConfig
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.output import write_faces
from tools.bench.video.memory import PeakSampler, resident_mb

CPUS = 2
"""Number of actors."""


class StubWork:
    """Replaces ``FaceWork``: writes one row, as for a video of one frame without a face."""

    def __init__(self, config: FacesConfig, limits: ChildLimits, weights: bytes | None) -> None:
        pass

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Write the output of one item."""
        row = {"video": payload["video"], "track": schema.MAIN_TRACK, "frame": 1, "time": 0.0, "shot": 0, "seen": False}
        table = pa.Table.from_pylist([row], schema=schema.FACE)
        with tempfile.TemporaryDirectory(prefix="abaw-faces-") as folder:
            local = Path(folder) / "output.parquet"
            return store_output(store, item, write_faces(iter([table]), local), local)


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """Settings and number of videos."""

    faces: FacesConfig
    videos: int
    folder: Path
    """Folder for the videos and the results."""


def measure_scale(config: ScaleConfig) -> dict[str, float]:
    """Measure the job, a rerun with all results present, and a rerun without the record. Call it in a new process.

    Returns:
        ``seconds_per_video`` (wall time from the call to the record, without Ray's start), ``seconds``, ``ray_start_s``, ``driver_mb`` (peak,
        resident), ``rerun_s``, ``rerun_without_record_s``, ``videos``.
    """
    videos = config.folder / "videos"
    videos.mkdir(parents=True)
    for number in range(config.videos):
        (videos / f"{number:06d}.mp4").write_bytes(b"%06d" % number)
    results = config.folder / "results"
    storage, compute = StorageConfig(uri=str(results)), ComputeConfig(local_cpus=CPUS)
    job = FacesJob(storage=storage, data=DataConfig(videos=(str(videos),)), compute=compute, faces=config.faces)
    with patch.object(faces, "FaceWork", StubWork), PeakSampler(driver=lambda: resident_mb(os.getpid())) as sampler:
        start = time.monotonic()
        with RaySession(compute, storage) as session:
            session.start()
            ray_started = time.monotonic()
            record = faces.PREPARE_FACES.complete(Run(job, session))
            seconds = time.monotonic() - ray_started
        rerun = _rerun_seconds(job)
        for path in (results / record.store / "records").iterdir():
            path.unlink()
        rerun_without_record = _rerun_seconds(job)
    return {
        "seconds_per_video": seconds / config.videos,
        "seconds": seconds,
        "ray_start_s": ray_started - start,
        "driver_mb": sampler.peaks["driver"],
        "rerun_s": rerun,
        "rerun_without_record_s": rerun_without_record,
        "videos": len(record.outputs),
    }


def _rerun_seconds(job: FacesJob) -> float:
    start = time.monotonic()
    with RaySession(job.compute, job.storage) as session:
        faces.PREPARE_FACES.complete(Run(job, session))
    return time.monotonic() - start
