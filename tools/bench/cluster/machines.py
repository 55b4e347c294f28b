"""Duration of ``jobs/prepare_faces.py`` for copies of one clip, on namespace machines: one worker, two workers, and two of which one fails."""

import json
import statistics
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.progress import echo
from abaw_ray.faces.output import FaceWriter
from tools.bench.cluster.share import Group, cpu_group
from tools.bench.video.cost import cpu_seconds, run_stage
from tools.bench.video.plan import Bench
from tools.bench.video.pool import link_copies
from tools.clusters.namespaces.clusters import RayCluster, local_cluster, wait_until
from tools.clusters.namespaces.hosts import CLIENT, Hosts, missing_requirements

WORKERS = {"n2": 0, "n3": 1}
"""Machine -> the CPU that it is pinned to. The head ``n1`` and the client are not pinned."""
HEAD = "n1"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of the measurements."""

    seconds: float = 150
    """Approximate duration of the job on two machines. Long, because the start of the workers takes about 12 s of it."""
    rounds: int = 2
    """Number of runs with one and with two machines, in turn; the figures are medians."""
    share: float
    """Share of its CPU that a worker may use. The head must fit in the rest, so that it does not slow the workers, as on separate machines."""
    preset: str = "demo"
    """Preset of the pipeline run for ``engine.py``."""
    items: tuple[int, ...] = (10_000, 30_000, 100_000)
    """Numbers of items for ``items.py``."""


class JobTimes(NamedTuple):
    """Durations of a job in seconds."""

    stage: float
    """By the stage's record: start of the workers, and the videos."""
    job: float
    """From the submission to the end of the log."""
    head: float
    """CPU time of the head."""
    workers: float
    """CPU time of the workers. If it grows for the same work, the machine has become slower."""


@dataclass(frozen=True)
class Job:
    """A submitted job."""

    groups: Mapping[str, Group]
    process: subprocess.Popen
    log: Path
    folder: Path
    """Folder of its results."""
    start: float
    start_cpu_s: tuple[float, float]
    """CPU time of the head and of the workers at the start."""

    def wait_for_videos(self, count: int, *, timeout: float = 600) -> None:
        """Wait until ``count`` videos are done.

        Raises:
            StageError: the job ended before, or the wait timed out.
        """
        deadline = time.monotonic() + timeout
        while len(list(self.folder.glob("faces/*/outputs/*.parquet"))) < count:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StageError(f"{self.log.name}: fewer than {count} videos after {timeout:g} s: {self._log_tail()}")
            time.sleep(0.1)

    def wait(self) -> JobTimes:
        """Wait for the end of the job.

        Raises:
            StageError: the job failed.
        """
        if self.process.wait() or "exit=0" not in self.log.read_text():
            raise StageError(f"{self.log.name}: the job failed: {self._log_tail()}")
        (record,) = self.folder.glob("faces/*/records/*.json")
        duration = time.monotonic() - self.start
        head, workers = (after - before for after, before in zip(cpu_used(self.groups), self.start_cpu_s, strict=True))
        return JobTimes(json.loads(record.read_text())["seconds"], duration, head, workers)

    def _log_tail(self) -> str:
        return self.log.read_text()[-2000:]


@dataclass
class Experiment:
    """A cluster, the videos that its jobs process, and the folder of their results."""

    cluster: RayCluster
    groups: Mapping[str, Group]
    """Machine -> control group that limits and counts its CPU time."""
    videos: Path
    """Folder of the videos; the folder ``few`` beside it has four of them."""
    weights: str
    """Path of YuNet's weights."""
    results: Path
    """Folder of the jobs' results and logs."""
    runs: int = 0
    """Number of jobs submitted."""

    def submit(self, workers: int, *, few: bool = False) -> Job:
        """Submit a job with a new folder for its results."""
        self.runs += 1
        folder, log = self.results / str(self.runs), self.results / f"{self.runs}.log"
        videos = self.videos.with_name("few") if few else self.videos
        options = ["--storage", str(folder), "--videos", str(videos), "--weights", self.weights, "--compute.decode.workers", str(workers)]
        job = self.cluster.submit("python", "jobs/prepare_faces.py", "paper", *options, log=log)
        return Job(self.groups, job, log, folder, time.monotonic(), cpu_used(self.groups))


def cpu_used(groups: Mapping[str, Group]) -> tuple[float, float]:
    """Return the CPU seconds of the head, and of the workers together, since their first start."""
    return groups[HEAD].cpu_seconds(), sum(groups[name].cpu_seconds() for name in WORKERS)


def on_machines(bench: Bench, plan: Plan, folder: Path) -> dict:
    """Measure the speed-up by a second machine and the cost of losing one.

    Returns:
        ``speed_up`` of the stage and ``speed_up_with_start`` of the whole job, by medians; ``up_s``; ``first_frame_s``; ``lost_s``; ``videos``;
        ``head_of_cpu``, the share of a CPU that the head uses while two machines work;
        ``one_s``, ``two_s``, each ``JobTimes``; ``failure_s`` of the stage; ``back_s``, from switching a machine off until Ray runs on it again.

    Raises:
        ConfigError: namespaces cannot be created.
        StageError: a job failed.
    """
    if reason := missing_requirements():
        raise ConfigError(f"namespace machines cannot be created: {reason}")
    clip, weights = bench.face("720p", bench.plan.pool_clip), bench.config.detector.weights
    writer = FaceWriter(bench.config)
    run_stage(writer, clip)
    videos = max(round(plan.seconds * len(WORKERS) * plan.share / cpu_seconds(partial(run_stage, writer, clip))), 8)
    link_copies(clip, folder / "videos", videos)
    link_copies(clip, folder / "few", 4)
    hosts = Hosts(folder / "hosts", net="10.78.0", prefix="bench")
    hosts.env = {"RAY_AUTH_MODE": "token", "TMPDIR": "/tmp/ray"}
    with ExitStack() as stack:
        groups = {name: stack.enter_context(cpu_group(f"bench-{name}", cpu, plan.share)) for name, cpu in WORKERS.items()}
        groups[HEAD] = stack.enter_context(cpu_group(f"bench-{HEAD}"))
        stack.callback(hosts.remove)
        hosts.create()
        for name, group in groups.items():
            hosts.boot(name, command_prefix=group.command_prefix)
        stack.enter_context(hosts.in_network_of(CLIENT))
        cluster = local_cluster(hosts, workers=len(WORKERS), worker_options="--num-cpus=1")
        stack.callback(cluster.down)
        return {"videos": videos, "share": plan.share} | _measure(Experiment(cluster, groups, folder / "videos", weights, folder), plan)


def _measure(experiment: Experiment, plan: Plan) -> dict:
    start = time.monotonic()
    experiment.cluster.up()
    up = time.monotonic() - start
    echo(f"  ray up: {up:.0f} s")
    job = experiment.submit(len(WORKERS), few=True)
    job.wait_for_videos(1, timeout=300)
    first = time.monotonic() - start
    echo(f"  first video done after {first:.0f} s")
    job.wait()  # the first job is not measured: it warms caches
    one, two = [], []
    for _ in range(plan.rounds):
        for times, workers in ((two, 2), (one, 1)):
            times.append(experiment.submit(workers).wait())
            last = times[-1]
            cpu = f"CPU time of the head {last.head:.0f} s, of the workers {last.workers:.0f} s"
            echo(f"  {workers} of 2 machines: stage {last.stage:.0f} s, job {last.job:.0f} s; {cpu}")
    failure, back = _with_a_failure(experiment)
    echo(f"  2 machines with one switched off and on: stage {failure:.0f} s")
    double, single = (JobTimes(*map(statistics.median, zip(*times, strict=True))) for times in (two, one))
    return {
        "speed_up": single.stage / double.stage,
        "head_of_cpu": double.head / double.job,
        "speed_up_with_start": single.job / double.job,
        "up_s": up,
        "first_frame_s": first,
        "lost_s": failure - double.stage,
        "back_s": back,
        "failure_s": failure,
        "one_s": one,
        "two_s": two,
    }


def _with_a_failure(experiment: Experiment) -> tuple[float, float]:
    """Switch a machine off after half of the videos and on at once; return the seconds of the stage, and those until Ray ran on it again."""
    hosts, half = experiment.cluster.hosts, len(list(experiment.videos.iterdir())) // 2
    job = experiment.submit(len(WORKERS))
    job.wait_for_videos(half)
    off = time.monotonic()
    hosts.power_off("n3")
    hosts.boot("n3", command_prefix=experiment.groups["n3"].command_prefix)
    wait_until(lambda: _raylet_runs(hosts), timeout=300, what="Ray on the restarted machine", interval=0.5)
    back = time.monotonic() - off
    return job.wait().stage, back


def _raylet_runs(hosts: Hosts) -> bool:
    """Return whether a raylet runs on the machine that was switched off."""
    return "raylet" in hosts.run("n3", "ps", "-A", "-o", "comm=", check=False).stdout
