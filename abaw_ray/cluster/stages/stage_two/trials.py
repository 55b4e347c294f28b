"""Trials of a sweep through Ray Tune: each trains a population on a device, or a fraction of one, and writes its result to storage.

A finished trial is read instead of trained; one that was lost with its process or machine is submitted again.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.user_errors import fit_trials, unwrapped
from abaw_ray.cluster.stages.stage_two.encoder_frames import EncoderFrames
from abaw_ray.core.errors import StageError
from abaw_ray.core.progress import echo, progress
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.core.stage_store.records import Item, StageStore
from abaw_ray.fusion import search
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.frames import Frames

FEWER_TRIALS = "use a machine with more memory, or raise compute.fusion.memory-gb, so that fewer of them run there at the same time"
"""What to do where the memory of a machine does not suffice for trials and final models."""
_MAX_ROUNDS = 3
"""Submissions of the sweep if a trial is lost with its process. In each, Tune makes three attempts at a trial, or one if it is killed for memory.
Ours."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Input of a trial besides the frames; sent to every worker."""

    store: StageStore
    item: Item
    finished: str
    """Folder of finished trials; each is named by its mode and the digest of its candidates."""
    config: SweepConfig
    train_folds: dict[str, int]
    all_folds: dict[str, int]
    default: int
    threads: int
    """Of the smoothing; as many as a trial has CPUs."""
    encoders: EncoderFrames | None = None
    """Features of the encoders per fold, for the final models; None where all features are those of the encoder of the still images."""

    @property
    def folder(self) -> str:
        """Folder of the run's output."""
        return self.store.output(self.item, "")


def run_trial(sweep: Sweep, frames: Frames, mode: str, candidates: Sequence[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Train a population on the folds of Train_Set and store the results of its candidates at ``path``, or read those of an earlier run."""
    storage = sweep.store.storage
    if storage.exists(path):
        return json.loads(storage.read_bytes(path))
    results = search.run_population(frames, sweep.train_folds, sweep.config, candidates, mode=mode, default=sweep.default, threads=sweep.threads)
    storage.write_bytes(path, json.dumps(to_plain(results)).encode())
    return results


def run_trials(run: Run[Any], sweep: Sweep, frames: Any, modes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Results of all candidates by mode, in the order of the trials; each has the number of its trial, from 1, as ``trial``.

    Tune fails a trial at once if its process is lost just before the trial starts (while a reused process is being reset), and ends with an error if
    one is killed for memory: a sweep that lost a trial with a process or a machine is submitted again, and its finished trials are read.

    Raises:
        StageError: a trial was killed for memory in every submission.
    """
    from ray.exceptions import RayActorError

    with progress("sweep", sweep.config.trials * len(modes), "trials") as shown:
        finished = 0

        def step(done: int) -> None:
            nonlocal finished
            shown.step(max(0, done - finished))
            finished = max(finished, done)

        rounds = 1
        while True:
            try:
                results = _run_tuner(run, sweep, frames, modes, step)
            except StageError as error:
                if rounds == _MAX_ROUNDS:
                    raise
                echo(f"  {error}; it is tried again")
            else:
                lost = results.errors and all(isinstance(error, RayActorError) for error in results.errors)
                if not lost or rounds == _MAX_ROUNDS:
                    break
            rounds += 1
    for error in results.errors:
        raise unwrapped(error)
    paths = {(result.metrics["mode"], result.metrics["number"]): result.metrics["path"] for result in results}
    found = {key: json.loads(sweep.store.storage.read_bytes(path)) for key, path in paths.items()}
    return {mode: [{"trial": number + 1, **row} for number in range(sweep.config.trials) for row in found[mode, number]] for mode in modes}


def _run_tuner(run: Run[Any], sweep: Sweep, frames: Any, modes: Sequence[str], step: Callable[[int], None]) -> Any:
    """Run all trials through Ray Tune, calling ``step`` with the number of finished ones; returns Tune's results.

    Raises:
        StageError: a trial was killed for lack of memory, which ends them all.
    """
    import ray
    from ray import tune

    from abaw_ray.cluster.stages.stage_two.searcher import PopulationSearcher

    def trainable(params: dict[str, Any], references: Sequence[Any]) -> None:
        data: Any = ray.get(references[0])
        mode, candidates = params["mode"], params["candidates"]
        path = f"{sweep.finished}/{mode}-{digest([sweep.config.halving, candidates])}.json"
        scores = [asdict(one) for one in search.candidate_scores(run_trial(sweep, data, mode, candidates, path))]
        best = max(max(one["macro_f1"]) for one in scores)
        tune.report({"mode": mode, "number": params["number"], "path": path, "scores": scores, "macro_f1": best})

    done = 0

    def on_complete() -> None:
        nonlocal done
        done += 1
        step(done)

    pool = run.compute.fusion
    with tempfile.TemporaryDirectory(prefix="abaw-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, references=[frames]), {"cpu": pool.cpus, "gpu": pool.gpus, "memory": pool.memory}),
            tune_config=tune.TuneConfig(
                search_alg=PopulationSearcher(sweep.config, modes, on_complete),
                num_samples=sweep.config.trials * len(modes),
                max_concurrent_trials=run.session.workers(pool),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",  # the default has all settings in it
            ),
            run_config=tune.RunConfig(name="sweep", storage_path=folder, verbose=0, failure_config=tune.FailureConfig(max_failures=2)),
        )
        return fit_trials(tuner, "fusion", FEWER_TRIALS)
