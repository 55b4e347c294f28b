"""Throughput of the job relative to a process pool that does the same work, on copies of one clip.

Both run ``FaceWriter`` on the same number of CPUs and write one Parquet file per video. Both times include the start of the workers and end with
the last file; the start of Ray is measured separately.
"""

import multiprocessing
import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from abaw_ray.core.errors import AbawError
from abaw_ray.core.process.child import tune_process
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.weights import yunet_weights
from abaw_ray.faces.output import FaceWriter
from tools.bench.video.cost import cpu_seconds, run_stage, video_row

CPUS = 2
"""Number of workers of the pool and of the job."""
_writer: FaceWriter | None = None  # one per process of the pool


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """The work of the pool and of the job."""

    config: FacesConfig
    clip: Path
    seconds: float
    """Approximate wall time of the pool."""
    folder: Path
    """Folder for the copies and the results."""


def ray_over_pool(work: PoolConfig) -> dict:
    """Measure the throughput of the job relative to the pool's.

    Returns:
        ``ratio``; ``ratio_with_start`` (with the start of Ray); ``videos``, ``pool_s``, ``ray_s``, ``ray_start_s``; ``pool_load`` and
        ``ray_load``, the load average at the end of each: the ratio is valid only if both are similar.
    """
    writer = FaceWriter(work.config)
    run_stage(writer, work.clip)
    videos = max(round(work.seconds * CPUS / cpu_seconds(partial(run_stage, writer, work.clip))), CPUS)
    copies = link_copies(work.clip, work.folder / "videos", videos)
    pool_s = pool_seconds(work.config, copies, work.folder / "pool")
    pool_load = os.getloadavg()[0]
    start_s, ray_s = job_seconds(work.config, work.folder / "videos", work.folder / "job")
    return {
        "ratio": pool_s / ray_s,
        "ratio_with_start": pool_s / (ray_s + start_s),
        "videos": videos,
        "pool_s": pool_s,
        "ray_s": ray_s,
        "ray_start_s": start_s,
        "pool_load": pool_load,
        "ray_load": os.getloadavg()[0],
    }


def link_copies(clip: Path, folder: Path, count: int) -> list[Path]:
    """Create ``count`` hard links to a file; returns their paths."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number:05d}{clip.suffix}" for number in range(count)]
    for path in paths:
        os.link(clip, path)
    return paths


def pool_seconds(config: FacesConfig, videos: list[Path], folder: Path) -> float:
    """Return the seconds of a ``multiprocessing.Pool`` for these videos.

    Raises:
        RuntimeError: an output is missing.
    """
    folder.mkdir(parents=True)
    weights, start = yunet_weights(config.detector.weights), time.monotonic()
    with multiprocessing.get_context("spawn").Pool(CPUS, _init_worker, (config, weights)) as pool:
        for _ in pool.imap_unordered(_process_video, [(video, folder / f"{video.stem}.parquet") for video in videos]):
            pass
        seconds = time.monotonic() - start
    if len(list(folder.iterdir())) != len(videos):
        raise RuntimeError(f"{folder}: the pool wrote {len(list(folder.iterdir()))} outputs for {len(videos)} videos")
    return seconds


def _init_worker(config: FacesConfig, weights: bytes) -> None:
    global _writer
    tune_process()
    _writer = FaceWriter(config, weights)


def _process_video(task: tuple[Path, Path]) -> int:
    assert _writer is not None, "the pool calls _init_worker first"
    result = _writer.write_video(video_row(task[0]), task[1])
    if result.error is not None:
        raise result.error
    return result.frames


def job_seconds(config: FacesConfig, videos: Path, results: Path) -> tuple[float, float]:
    """Return the seconds of Ray's start, and of ``prepare_faces`` from the call to its record.

    Raises:
        AbawError: the job failed, or a video did.
    """
    from abaw_ray.cluster.engine.run import Run
    from abaw_ray.cluster.launch.config import FacesJob
    from abaw_ray.cluster.machines.compute import ComputeConfig
    from abaw_ray.cluster.machines.session import RaySession
    from abaw_ray.cluster.stages.faces import PREPARE_FACES
    from abaw_ray.data.config import DataConfig

    storage, compute = StorageConfig(uri=str(results)), ComputeConfig(local_cpus=CPUS)
    job = FacesJob(storage=storage, data=DataConfig(videos=(str(videos),)), compute=compute, faces=config)
    start = time.monotonic()
    with RaySession(compute, storage) as session:
        session.start()
        ray_started = time.monotonic()
        record = PREPARE_FACES.complete(Run(job, session))
        seconds = time.monotonic() - ray_started
    if record.failures:
        raise AbawError(f"{videos}: {record.failures[0]['reason']}")
    return ray_started - start, seconds
