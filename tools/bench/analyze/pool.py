"""Throughput of an analysis on Ray relative to a process pool that runs the same class, on copies of one clip.

Both have two workers, each with a model of its own, and write the same files. The throughput is that between the first and the last videos, from the
times at which their stored analyses appear: without the start of the workers, and without the end, when one worker is idle.
"""

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from unittest.mock import patch

from abaw_ray.cluster.engine.run import Policy, Run
from abaw_ray.cluster.launch.config import AnalyzeConfig, FacesChoice, VideosConfig
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.analysis import analyze
from abaw_ray.cluster.stages.analysis.work import AnalysisWork, FusedWork
from abaw_ray.core.errors import AbawError
from abaw_ray.core.process.child import tune_process
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.predict.config import DetectorChoice, cache_config
from tools.bench.video.pool import link_copies

WORKERS = 2
_worker: FusedWork | None = None  # one per process of the pool


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """The work of the pool and of the job."""

    model: Path
    weights: Path
    clip: Path
    videos: int
    rounds: int
    folder: Path
    """Folder for the copies and the results."""


def ray_over_pool(work: PoolConfig) -> dict[str, float]:
    """Measure the throughput of the job relative to the pool's; both run in turn. Call it in a new process.

    Returns:
        ``ratio`` (median), ``ratios``; ``ratio_with_start`` (from the call to the last file: both with the start of the workers, the job with that
        of Ray); ``pool_per_s`` and ``ray_per_s`` (videos per second, medians), ``pool_s`` and ``ray_s`` (medians, with the start), ``videos``.
    """
    link_copies(work.clip, work.folder / "videos", work.videos)
    rates: dict[str, list[float]] = {"pool": [], "ray": []}
    whole: dict[str, list[float]] = {"pool": [], "ray": []}
    for number in range(work.rounds):
        for name, execute in (("pool", _run_pool), ("ray", _run_job)):
            start, store, items = time.monotonic(), *execute(work, work.folder / f"{name}-{number}")
            whole[name].append(time.monotonic() - start)
            rates[name].append(steady_rate(_finished_at(store, items), WORKERS))
    ratios = [ray / pool for ray, pool in zip(rates["ray"], rates["pool"], strict=True)]
    return {
        "ratio": median(ratios),
        "ratio_with_start": median(pool / ray for ray, pool in zip(whole["ray"], whole["pool"], strict=True)),
        **{f"{name}_per_s": median(values) for name, values in rates.items()},
        **{f"{name}_s": median(values) for name, values in whole.items()},
        "videos": work.videos,
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def steady_rate(finished: Sequence[float], workers: int) -> float:
    """Items per second between the first and the last ones.

    Args:
        finished: Times in seconds at which the items were finished, more than four per worker.
        workers: Two of its items are left out for each at both ends.
    """
    times, ends = sorted(finished), 2 * workers
    return (len(times) - 2 * ends) / (times[-ends - 1] - times[ends - 1])


def _finished_at(store: StageStore, items: Mapping[Item, dict]) -> list[float]:
    return [Path(store.storage.uri(store.output(item))).stat().st_mtime for item in items]


def _run_of(work: PoolConfig, folder: Path, session: RaySession) -> Run[AnalyzeConfig]:
    config = AnalyzeConfig(
        model=str(work.model),
        storage=cache_config(StorageConfig(uri=str(folder))),
        compute=session.compute,
        policy=Policy(max_failures=0.0),
        data=VideosConfig(videos=(str(work.folder / "videos"),)),
        faces=FacesChoice(detector=DetectorChoice(kind="yunet", weights=str(work.weights))),
    )
    return Run(config, session)


def _run_job(work: PoolConfig, folder: Path) -> tuple[StageStore, Mapping[Item, dict]]:
    compute = ComputeConfig(local_cpus=WORKERS)
    with patch.object(analyze, "_DRIVER_BYTES", -1), RaySession(compute) as session:
        run = _run_of(work, folder, session)
        record = analyze.ANALYZE.complete(run)
        if record.failures:
            raise AbawError(f"{record.failures[0]['item']}: {record.failures[0]['reason']}")
        return analyze.ANALYZE.store(run), analyze.analyzed_videos(run)


def _run_pool(work: PoolConfig, folder: Path) -> tuple[StageStore, Mapping[Item, dict]]:
    run = _run_of(work, folder, RaySession(ComputeConfig(local_cpus=WORKERS)))
    store, items = analyze.ANALYZE.store(run), analyze.analyzed_videos(run)
    settings = replace(analyze.analysis_work(run), notices=())
    with multiprocessing.get_context("spawn").Pool(WORKERS, _init_worker, (settings,)) as pool:
        for _ in pool.imap_unordered(_analyze_video, [(store, item, payload) for item, payload in items.items()]):
            pass
    return store, items


def _init_worker(work: AnalysisWork) -> None:
    global _worker
    tune_process()
    _worker = FusedWork(work)


def _analyze_video(task: tuple[StageStore, Item, dict]) -> float:
    assert _worker is not None, "the pool calls _init_worker first"
    return _worker(*task)["rows"]
