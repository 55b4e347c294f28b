"""The demo's CPU time, process by process: what goes to the work, what to Ray, and how long the cores had nothing to do."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from abaw_ray.core.errors import StageError

EVERY = 0.5
"""Seconds between two looks; what a process used after the last look at it is not seen."""
SERVICES = ("gcs_server", "raylet", "log_monitor", "agent.py", "runtime_env/agent", "monitor.py", "dashboard.py", "DashboardAgent", "RuntimeEnvAgent")
"""Words in the command lines of Ray's own processes."""
BOOKS = ("ray::_", "ray::SplitCoordinator", "ray::AutoscalingRequester", "ray::TrainController", "ray::Ray")
"""Beginnings of the titles of actors that do no work of ours, but for ``WORKS``."""
WORKS = ("ray::MapWorker", "ray::_MapWorker", "ray::ImplicitFunc", "ray::RayTrainWorker")
"""Of those that do."""
STAGES = ("drawing", "faces", "images", "encoder", "features", "sweep", "models", "baselines", "predictions", "report")
"""Beginnings of the lines by which the pipeline says where it is."""
DRIVEN = ("faces", "images", "encoder", "features", "sweep", "models", "baselines")
"""Stages whose work is done by others than the process that drives them."""


def engine_share(folder: Path, preset: str) -> dict:
    """Whose CPU time the pipeline's is. It runs in a new process, with its results in a folder of its own.

    Returns:
        ``engine_of_cpu``: (Ray's services, actors that keep books, the driver while others work) / all; ``starting_of_cpu``: processes that
        import before they work, for each stage has new ones / all; ``idle_of_wall``; ``wall_s``; ``cpu_s`` by kind; ``stages``, the same by
        stage; ``titles``, seconds of each process title.

    Raises:
        StageError: the pipeline failed.
    """
    project, log = Path(__file__).parents[3], folder / "engine.log"
    command = [sys.executable, "-u", "jobs/pipeline.py", preset, "--storage", str(folder / "engine"), "--data.synthetic-dir", str(folder / "drawn")]
    begun = time.monotonic()
    with log.open("w") as out:
        job = subprocess.Popen(command, cwd=project, stdout=out, stderr=subprocess.STDOUT)
        used = watched(psutil.Process(job.pid), log)
    wall = time.monotonic() - begun
    if job.wait():
        raise StageError(f"{' '.join(command)}: {log.read_text()[-2000:]}")
    kinds: Counter[str] = Counter()
    stages: dict[str, Counter[str]] = {}
    titles: Counter[str] = Counter()
    for (stage, title), seconds in used.items():
        kind = kind_of(title, stage)
        kinds[kind] += seconds
        stages.setdefault(stage, Counter())[kind] += seconds
        titles[short(title)] += seconds
    total, cores = sum(kinds.values()), len(os.sched_getaffinity(0))
    return {
        "engine_of_cpu": (kinds["services"] + kinds["books"] + kinds["driver"]) / total,
        "starting_of_cpu": kinds["starting"] / total,
        "idle_of_wall": 1 - total / (wall * cores),
        "wall_s": wall,
        "cpu_s": dict(kinds),
        "stages": {stage: dict(found) for stage, found in stages.items()},
        "titles": dict(titles.most_common()),
    }


def short(title: str) -> str:
    """The title without the folders of this machine, and without the blanks that Ray pads it with."""
    return re.sub(r"(?<![\w.])/(?:[^\s/=]+/)+", "", title).strip()


def kind_of(title: str, stage: str) -> str:
    """What a process does, by its title and the stage in which it did it."""
    if any(word in title for word in SERVICES):
        return "services"
    if title.startswith("ray::IDLE") or "default_worker.py" in title or "setup_worker.py" in title:
        return "starting"
    if title.startswith(BOOKS) and not title.startswith(WORKS):
        return "books"
    if title == "driver" and stage in DRIVEN:
        return "driver"
    return "work"


def watched(job: psutil.Process, log: Path) -> Counter[tuple[str, str]]:
    """CPU seconds by stage and process title, until the job ends."""
    used: Counter[tuple[str, str]] = Counter()
    before: dict[tuple[int, float], float] = {}
    while job.status() != psutil.STATUS_ZOMBIE:
        stage = stage_of(log.read_text())
        for key, title, seconds in looks(job):
            used[stage, title] += seconds - before.get(key, 0.0)
            before[key] = seconds
        time.sleep(EVERY)
    return used


def looks(job: psutil.Process) -> Iterator[tuple[tuple[int, float], str, float]]:
    """Every process of the job: who it is, its title, and the CPU seconds that it has used so far."""
    for process in [job, *job.children(recursive=True)]:
        try:
            times, command = process.cpu_times(), process.cmdline()
            title = "driver" if process == job else " ".join(command)[:200]
            yield (process.pid, process.create_time()), title, times.user + times.system
        except psutil.Error:
            continue  # it has ended meanwhile


def stage_of(said: str) -> str:
    """The stage that the job spoke of last."""
    names = [line.strip().partition(":")[0] for line in said.splitlines()]
    return next((name for name in reversed(names) if name in STAGES), "start")
