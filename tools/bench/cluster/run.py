"""Benchmark of a cluster: speed-up by a second machine, time to the first frame and the first step, time lost with a machine, overhead of Ray.

python -m tools.bench.cluster --clips clips --weights face_detection_yunet_2023mar.onnx --json tools/benchmarks/cluster-2026-01-31-box.json

The machines are namespaces on this one (``tools/clusters/namespaces``; needs root and Debian packages, which an error names). Each worker has a
share of one CPU, so this machine needs two. ``machines.py``, ``engine.py``, ``first_step.py`` and
``items.py`` define the measurements.
"""

import os
import tempfile
from pathlib import Path
from typing import Literal

from abaw_ray.core.errors import AbawError
from abaw_ray.core.progress import echo
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from tools.bench.cluster.engine import ray_share
from tools.bench.cluster.first_step import first_step
from tools.bench.cluster.items import many_items
from tools.bench.cluster.machines import Plan, on_machines
from tools.bench.table import JsonFile, command_line, measure_parts, metadata, report_error, show_rows, write_rows
from tools.bench.video.plan import QUICK as QUICK_VIDEO
from tools.bench.video.plan import Bench
from tools.bench.video.plan import Plan as VideoPlan

Part = Literal["machines", "engine", "training", "items"]
FIGURES = (
    ("speed_up", ("machines", "speed_up"), ">= 1.8", "faces of the same videos: time of the stage on one machine / on two"),
    ("speed_up_with_start", ("machines", "speed_up_with_start"), "", "the same from `ray job submit` to the end of the log"),
    ("up_s", ("machines", "up_s"), "", "seconds of `ray up` and of opening the tunnel"),
    ("first_frame_s", ("machines", "first_frame_s"), "", "seconds from `ray up` to the first video's frames in storage"),
    ("head_of_cpu", ("machines", "head_of_cpu"), "", "share of one CPU that the head uses while two machines work"),
    ("lost_s", ("machines", "lost_s"), "", "seconds lost when a machine is switched off half-way and on again"),
    ("ray_of_cpu", ("engine", "ray_of_cpu"), "", "demo: share of CPU time that Ray uses"),
    ("starting_of_cpu", ("engine", "starting_of_cpu"), "", "demo: share of CPU time for imports in new processes"),
    ("idle_of_wall", ("engine", "idle_of_wall"), "", "demo: share of the cores' time that is idle"),
    ("first_step_s", ("training", "first_step_s"), "", "preset smoke: seconds from a machine that has joined to the training's first step"),
    ("start_s", ("items", "start_s"), "", "engine, 100,000 items: seconds until the first output is written"),
    ("items_per_s", ("items", "items_per_s"), "", "engine, 100,000 items: items per second that write one row"),
    ("added_s", ("items", "added_s"), "", "engine, 100,000 items: seconds to add 50"),
    ("lost_index_s", ("items", "lost_index_s"), "", "engine, 100,000 items: seconds to continue without index and record"),
    ("driver_gb", ("items", "driver_gb"), "", "engine, 100,000 items: peak memory of the driver in 10^9 bytes"),
    ("items_growth", ("items", "growth"), "<= 1.1", "engine: largest growth of these figures, from 10,000 to 100,000 items; at most 1 is linear"),
)
"""Key, its two keys in the raw figures, target (ours), description."""


def main(
    clips: Path,
    weights: Path,
    quick: bool = False,
    json: JsonFile = None,
    only: tuple[Part, ...] = (),
    share: float = 0.65,
) -> int:
    """Measure speed-up, start-up, failure cost and overhead of a cluster.

    Args:
        clips: A folder of clips; at least one shows exactly one face.
        weights: YuNet's weights.
        quick: Small sizes; the figures are too noisy to keep.
        json: Output file of all figures.
        only: Parts to measure; default all.
        share: Share of its CPU that a worker machine may use; with 1 the head competes with the workers.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    command = command_line("tools.bench.cluster", clips=clips, weights=weights, quick=quick, only=only, share=share)
    try:
        config = FacesConfig(detector=DetectorConfig(weights=str(weights.absolute())))
        with tempfile.TemporaryDirectory(prefix="abaw-bench-") as scratch:
            bench = Bench(QUICK_VIDEO if quick else VideoPlan(), config, clips, Path(scratch), keep=False)
            plan = Plan(seconds=20, rounds=1, share=share, preset="smoke", items=(100, 200)) if quick else Plan(share=share)
            parts = {
                "machines": lambda: on_machines(bench, plan, Path(scratch)),
                "engine": lambda: ray_share(Path(scratch), plan.preset),
                "training": lambda: first_step(Path(scratch), plan.rounds),
                "items": lambda: many_items(plan.items, Path(scratch)),
            }
            raw: dict = {}
            measure_parts(parts, only, raw, lambda: json and write_rows(json, FIGURES, {"command": command, **metadata("torch")}, raw))
        show_rows(FIGURES, raw)
        if quick:
            echo("quick run: the figures are too noisy to keep")
    except AbawError as error:
        return report_error(error)
    return 0
