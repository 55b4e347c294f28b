"""Benchmark of face preparation: costs as ratios that are comparable between machines, in a table and optionally a JSON file.

python -m tools.bench.video --clips clips --weights face_detection_yunet_2023mar.onnx --quick
python -m tools.bench.video --clips clips --weights face_detection_yunet_2023mar.onnx --json tools/benchmarks/video-2026-01-31-box.json

It encodes test videos from the clips (H.264, libx264, preset medium, crf 23, 30 frames per second). ``cost.py``, ``recall.py``, ``pool.py``,
``memory.py`` and ``scale.py`` define the measurements, ``plan.py`` their sizes.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from abaw_ray.core.errors import AbawError
from abaw_ray.core.process.child import tune_process
from abaw_ray.core.progress import echo
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from tools.bench.table import JsonFile, report_error
from tools.bench.video.clips import lengthen
from tools.bench.video.cost import naive_over_stage, stage_over_decode
from tools.bench.video.figures import figures_of, run_metadata, show, write
from tools.bench.video.memory import worker_memory
from tools.bench.video.plan import QUICK, SIZES, Bench, Plan
from tools.bench.video.pool import PoolConfig, ray_over_pool
from tools.bench.video.recall import BRIEF_VISIT, curve, curve_settings, drifting, small_faces, swaying, visits

_T = TypeVar("_T")
Part = Literal["stage", "recall", "curve", "naive", "pool", "memory", "scale"]


def in_new_process(function: Callable[..., _T], *args: object) -> _T:
    """Call a function in a new process with the settings of a worker's child process, to measure its memory and CPU time separately."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=tune_process) as pool:
        return pool.submit(function, *args).result()


def part_stage(bench: Bench) -> dict:
    """CPU time of the stage relative to decoding alone."""
    plan, figures = bench.plan, {}
    for grain in (0.0, *plan.grain):
        for size in SIZES:
            path = bench.face(size, plan.seconds, grain)
            figures[size + (f"_grain{grain:g}" if grain else "")] = in_new_process(stage_over_decode, bench.config, path, plan.rounds)
    return figures


def part_recall(bench: Bench) -> dict:
    """Recall of faces of 48 pixels at 1080p."""
    drift, late = bench.scene("drift", drifting), bench.scene("late", visits(bench.plan.recall_seconds, seed=0))
    return in_new_process(small_faces, bench.config, drift, late)


def part_curve(bench: Bench) -> list[dict]:
    """Cost and recall at other settings."""
    plan = bench.plan
    costs = {size: bench.face(size, plan.seconds) for size in plan.curve_sizes}
    trajectories = [visits(plan.recall_seconds, seed=0), visits(plan.recall_seconds, seed=1)]
    scene = bench.scene("scene", swaying, *trajectories, visits(plan.recall_seconds, 2, BRIEF_VISIT))
    return in_new_process(curve, curve_settings(bench.config, few=plan.few), costs, scene, plan.curve_frames, plan.curve_rounds)


def part_naive(bench: Bench) -> dict:
    """CPU time of a naive implementation relative to the stage."""
    return in_new_process(naive_over_stage, bench.config, bench.face("720p", bench.plan.seconds), bench.plan.naive_frames, 3)


def part_pool(bench: Bench) -> dict:
    """Throughput of the job on Ray relative to a process pool."""
    clip = bench.face("720p", bench.plan.pool_clip)
    with bench.scratch() as folder:
        return in_new_process(ray_over_pool, PoolConfig(config=bench.config, clip=clip, seconds=bench.plan.pool_seconds, folder=folder))


def part_memory(bench: Bench) -> dict:
    """Memory of a worker with a long and a short video."""
    clip, figures = bench.face("1080p", bench.plan.seconds), {}
    with bench.scratch() as folder:
        for name, seconds in (("short", bench.plan.short), ("long", bench.plan.long)):
            figures[name] = in_new_process(worker_memory, bench.config, lengthen(clip, folder / f"{name}.mp4", seconds)) | {"seconds": seconds}
    return figures | {"ratio": figures["long"]["sum"] / figures["short"]["sum"]}


def part_scale(bench: Bench) -> dict:
    """Overhead of the job with thousands of stub videos."""
    from tools.bench.video.scale import ScaleConfig, measure_scale

    with bench.scratch() as folder:
        return in_new_process(measure_scale, ScaleConfig(faces=bench.config, videos=bench.plan.videos, folder=folder))


PARTS: dict[str, Callable[[Bench], dict | list]] = {
    "stage": part_stage,
    "recall": part_recall,
    "curve": part_curve,
    "naive": part_naive,
    "pool": part_pool,
    "memory": part_memory,
    "scale": part_scale,
}


def measure(bench: Bench, only: tuple[str, ...], done: Callable[[dict], None]) -> dict:
    """Measure the parts in turn and return their figures; calls ``done`` with the figures so far after each part."""
    raw: dict = {}
    for name, part in PARTS.items():
        if only and name not in only:
            continue
        echo(f"{name}: {' '.join((part.__doc__ or '').split())}")
        load, start = os.getloadavg()[0], time.monotonic()
        raw[name] = {"figures": part(bench), "load_before": load, "seconds": time.monotonic() - start}
        done(raw)
    return raw


def main(
    clips: Path,
    weights: Path,
    quick: bool = False,
    json: JsonFile = None,
    only: tuple[Part, ...] = (),
    keep: Path | None = None,
) -> int:
    """Measure the costs of face preparation.

    Args:
        clips: A folder of clips; at least one shows exactly one face.
        weights: YuNet's weights.
        quick: Small sizes, under five minutes on two cores; approximate figures are marked.
        json: Output file of all figures.
        only: Parts to measure; default all.
        keep: Folder in which to keep the test videos and a frame of each; default: they are deleted.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        for folder in (json and json.parent, keep):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
        config = FacesConfig(detector=DetectorConfig(weights=str(weights)))
        with tempfile.TemporaryDirectory(prefix="abaw-bench-") as scratch:
            bench = Bench(QUICK if quick else Plan(), config, clips, keep or Path(scratch), keep is not None)
            note = run_metadata(config, clips, weights, quick, only)
            raw = measure(bench, only, lambda raw: write(json, note, raw) if json else None)
        show(figures_of(raw), raw, quick)
    except AbawError as error:
        return report_error(error)
    return 0
