"""Copies of one clip through ``jobs/prepare_faces.py`` on machines made of namespaces: one worker, two, and two of which one dies."""

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
from tools.bench.video.cost import cpu_seconds, stage
from tools.bench.video.plan import Bench
from tools.bench.video.pool import copied
from tools.clusters.namespaces.clusters import SubmittedTo, local_cluster, wait_until
from tools.clusters.namespaces.hosts import LAP, Hosts, missing

WORKERS = {"n2": 0, "n3": 1}
"""Machine -> the CPU it is bound to; the head ``n1`` and the laptop have what those leave of all CPUs."""
HEAD = "n1"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything."""

    seconds: float = 150
    """That two machines work, about: a job's workers take some 12 s to start, which must not count for much."""
    rounds: int = 2
    """How often one and two machines take turns; the medians count."""
    share: float
    """Of its CPU that a worker has. If what both leave is more than the head needs, it takes nothing from them, as on a machine of its own."""
    preset: str = "demo"
    """Of the pipeline whose CPU time is divided."""


class Took(NamedTuple):
    """Seconds of a job."""

    stage: float
    """By its record: its workers' start, and the videos."""
    whole: float
    """From submitting it to the end of its log."""
    head: float
    """CPU time of the head."""
    workers: float
    """CPU time of the workers: for the same work more of it, where this machine is slower than before."""


@dataclass(frozen=True)
class Run:
    """One job of the course."""

    groups: Mapping[str, Group]
    process: subprocess.Popen
    log: Path
    folder: Path
    """Its results."""
    begun: float
    used: tuple[float, float]
    """CPU time of the head and of the workers until then."""

    def until(self, parts: int, *, timeout: float = 600) -> None:
        """Wait until so many of its videos are done.

        Raises:
            StageError: it ended, or took longer.
        """
        ends = time.monotonic() + timeout
        while len(list(self.folder.glob("faces/*/outputs/*.parquet"))) < parts:
            if self.process.poll() is not None or time.monotonic() > ends:
                raise StageError(f"{self.log.name}: not {parts} videos within {timeout:g} s: {self._said()}")
            time.sleep(0.1)

    def end(self) -> Took:
        """Wait for its end.

        Raises:
            StageError: it failed.
        """
        if self.process.wait() or "exit=0" not in self.log.read_text():
            raise StageError(f"{self.log.name}: the job failed: {self._said()}")
        (record,) = self.folder.glob("faces/*/records/*.json")
        whole = time.monotonic() - self.begun
        head, workers = (after - before for after, before in zip(cpu_used(self.groups), self.used, strict=True))
        return Took(json.loads(record.read_text())["seconds"], whole, head, workers)

    def _said(self) -> str:
        return self.log.read_text()[-2000:]


@dataclass
class Course:
    """The cluster, and jobs of the same videos one after the other."""

    cluster: SubmittedTo
    groups: Mapping[str, Group]
    """Machine -> what limits its CPU time, and counts it."""
    videos: Path
    weights: str
    results: Path
    runs: int = 0

    def start(self, workers: int, *, few: bool = False) -> Run:
        """Submit a job with its results in a new folder."""
        self.runs += 1
        folder, log = self.results / str(self.runs), self.results / f"{self.runs}.log"
        videos = self.videos.with_name("few") if few else self.videos
        options = ["--storage", str(folder), "--videos", str(videos), "--weights", self.weights, "--compute.decode.workers", str(workers)]
        job = self.cluster.job("python", "jobs/prepare_faces.py", "paper", *options, log=log)
        return Run(self.groups, job, log, folder, time.monotonic(), cpu_used(self.groups))


def cpu_used(groups: Mapping[str, Group]) -> tuple[float, float]:
    """CPU time of the head, and of the workers together, since they were first started."""
    return groups[HEAD].cpu_seconds(), sum(groups[name].cpu_seconds() for name in WORKERS)


def on_machines(bench: Bench, plan: Plan, folder: Path) -> dict:
    """What a second machine gives, and what one that dies costs.

    Returns:
        ``speed_up`` of the stage and ``speed_up_with_start`` of the whole job, by medians; ``up_s``; ``first_frame_s``; ``lost_s``; ``videos``;
        ``head_of_cpu``, what the head uses of a CPU while two machines work;
        ``one_s``, ``two_s``, each ``Took``; ``failure_s`` of the stage; ``back_s``, from switching a machine off until Ray runs on it again.

    Raises:
        ConfigError: this machine cannot make others.
        StageError: a job failed.
    """
    if lack := missing():
        raise ConfigError(f"no machines can be made here: {lack}")
    clip, weights = bench.face("720p", bench.plan.pool_clip), bench.config.detector.weights
    parts = FaceWriter(bench.config)
    stage(parts, clip)
    videos = max(round(plan.seconds * len(WORKERS) * plan.share / cpu_seconds(partial(stage, parts, clip))), 8)
    copied(clip, folder / "videos", videos)
    copied(clip, folder / "few", 4)
    hosts = Hosts(folder / "hosts", net="10.78.0", prefix="bench")
    hosts.env = {"RAY_AUTH_MODE": "token", "TMPDIR": "/tmp/ray"}
    with ExitStack() as stack:
        groups = {name: stack.enter_context(cpu_group(f"bench-{name}", cpu, plan.share)) for name, cpu in WORKERS.items()}
        groups[HEAD] = stack.enter_context(cpu_group(f"bench-{HEAD}"))
        stack.callback(hosts.down)
        hosts.up()
        for name, group in groups.items():
            hosts.boot(name, bound=group.bound)
        stack.enter_context(hosts.on(LAP))
        cluster = local_cluster(hosts, workers=len(WORKERS), worker_options="--num-cpus=1")
        stack.callback(cluster.down)
        return {"videos": videos, "share": plan.share} | _course(Course(cluster, groups, folder / "videos", weights, folder), plan)


def _course(course: Course, plan: Plan) -> dict:
    begun = time.monotonic()
    course.cluster.up()
    up = time.monotonic() - begun
    echo(f"  up in {up:.0f} s")
    run = course.start(len(WORKERS), few=True)
    run.until(1, timeout=300)
    first = time.monotonic() - begun
    echo(f"  the first video is there after {first:.0f} s")
    run.end()  # whatever is slow the first time has been so now
    one, two = [], []
    for _ in range(plan.rounds):
        for took, workers in ((two, 2), (one, 1)):
            took.append(course.start(workers).end())
            seconds, whole, *cpu = took[-1]
            used = "by the head {:.0f} s, by the workers {:.0f} s".format(*cpu)
            echo(f"  {workers} of 2 machines: {seconds:.0f} s, with the job's start {whole:.0f} s; CPU time {used}")
    failure, back = _with_a_failure(course)
    echo(f"  two machines of which one was off for a while: {failure:.0f} s")
    usual, alone = (Took(*map(statistics.median, zip(*took, strict=True))) for took in (two, one))
    return {
        "speed_up": alone.stage / usual.stage,
        "head_of_cpu": usual.head / usual.whole,
        "speed_up_with_start": alone.whole / usual.whole,
        "up_s": up,
        "first_frame_s": first,
        "lost_s": failure - usual.stage,
        "back_s": back,
        "failure_s": failure,
        "one_s": one,
        "two_s": two,
    }


def _with_a_failure(course: Course) -> tuple[float, float]:
    """Switch a machine off half-way, and on again at once; seconds of the stage, and until the machine was back."""
    hosts, half = course.cluster.hosts, len(list(course.videos.iterdir())) // 2
    run = course.start(len(WORKERS))
    run.until(half)
    off = time.monotonic()
    hosts.power_off("n3")
    hosts.boot("n3", bound=course.groups["n3"].bound)
    wait_until(lambda: _busy(hosts), timeout=300, what="the machine that came back", step=0.5)
    back = time.monotonic() - off
    return run.end().stage, back


def _busy(hosts: Hosts) -> bool:
    """Whether a raylet runs on the machine that was off."""
    return "raylet" in hosts.run("n3", "ps", "-A", "-o", "comm=", check=False).stdout
