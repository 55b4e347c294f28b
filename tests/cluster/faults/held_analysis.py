"""Both halves of an analysis in a chain on one machine with a pretended GPU. A test stops them at a chosen point by a file.

Run as a program, it is a driver that a test can kill: ``python held_analysis.py CPUS FOLDER MODEL VIDEOS``.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

from abaw_ray.cluster.engine.run import Policy, Run
from abaw_ray.cluster.engine.stage_work import ItemOperator
from abaw_ray.cluster.launch import analysis as launch
from abaw_ray.cluster.launch.config import AnalyzeConfig, VideosConfig
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.analysis import analyze
from abaw_ray.cluster.stages.analysis.work import FindWork, ScoreWork
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.predict.config import OutputConfig, cache_config


@contextmanager
def ray_with_a_gpu(cpus: int) -> Iterator[RaySession]:
    """A local Ray with these CPUs and one GPU that does not exist."""
    import ray

    compute = compute_of(cpus)
    with patch.object(ray, "init", partial(ray.init, num_gpus=1)), RaySession(compute, StorageConfig()) as session:
        session.start()
        yield session


def compute_of(cpus: int) -> ComputeConfig:
    return ComputeConfig(local_cpus=cpus, object_store_mb=80, decode=Resources(memory_gb=0.3), features=Resources(gpus=1, memory_gb=0.5))


class Held:
    """Calls a function, and logs the videos in ``NAME.log``. While the file ``NAME.hold`` exists, it makes as many calls as that says, then waits."""

    def __init__(self, call, folder: Path, name: str) -> None:
        self.call, self.log, self.hold, self.calls = call, folder / f"{name}.log", folder / f"{name}.hold", 0
        (folder / f"{name}.pid").write_text(str(os.getpid()))

    def __call__(self, video: dict, files: Path):
        with self.log.open("a") as log:
            log.write(f"{video['video']}\n")
        while self.hold.exists() and self.calls >= int(self.hold.read_text()):
            time.sleep(0.02)
        self.calls += 1
        return self.call(video, files)


def held_finder(work, folder: Path) -> FindWork:
    made = FindWork(work)
    made.find = Held(made.find, folder, "find")
    return made


def held_scorer(work, folder: Path) -> ScoreWork:
    made = ScoreWork(work)
    made.score = Held(made.score, folder, "score")
    return made


def run_chain(session: RaySession, folder: Path, model: Path, videos: Path) -> None:
    """Analyze the videos into ``folder``/out on this Ray; the files of ``Held`` are in ``folder``."""
    config = AnalyzeConfig(
        model=str(model),
        storage=cache_config(StorageConfig(uri=str(folder / "out"))),
        compute=session.compute,
        policy=Policy(max_failures=0.0),
        data=VideosConfig(videos=(str(videos),)),
        outputs=OutputConfig(report=False),
    )
    operators = tuple(
        ItemOperator(build=lambda run, half=half: partial(half, analyze.analysis_work(run), folder), resources=one.resources)
        for half, one in zip((held_finder, held_scorer), analyze.ANALYZE_ON_GPUS.work.operators, strict=True)
    )
    stage = replace(analyze.ANALYZE_ON_GPUS, work=replace(analyze.ANALYZE_ON_GPUS.work, operators=operators, in_driver=lambda todo: False))
    with patch.object(launch, "analyze_stage", lambda run: stage):
        launch.run_analysis(Run(config, session))


if __name__ == "__main__":
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules["__main__"])
    with ray_with_a_gpu(int(sys.argv[1])) as session:
        run_chain(session, *map(Path, sys.argv[2:]))
