"""Overhead of Ray Tune: a sweep of tiny trials through Tune, beside the same trials in a loop."""

import tempfile
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.stage_two.fusion import UNIMODAL
from abaw_ray.cluster.stages.stage_two.trials import Sweep, run_trials
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.fusion import search
from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.proposals import CandidateScores, propose
from abaw_ray.scoring.config import SmoothingGridConfig

SWEEP_S = 600
"""Duration of the sweep whose share of overhead is stated, in seconds."""
_MODES = ("fused", *UNIMODAL)
"""A default sweep searches all of them."""


def tiny_sweep(trials: int) -> SweepConfig:
    """Return a sweep whose trials take a fraction of a second."""
    grid = replace(SmoothingGridConfig(), windows=2)
    return SweepConfig(fusion=FusionConfig(hidden_dim=8, epochs=1), trials=trials, candidates=2, smoothing=grid)


def measure_tune(frames: Frames, folds: dict[str, int], trials: int) -> dict:
    """Return the seconds that Tune adds to a sweep of this many trials per mode, with its start, and their share of ten minutes."""
    config = tiny_sweep(trials)
    start = time.perf_counter()
    _in_a_loop(frames, folds, config)
    loop_s = time.perf_counter() - start
    compute = ComputeConfig(local_cpus=2, object_store_mb=200, fusion=Resources(workers=1))
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder, RaySession(compute) as session:
        session.start()
        import ray

        store = StageStore(storage=Storage(StorageConfig(uri=folder)), stage="fusion", settings={}, revision=1)
        sweep = Sweep(
            store=store,
            item=Item(name="fusion", identity="0"),
            finished="trials",
            config=config,
            train_folds=folds,
            all_folds=folds,
            default=0,
            threads=1,
        )
        run: Run[Any] = Run(SimpleNamespace(compute=compute), session)
        reference = ray.put(frames)
        start = time.perf_counter()
        run_trials(run, sweep, reference, _MODES)
        tune_s = time.perf_counter() - start
    return {"share": (tune_s - loop_s) / SWEEP_S, "added_s": tune_s - loop_s, "loop_s": loop_s, "tune_s": tune_s, "trials": trials * len(_MODES)}


def _in_a_loop(frames: Frames, folds: dict[str, int], config: SweepConfig) -> None:
    for mode in _MODES:
        scores: list[list[CandidateScores]] = []
        for number in range(config.trials):
            overrides = propose(config, number, scores[: max(0, number - config.ahead + 1)])
            scores.append(search.candidate_scores(search.run_population(frames, folds, config, overrides, mode=mode, default=0, device="cpu")))
