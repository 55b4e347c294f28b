"""Copies of one clip -> the job's throughput beside that of a plain pool of processes that does the same work.

Both run the class ``FaceWriter`` on as many CPUs and leave one Parquet file a video; both times go from the call to the last file, the start
of their workers included. What Ray itself takes to start is told apart.
"""

import multiprocessing
import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from abaw_ray.core.errors import AbawError
from abaw_ray.core.process.child import prepare
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.weights import yunet_weights
from abaw_ray.faces.output import FaceWriter
from tools.bench.video.cost import cpu_seconds, stage, video_row

CPUS = 2
"""Workers of either."""
_parts: FaceWriter | None = None  # in a process of the pool: its own


@dataclass(frozen=True, kw_only=True)
class Work:
    """What both do."""

    config: FacesConfig
    clip: Path
    seconds: float
    """Of wall time that it shall take, about."""
    folder: Path
    """For the copies and the results."""


def ray_over_pool(work: Work) -> dict:
    """Throughput of the job as a share of the pool's.

    Returns:
        ``ratio``; ``ratio_with_start`` (Ray's own start counted too); ``videos``, ``pool_s``, ``ray_s``, ``ray_start_s``; ``pool_load`` and
        ``ray_load``, the machine's load at the end of each: they took the same time only as far as others did.
    """
    parts = FaceWriter(work.config)
    stage(parts, work.clip)
    videos = max(round(work.seconds * CPUS / cpu_seconds(partial(stage, parts, work.clip))), CPUS)
    copies = copied(work.clip, work.folder / "videos", videos)
    pool_s = by_pool(work.config, copies, work.folder / "pool")
    pool_load = os.getloadavg()[0]
    start_s, ray_s = by_job(work.config, work.folder / "videos", work.folder / "job")
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


def copied(clip: Path, folder: Path, count: int) -> list[Path]:
    """The same file under many names; its bytes lie there once."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number:05d}{clip.suffix}" for number in range(count)]
    for path in paths:
        os.link(clip, path)
    return paths


def by_pool(config: FacesConfig, videos: list[Path], folder: Path) -> float:
    """Seconds of ``multiprocessing.Pool`` for these videos.

    Raises:
        RuntimeError: a part is missing.
    """
    folder.mkdir(parents=True)
    weights, begun = yunet_weights(config.detector.weights), time.monotonic()
    with multiprocessing.get_context("spawn").Pool(CPUS, _settle, (config, weights)) as pool:
        for _ in pool.imap_unordered(_whole, [(video, folder / f"{video.stem}.parquet") for video in videos]):
            pass
        seconds = time.monotonic() - begun
    if len(list(folder.iterdir())) != len(videos):
        raise RuntimeError(f"{folder}: the pool left {len(list(folder.iterdir()))} parts of {len(videos)}")
    return seconds


def _settle(config: FacesConfig, weights: bytes) -> None:
    global _parts
    prepare()
    _parts = FaceWriter(config, weights)


def _whole(task: tuple[Path, Path]) -> int:
    done = _parts.write_video(video_row(task[0]), task[1])
    if done.error is not None:
        raise done.error
    return done.frames


def by_job(config: FacesConfig, videos: Path, results: Path) -> tuple[float, float]:
    """Seconds of Ray's start, and of ``prepare_faces`` from its call to its record.

    Raises:
        AbawError: as the job.
    """
    from abaw_ray.cluster.engine.compute import ComputeConfig
    from abaw_ray.cluster.engine.run import Run
    from abaw_ray.cluster.engine.session import RaySession
    from abaw_ray.cluster.launch.config import FacesJob
    from abaw_ray.cluster.stages.faces import PREPARE_FACES
    from abaw_ray.data.config import DataConfig

    storage, compute = StorageConfig(uri=str(results)), ComputeConfig(local_cpus=CPUS)
    job = FacesJob(storage=storage, data=DataConfig(videos=str(videos)), compute=compute, faces=config)
    begun = time.monotonic()
    with RaySession(job.compute, job.storage) as session:
        session.start()
        started = time.monotonic()
        record = PREPARE_FACES.complete(Run(job, session))
        seconds = time.monotonic() - started
    if record.failures:
        raise AbawError(f"{videos}: {record.failures[0]['reason']}")
    return started - begun, seconds
