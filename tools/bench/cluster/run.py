"""What a cluster gives and costs: speed-up of a second machine, time to the first frame, time lost with a machine, the engine's share.

python -m tools.bench.cluster --clips clips --weights face_detection_yunet_2023mar.onnx --json tools/benchmarks/cluster-2026-01-31-box.json

The machines are made of namespaces of this one's kernel, as in ``tests/cluster/real`` (root, and the Debian packages that its first line
asks for): a part of one CPU each, so this one needs two. What is measured and how is in ``machines.py`` and ``engine.py``.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import tyro

from abaw_ray.core.errors import AbawError
from abaw_ray.core.progress import echo
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.detect import DetectorConfig
from tools.bench.cluster.engine import engine_share
from tools.bench.cluster.machines import Plan, on_machines
from tools.bench.table import measured, show_rows, stamp, told, write_rows
from tools.bench.video.plan import QUICK as QUICK_VIDEO
from tools.bench.video.plan import Bench
from tools.bench.video.plan import Plan as VideoPlan

Part = Literal["machines", "engine"]
FIGURES = (
    ("speed_up", ("machines", "speed_up"), ">= 1.8", "faces of the same videos: one machine's time for the stage / two machines'"),
    ("speed_up_with_start", ("machines", "speed_up_with_start"), "", "the same from `ray job submit` to the end of its log"),
    ("up_s", ("machines", "up_s"), "", "seconds until `ray up` has returned and the tunnel stands"),
    ("first_frame_s", ("machines", "first_frame_s"), "", "seconds from `ray up` to the first video's frames in storage"),
    ("head_of_cpu", ("machines", "head_of_cpu"), "", "what the head uses of one CPU while two machines work"),
    ("lost_s", ("machines", "lost_s"), "", "seconds that a machine costs which is switched off half-way and on again"),
    ("engine_of_cpu", ("engine", "engine_of_cpu"), "", "the demo: share of the CPU time that goes to Ray and not to the work"),
    ("starting_of_cpu", ("engine", "starting_of_cpu"), "", "the demo: share that goes to imports of the processes that each stage starts"),
    ("idle_of_wall", ("engine", "idle_of_wall"), "", "the demo: share of the cores' time in which nobody used them"),
)
"""Key, place among the raw figures, aim (ours), and what it is."""


def main(
    clips: Path,
    weights: Path,
    quick: bool = False,
    json: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
    only: tuple[Part, ...] = (),
    share: float = 0.65,
) -> int:
    """Measure what a cluster gives and costs.

    Args:
        clips: A folder of clips, of which one shows one face.
        weights: YuNet's weights.
        quick: Less of everything: only a look.
        json: A file for all figures.
        only: The parts to measure; all without it.
        share: Of its CPU that a worker machine has; 1 takes nothing from it, and the head has to take its part from the workers.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    command = f"{told('cluster', clips, weights, quick, only)} --share {share:g}"
    try:
        config = FacesConfig(detector=DetectorConfig(weights=str(weights.absolute())))
        with tempfile.TemporaryDirectory(prefix="abaw-bench-") as own:
            bench = Bench(QUICK_VIDEO if quick else VideoPlan(), config, clips, Path(own), keep=False)
            plan = Plan(seconds=20, rounds=1, share=share, preset="smoke") if quick else Plan(share=share)
            parts = {"machines": lambda: on_machines(bench, plan, Path(own)), "engine": lambda: engine_share(Path(own), plan.preset)}
            raw: dict = {}
            measured(parts, only, raw, lambda: json and write_rows(json, FIGURES, {"command": command, **stamp("torch")}, raw))
        show_rows(FIGURES, raw)
        if quick:
            echo("only a look: too little was run for figures that one could keep")
    except AbawError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0
