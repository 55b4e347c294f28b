"""Trials of a sweep through Ray Tune: each trains its folds on a fraction of a GPU and writes its result to storage.

A finished trial is read instead of trained; one that was lost with its process or machine is submitted again.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.user_errors import unwrapped
from abaw_ray.cluster.stages.stage_two.encoder_frames import EncoderFrames
from abaw_ray.core.progress import progress
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.fusion import protocols, search
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.frames import Frames

_MAX_ROUNDS = 3
"""Submissions of a trial that is lost with its process; in each of them, Tune makes three attempts. Ours."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Input of a trial besides the frames; sent to every worker."""

    store: StageStore
    item: Item
    finished: str
    """Folder of finished trials; each is named by the digest of its changed settings."""
    config: SweepConfig
    train_folds: dict[str, int]
    all_folds: dict[str, int]
    default: int
    encoders: EncoderFrames | None = None
    """Features of the encoders per fold, for the final models; None where all features are those of the encoder of the still images."""

    @property
    def folder(self) -> str:
        """Folder of the run's output."""
        return self.store.output(self.item, "")


def trial(setting: dict[str, Any], *, sweep: Sweep, frames: Frames) -> dict[str, Any]:
    """Train one candidate on the folds of Train_Set and store its result, or read the result of an earlier run.

    Returns:
        Its changes, smoothed macro-F1 on its folds (in-sample and cross-fitted) and single-frame macro-F1 of each fold.
    """
    storage, path = sweep.store.storage, f"{sweep.finished}/{digest(setting)}.json"
    if storage.exists(path):
        return json.loads(storage.read_bytes(path))
    result = protocols.run_official_trial(frames, sweep.train_folds, search.candidate_config(sweep.config, setting))
    selection = search.select_for_trial(frames, result, sweep.config, default=sweep.default)
    figures = {"changes": setting, "score": selection.in_sample.pooled, "cross_fitted": selection.cross_fitted.pooled, "folds": list(result.macro_f1)}
    storage.write_bytes(path, json.dumps(to_plain(figures)).encode())
    return figures


def run_trials(run: Run[Any], sweep: Sweep, frames: Any) -> list[dict[str, Any]]:
    """Results of all candidates, in the candidates' order.

    Tune fails a trial at once if its process is lost just before the trial starts (while a reused process is being reset): trials that were lost
    with a process or a machine are submitted again.
    """
    from ray.exceptions import RayActorError

    settings = search.sample_candidates(sweep.config)
    finished: dict[str, dict[str, Any]] = {}
    with progress("sweep", len(settings), "trials") as shown:
        for attempts_left in reversed(range(_MAX_ROUNDS)):
            results = _run_tuner(run, sweep, frames, [setting for setting in settings if digest(setting) not in finished], shown.step)
            done = (result.metrics["trial"] for result in results if result.error is None)
            finished |= {digest(trial["changes"]): trial for trial in done}
            for error in results.errors:
                if not attempts_left or not isinstance(error, RayActorError):
                    raise unwrapped(error)
            if not results.errors:
                break
    return [finished[digest(setting)] for setting in settings]


def _run_tuner(run: Run[Any], sweep: Sweep, frames: Any, settings: list[dict[str, Any]], step: Callable[[], None]) -> Any:
    """Run these candidates through Ray Tune, calling ``step`` after each; returns Tune's results."""
    import ray
    from ray import tune

    def trainable(params: dict[str, Any]) -> None:
        data: Any = ray.get(params["frames"][0])
        tune.report({"trial": trial(params["setting"], sweep=sweep, frames=data)})

    pool = run.compute.fusion
    resources = {"cpu": pool.cpus, "gpu": pool.gpus, "memory": pool.memory}
    with tempfile.TemporaryDirectory(prefix="abaw-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, resources),
            param_space={"setting": tune.grid_search(settings), "frames": [frames]},
            tune_config=tune.TuneConfig(max_concurrent_trials=pool.workers, reuse_actors=True),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                verbose=0,
                callbacks=[_progress_callback(step)],
                failure_config=tune.FailureConfig(max_failures=2),
            ),
        )
        return tuner.fit()


def _progress_callback(step: Callable[[], None]) -> Any:
    from ray.tune import Callback

    class TrialProgress(Callback):
        """Counts finished trials."""

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            """Count one trial."""
            step()

    return TrialProgress()
