"""CPU time of a pipeline run by kind of process: shares of the work and of Ray, and the share of idle cores."""

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil

from abaw_ray.core.errors import StageError

INTERVAL_S = 0.5
"""Sampling interval. CPU time of a process after its last sample is not counted."""
SERVICES = ("gcs_server", "raylet", "log_monitor", "agent.py", "runtime_env/agent", "monitor.py", "dashboard.py", "DashboardAgent", "RuntimeEnvAgent")
"""Substrings of the command lines of Ray's own processes."""
COORDINATORS = ("ray::_", "ray::SplitCoordinator", "ray::AutoscalingRequester", "ray::TrainController", "ray::Ray")
"""Title prefixes of Ray's coordinating actors, except those in ``WORKERS``."""
WORKERS = ("ray::MapWorker", "ray::_MapWorker", "ray::ImplicitFunc", "ray::RayTrainWorker")
"""Title prefixes of actors that run this project's work."""
STAGES = ("synthetic data", "faces", "images", "encoder", "features", "sweep", "models", "baseline_vectors", "predictions", "report")
"""Titles of the pipeline's progress lines: item stages by their names, the fusion stage in two parts, ``sweep`` and ``models``."""
DISTRIBUTED = ("faces", "images", "encoder", "features", "sweep", "models", "baseline_vectors")
"""Stages whose work runs in other processes than the driver."""


def ray_share(folder: Path, preset: str) -> dict:
    """Run the pipeline in a new process with its own results folder, and divide its CPU time by kind of process.

    Returns:
        ``ray_of_cpu``: (Ray's services, coordinating actors, the driver in distributed stages) / all; ``starting_of_cpu``: processes that import
        before they work (each stage starts new ones) / all; ``idle_of_wall``; ``wall_s``; ``cpu_s`` by kind; ``stages``, ``cpu_s`` by stage;
        ``titles``, seconds by process title.

    Raises:
        StageError: the pipeline failed.
    """
    project, log = Path(__file__).parents[3], folder / "engine.log"
    command = [
        sys.executable,
        "-u",
        "jobs/pipeline.py",
        preset,
        "--storage",
        str(folder / "engine"),
        "--data.synthetic-dir",
        str(folder / "synthetic"),
    ]
    start = time.monotonic()
    with log.open("w") as out:
        job = subprocess.Popen(command, cwd=project, stdout=out, stderr=subprocess.STDOUT)
        cpu_s = sample_cpu(psutil.Process(job.pid), log)
    wall = time.monotonic() - start
    if job.wait():
        raise StageError(f"{' '.join(command)}: {log.read_text()[-2000:]}")
    kinds: dict[str, float] = defaultdict(float)
    stages: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    titles: dict[str, float] = defaultdict(float)
    for (stage, title), seconds in cpu_s.items():
        kind = kind_of(title, stage)
        kinds[kind] += seconds
        stages[stage][kind] += seconds
        titles[shorten(title)] += seconds
    total, cores = sum(kinds.values()), len(os.sched_getaffinity(0))
    return {
        "ray_of_cpu": (kinds["services"] + kinds["coordinators"] + kinds["driver"]) / total,
        "starting_of_cpu": kinds["starting"] / total,
        "idle_of_wall": 1 - total / (wall * cores),
        "wall_s": wall,
        "cpu_s": dict(kinds),
        "stages": {stage: dict(cpu) for stage, cpu in stages.items()},
        "titles": dict(sorted(titles.items(), key=lambda item: -item[1])),
    }


def shorten(title: str) -> str:
    """Return a process title without folder names and without the blanks that Ray appends."""
    return re.sub(r"(?<![\w.])/(?:[^\s/=]+/)+", "", title).strip()


def kind_of(title: str, stage: str) -> str:
    """Return the kind of a process by its title and the current stage."""
    if any(name in title for name in SERVICES):
        return "services"
    if title.startswith("ray::IDLE") or "default_worker.py" in title or "setup_worker.py" in title:
        return "starting"
    if title.startswith(COORDINATORS) and not title.startswith(WORKERS):
        return "coordinators"
    if title == "driver" and stage in DISTRIBUTED:
        return "driver"
    return "work"


def sample_cpu(job: psutil.Process, log: Path) -> dict[tuple[str, str], float]:
    """Return CPU seconds by stage and process title; returns when the job ends."""
    used: dict[tuple[str, str], float] = defaultdict(float)
    before: dict[tuple[int, float], float] = {}
    while job.status() != psutil.STATUS_ZOMBIE:
        stage = current_stage(log.read_text())
        for key, title, seconds in samples(job):
            used[stage, title] += seconds - before.get(key, 0.0)
            before[key] = seconds
        time.sleep(INTERVAL_S)
    return used


def samples(job: psutil.Process) -> Iterator[tuple[tuple[int, float], str, float]]:
    """Yield for each process of the job its identity, its title and the CPU seconds used so far."""
    for process in [job, *job.children(recursive=True)]:
        try:
            times, command = process.cpu_times(), process.cmdline()
            title = "driver" if process == job else " ".join(command)[:200]
            yield (process.pid, process.create_time()), title, times.user + times.system
        except psutil.Error:
            continue  # the process has ended


def current_stage(log: str) -> str:
    """Return the stage of the last progress line in the log."""
    names = [line.strip().partition(":")[0] for line in log.splitlines()]
    return next((name for name in reversed(names) if name in STAGES), "start")
