"""Trials of a sweep through Ray Tune: each trains a population on a device, or a fraction of one, and writes its result to storage.

A finished trial is read instead of trained; one that was lost with its process or machine is submitted again.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.trials import FinishedTrials, run_rounds
from abaw_ray.cluster.stages.stage_two.encoder_frames import EncoderFrames
from abaw_ray.core.progress import progress
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.fusion import search
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.frames import Frames

FEWER_TRIALS = "use a machine with more memory, or raise compute.fusion.memory-gb, so that fewer of them run there at the same time"
"""What to do where the memory of a machine does not suffice for trials and final models."""


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


@disk_full_to_storage_error()
def run_trial(sweep: Sweep, frames: Frames, mode: str, candidates: Sequence[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Train a population on the folds of Train_Set and store the results of its candidates at ``path``, or read those of an earlier run.

    Raises:
        StorageError: the disk of temporary files is full.
    """
    storage = sweep.store.storage
    if storage.exists(path):
        return json.loads(storage.read_bytes(path))
    results = search.run_population(frames, sweep.train_folds, sweep.config, candidates, mode=mode, default=sweep.default, threads=sweep.threads)
    storage.write_bytes(path, json.dumps(to_plain(results)).encode())
    return results


def run_trials(run: Run[Any], sweep: Sweep, frames: Any, modes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Results of all candidates by mode, in the order of the trials; each has the number of its trial, from 1, as ``trial``.

    Raises:
        StageError: trials were lost, or killed for lack of memory, again and again.
    """
    pool, total = run.compute.fusion, sweep.config.trials * len(modes)
    with progress("sweep", total, "trials") as shown, tempfile.TemporaryDirectory(prefix="abaw-tune-") as folder:
        finished = FinishedTrials(shown)

        def make_tuner() -> Any:
            from ray import tune

            from abaw_ray.cluster.stages.stage_two.searcher import PopulationSearcher

            return tune.Tuner(
                tune.with_resources(_trainable(sweep, frames), {"cpu": pool.cpus, "gpu": pool.gpus, "memory": pool.memory}),
                tune_config=tune.TuneConfig(
                    search_alg=PopulationSearcher(sweep.config, modes, finished.add),
                    num_samples=total,
                    max_concurrent_trials=run.session.workers(pool),
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",  # the default has all settings in it
                ),
                run_config=tune.RunConfig(name="sweep", storage_path=folder, verbose=0, failure_config=tune.FailureConfig(max_failures=2)),
            )

        results = run_rounds(make_tuner, finished, "fusion", FEWER_TRIALS)
    paths = {(result.metrics["mode"], result.metrics["number"]): result.metrics["path"] for result in results}
    found = {key: json.loads(sweep.store.storage.read_bytes(path)) for key, path in paths.items()}
    return {mode: [{"trial": number + 1, **row} for number in range(sweep.config.trials) for row in found[mode, number]] for mode in modes}


def _trainable(sweep: Sweep, frames: Any) -> Any:
    """Tune's function of a trial; ``frames`` is a reference to the joined frames."""
    import ray
    from ray import tune

    def trainable(params: dict[str, Any], references: Sequence[Any]) -> None:
        data: Any = ray.get(references[0])
        mode, candidates = params["mode"], params["candidates"]
        path = f"{sweep.finished}/{mode}-{digest([sweep.config.halving, candidates])}.json"
        scores = [asdict(one) for one in search.candidate_scores(run_trial(sweep, data, mode, candidates, path))]
        best = max(max(one["macro_f1"]) for one in scores)
        tune.report({"mode": mode, "number": params["number"], "path": path, "scores": scores, "macro_f1": best})

    return tune.with_parameters(trainable, references=[frames])
