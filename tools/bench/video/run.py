"""What it costs to prepare faces, as ratios that hold on any machine: one run, one table and, if asked for, one JSON file.

python -m tools.bench.video --clips clips --weights face_detection_yunet_2023mar.onnx --quick
python -m tools.bench.video --clips clips --weights face_detection_yunet_2023mar.onnx --json tools/benchmarks/video-2026-01-31-box.json

It makes its own videos from the clips (H.264, libx264, preset medium, crf 23, 30 frames a second). What is measured and how is in ``cost.py``,
``recall.py``, ``pool.py``, ``memory.py`` and ``scale.py``, on how much in ``plan.py``.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro

from abaw_ray.core.errors import AbawError
from abaw_ray.core.process.child import prepare
from abaw_ray.core.progress import echo
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.detect import DetectorConfig
from tools.bench.video.clips import lengthen
from tools.bench.video.cost import naive_over_stage, stage_over_decode
from tools.bench.video.figures import about, figures_of, show, write
from tools.bench.video.memory import worker_memory
from tools.bench.video.plan import QUICK, SIZES, Bench, Plan
from tools.bench.video.pool import Work, ray_over_pool
from tools.bench.video.recall import BRIEF, choices, coming_and_going, curve, drifting, small_faces, swaying

_T = TypeVar("_T")
Part = Literal["stage", "recall", "curve", "naive", "pool", "memory", "scale"]


def apart(function: Callable[..., _T], *args: object) -> _T:
    """Call it in a fresh process with the settings of a worker's child: its memory and its CPU time are its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=prepare) as pool:
        return pool.submit(function, *args).result()


def part_stage(bench: Bench) -> dict:
    """The whole stage beside decoding alone, in CPU time."""
    plan, found = bench.plan, {}
    for grain in (0.0, *plan.grain):
        for size in SIZES:
            path = bench.face(size, plan.seconds, grain)
            found[size + (f"_grain{grain:g}" if grain else "")] = apart(stage_over_decode, bench.config, path, plan.rounds)
    return found


def part_recall(bench: Bench) -> dict:
    """Faces of 48 pixels at 1080p with the same settings."""
    drift, late = bench.scene("drift", drifting), bench.scene("late", coming_and_going(bench.plan.recall_seconds, seed=0))
    return apart(small_faces, bench.config, drift, late)


def part_curve(bench: Bench) -> list[dict]:
    """Cost and finds at other settings."""
    plan = bench.plan
    costs = {size: bench.face(size, plan.seconds) for size in plan.curve_sizes}
    ways = [coming_and_going(plan.recall_seconds, seed=0), coming_and_going(plan.recall_seconds, seed=1)]
    scene = bench.scene("scene", swaying, *ways, coming_and_going(plan.recall_seconds, 2, BRIEF))
    return apart(curve, choices(bench.config, few=plan.few), costs, scene, plan.curve_frames, plan.curve_rounds)


def part_naive(bench: Bench) -> dict:
    """What one would write first, beside the stage."""
    return apart(naive_over_stage, bench.config, bench.face("720p", bench.plan.seconds), bench.plan.naive_frames, 3)


def part_pool(bench: Bench) -> dict:
    """The job on Ray beside a pool of processes."""
    clip = bench.face("720p", bench.plan.pool_clip)
    with bench.room() as folder:
        return apart(ray_over_pool, Work(config=bench.config, clip=clip, seconds=bench.plan.pool_seconds, folder=folder))


def part_memory(bench: Bench) -> dict:
    """A long video and a short one through a worker."""
    once, found = bench.face("1080p", bench.plan.seconds), {}
    with bench.room() as folder:
        for name, seconds in (("short", bench.plan.short), ("long", bench.plan.long)):
            found[name] = apart(worker_memory, bench.config, lengthen(once, folder / f"{name}.mp4", seconds)) | {"seconds": seconds}
    return found | {"ratio": found["long"]["sum"] / found["short"]["sum"]}


def part_scale(bench: Bench) -> dict:
    """Thousands of stand-in videos through the job."""
    from tools.bench.video.scale import Many, at_scale

    with bench.room() as folder:
        return apart(at_scale, Many(config=bench.config, videos=bench.plan.videos, folder=folder))


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
    """Do the parts one after the other; ``done`` is told of the figures so far after each."""
    raw: dict = {}
    for name, part in PARTS.items():
        if only and name not in only:
            continue
        echo(f"{name}: {' '.join(part.__doc__.split())}")
        load, begun = os.getloadavg()[0], time.monotonic()
        raw[name] = {"figures": part(bench), "load_before": load, "seconds": time.monotonic() - begun}
        done(raw)
    return raw


def main(
    clips: Path,
    weights: Path,
    quick: bool = False,
    json: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
    only: tuple[Part, ...] = (),
    keep: Path | None = None,
) -> int:
    """Measure what it costs to prepare faces.

    Args:
        clips: A folder of clips, of which one shows one face.
        weights: YuNet's weights.
        quick: Less of everything, in under five minutes on two cores: what is then only a look is marked.
        json: A file for all figures.
        only: The parts to measure; all without it.
        keep: A folder for the videos made and a picture of each; without it they are gone afterwards.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        for folder in (json and json.parent, keep):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
        config = FacesConfig(detector=DetectorConfig(weights=str(weights)))
        with tempfile.TemporaryDirectory(prefix="abaw-bench-") as own:
            bench = Bench(QUICK if quick else Plan(), config, clips, keep or Path(own), keep is not None)
            note = about(config, clips, weights, quick, only)
            raw = measure(bench, only, lambda raw: write(json, note, raw) if json else None)
        show(figures_of(raw), raw, quick)
    except AbawError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0
