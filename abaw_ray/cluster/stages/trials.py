"""The candidates of a sweep through Ray Tune: a trial trains its folds on a share of a GPU, and what it finds is kept in storage.

A trial that was finished before is read, not trained; one that was lost with its process or machine is asked for again.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.user_errors import unwrapped
from abaw_ray.core.progress import progress
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.fusion import protocols, search
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.search import SweepConfig

_ROUNDS = 3
"""How often trials that were lost with their processes are asked for, by us; within each, Tune tries them thrice."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All that a trial needs to know, besides the frames; travels to every worker."""

    store: StageStore
    item: Item
    finished: str
    """Folder of the trials that are done, by what they change."""
    config: SweepConfig
    train_folds: dict[str, int]
    all_folds: dict[str, int]
    default: int

    @property
    def folder(self) -> str:
        """The run's part."""
        return self.store.output(self.item, "")


def trial(setting: dict[str, Any], *, sweep: Sweep, frames: Frames) -> dict[str, Any]:
    """One candidate on the folds of Train_Set: read if it was finished before, else trained and kept.

    Returns:
        Its changes, smoothed macro-F1 on its folds (chosen on the same and on the other folds) and single-frame macro-F1 of each fold.
    """
    storage, path = sweep.store.storage, f"{sweep.finished}/{digest(setting)}.json"
    if storage.exists(path):
        return json.loads(storage.read_bytes(path))
    result = protocols.run_official_trial(frames, sweep.train_folds, search.candidate(sweep.config, setting))
    choice = search.decide(frames, result, sweep.config, default=sweep.default)
    found = {"changes": setting, "score": choice.same.pooled, "honest": choice.other.pooled, "folds": list(result.macro_f1)}
    storage.write_bytes(path, json.dumps(to_plain(found)).encode())
    return found


def run_trials(run: Run[Any], sweep: Sweep, frames: Any) -> list[dict[str, Any]]:
    """All candidates, in their own order whatever the order of their ends.

    Tune gives a trial up at once if its process is lost just before it begins (while another trial's process is made ready for it): what was
    lost with a process or a machine is asked for again.
    """
    from ray.exceptions import RayActorError

    settings = search.candidates(sweep.config)
    found: dict[str, dict[str, Any]] = {}
    with progress("sweep", len(settings), "trials") as shown:
        for left in reversed(range(_ROUNDS)):
            results = _tuned(run, sweep, frames, [setting for setting in settings if digest(setting) not in found], shown.step)
            done = (result.metrics["found"] for result in results if result.error is None)
            found |= {digest(trial["changes"]): trial for trial in done}
            for error in results.errors:
                if not left or not isinstance(error, RayActorError):
                    raise unwrapped(error)
            if not results.errors:
                break
    return [found[digest(setting)] for setting in settings]


def _tuned(run: Run[Any], sweep: Sweep, frames: Any, settings: list[dict[str, Any]], step: Callable[[], None]) -> Any:
    """These candidates through Ray Tune; ``step`` is called after each. Returns Tune's results."""
    import ray
    from ray import tune

    def trainable(params: dict[str, Any]) -> None:
        data = ray.get(params["frames"][0])
        tune.report({"found": trial(params["setting"], sweep=sweep, frames=data)})

    trials = run.compute.trials
    resources = {"cpu": trials.cpus, "gpu": trials.gpus, "memory": trials.memory}
    with tempfile.TemporaryDirectory(prefix="abaw-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, resources),
            param_space={"setting": tune.grid_search(settings), "frames": [frames]},
            tune_config=tune.TuneConfig(max_concurrent_trials=trials.workers, reuse_actors=True),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                verbose=0,
                callbacks=[_Told(step)],
                failure_config=tune.FailureConfig(max_failures=2),
            ),
        )
        return tuner.fit()


def _Told(step: Callable[[], None]) -> Any:  # noqa: N802  (builds a class: Tune is imported only when it runs)
    from ray.tune import Callback

    class Told(Callback):
        """Counts finished trials."""

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            """One more."""
            step()

    return Told()
