"""Stage ``encoder_search``: trials of Stage I's hyperparameters through Ray Tune on a subset of the images, poor ones stopped early.

``encoder.search`` defines the candidates and a trial. A trial that has ended is stored and read by a later run; the others run again.
"""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import PendingError, Stage
from abaw_ray.cluster.engine.stage_work import RunWork
from abaw_ray.cluster.engine.trials import FinishedTrials, run_rounds
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.stage_one.images import INGEST_IMAGES, image_counts
from abaw_ray.cluster.stages.workloads.encoder import search_workload
from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.progress import echo, progress
from abaw_ray.core.settings import AutoOnOff, digest
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import REVISION, EncoderConfig
from abaw_ray.encoder.search.candidates import sample_candidates
from abaw_ray.encoder.search.config import EncoderSearchConfig


@dataclass(frozen=True, kw_only=True)
class Search:
    """Input of every trial; sent to every worker."""

    storage: Storage
    finished: str
    """Folder of the trials that have ended; each is named by the digest of its overrides."""
    shards: tuple[str, ...]
    config: EncoderConfig
    search: EncoderSearchConfig
    gpu: bool
    cpus: float
    micro_batch_size: int
    recompute_activations: bool
    compile: AutoOnOff

    def stored(self, overrides: dict[str, Any]) -> list[dict[str, Any]]:
        """As ``stored_curve``."""
        return stored_curve(self.storage, self.finished, overrides)


def trial_path(folder: str, overrides: dict[str, Any]) -> str:
    """Path of a finished trial below the storage root."""
    return f"{folder}/{digest(overrides)}.json"


def stored_curve(storage: Storage, folder: str, overrides: dict[str, Any]) -> list[dict[str, Any]]:
    """Metrics of the epochs of a finished trial; empty where it has not ended."""
    path = trial_path(folder, overrides)
    return json.loads(storage.read_bytes(path)) if storage.exists(path) else []


def train_trial(overrides: dict[str, Any], search: Search) -> Iterable[dict[str, Any]]:
    """Metrics of a trial after each epoch: read, where it ended in an earlier run, so that the others are compared with it; else trained."""
    if curve := search.stored(overrides):
        yield from curve
        return
    import torch

    from abaw_ray.encoder.images import open_image_set
    from abaw_ray.encoder.search.trial import EncoderTrial, candidate_config, subset

    torch.set_num_threads(max(1, int(search.cpus)))
    images = open_image_set(search.storage, search.shards)
    yield from EncoderTrial(
        candidate_config(search.config, search.search, overrides),
        images,
        subset(search.config, search.search, images),
        device="cuda" if search.gpu else "cpu",
        micro_batch_size=search.micro_batch_size,
        recompute_activations=search.recompute_activations,
        compile=search.compile,
        num_workers=int(search.cpus) - 1,
        storage=search.storage.config,
    ).epochs()


def trials_folder(run: Run[Any], item: Item) -> str:
    """Folder of finished trials, the same for any number of trials: a larger search reuses those of a smaller one."""
    config = run.config
    run_of_one_trial = replace(run, config=replace(config, search=replace(config.search, trials=1)))
    return f"{SEARCH_ENCODER.store(run_of_one_trial).path}/trials/{item.key}"


def search_encoder(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Run all trials; returns them with the best one, and writes ``trials.json``.

    Raises:
        StageError: no trial reached its last epoch.
    """
    config, compute, images = run.config, run.compute, INGEST_IMAGES.require(run)
    search = Search(
        storage=run.storage,
        finished=trials_folder(run, item),
        shards=tuple(sorted(images.outputs.values())),
        config=config.encoder,
        search=config.search,
        gpu=compute.training.gpus > 0,
        cpus=compute.training.cpus,
        micro_batch_size=compute.micro_batch_size,
        recompute_activations=compute.recompute_activations,
        compile=compute.compile,
    )
    candidates = sample_candidates(config.search)
    echo(f"encoder_search: {len(candidates)} trials of up to {config.search.epochs} epochs; {run.storage.uri(store.path)}")
    _run_tuner(run, search, candidates)
    trials = [{"changes": overrides, "curve": search.stored(overrides)} for overrides in candidates]
    complete = [trial for trial in trials if len(trial["curve"]) == config.search.epochs and "reason" not in trial["curve"][-1]]
    if not complete:
        lr = f"encoder.optim.lr={config.encoder.optim.lr:g} and search.space.lr={config.search.space.lr}"
        raise StageError(f"encoder_search: the loss of every trial became infinite; lower {lr}")
    best = max(complete, key=lambda trial: trial["curve"][-1]["mean_macro_f1"])
    options = " ".join(f"--encoder.{path.replace('_', '-')} {value:g}" for path, value in best["changes"].items())
    echo(f"  best: mean macro-F1 of the data sets {best['curve'][-1]['mean_macro_f1']:.3f} with {options or 'the settings as they are'}")
    store.storage.write_bytes(f"{store.output(item, '')}/trials.json", json.dumps(trials, indent=1).encode())
    figures = {"rows": images.figures["rows"], "trials": trials, "changes": best["changes"], "options": options}
    store.complete_folder(item, figures)
    return figures


def _run_tuner(run: Run[Any], search: Search, candidates: list[dict[str, Any]]) -> None:
    """Run these candidates through Ray Tune; each is stored when it ends, by itself or by the scheduler.

    Raises:
        StageError: trials were lost, or killed for lack of memory, again and again.
        AbawError: as the first trial that failed otherwise.
    """
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    def trainable(params: dict[str, Any]) -> None:
        curve = []
        for metrics in train_trial(params["overrides"], search):
            curve.append(metrics)
            score = metrics.get("mean_macro_f1", 0.0)  # only ranks trials: one whose loss is infinite comes last
            tune.report({"epoch": metrics["epoch"], "score": score, "curve": curve, "overrides": params["overrides"]})

    pool, config = run.compute.training, search.search
    with tempfile.TemporaryDirectory(prefix="abaw-tune-") as folder, progress("trials", len(candidates), "trials") as shown:
        finished = FinishedTrials(shown)

        def make_tuner() -> Any:
            return tune.Tuner(
                tune.with_resources(trainable, {"cpu": pool.cpus, "gpu": pool.gpus, "memory": pool.memory}),
                param_space={"overrides": tune.grid_search(candidates)},
                tune_config=tune.TuneConfig(
                    metric="score",
                    mode="max",
                    scheduler=ASHAScheduler(
                        time_attr="epoch", max_t=config.epochs, grace_period=config.grace_epochs, reduction_factor=config.reduction
                    ),
                    max_concurrent_trials=run.session.workers(pool),
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="search",
                    storage_path=folder,
                    verbose=0,
                    callbacks=[_storing_callback(search, finished.add)],
                    failure_config=tune.FailureConfig(max_failures=2),
                ),
            )

        run_rounds(make_tuner, finished, "encoder_search")


def _storing_callback(search: Search, step: Any) -> Any:
    from ray.tune import Callback

    class StoreTrials(Callback):
        """Stores trials that have ended, and counts them."""

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            """Store one trial, unless an earlier run has stored it."""
            overrides, curve = trial.last_result["overrides"], trial.last_result["curve"]
            if not search.storage.exists(path := trial_path(search.finished, overrides)):
                search.storage.write_bytes(path, json.dumps(curve).encode())
            step()

    return StoreTrials()


def check(run: Run[Any]) -> None:
    """Check that the pretrained weights exist, and that an encoder is to be trained at all.

    Raises:
        ConfigError: ``encoder.path`` names one that is used as it is.
    """
    from abaw_ray.encoder.model import check_weights

    if run.config.encoder.path:
        raise ConfigError("encoder.path: a saved encoder is not trained, so there is nothing to search; leave it out")
    check_weights(run.config.encoder.model, run.config.storage)


def describe(run: Run[Any]) -> str:
    """Text of the work in the plan."""
    search = run.config.search
    return f"{search.trials} trials of up to {search.epochs} epochs over {search.images:,} images"


def workload(run: Run[Any]) -> Workload:
    """The trials that have not ended."""
    try:
        (item,) = SEARCH_ENCODER.items(run)
        curves = [stored_curve(run.storage, trials_folder(run, item), overrides) for overrides in sample_candidates(run.config.search)]
    except PendingError:
        curves = []
    return search_workload(run, *image_counts(run), [len(curve) for curve in curves if curve])


SEARCH_ENCODER = Stage(
    name="encoder_search",
    revision=REVISION,
    settings=lambda config: {"encoder": config.encoder, "search": config.search},
    inputs=(INGEST_IMAGES,),
    check=check,
    workloads=lambda run, todo: (workload(run),),
    work=RunWork(run=search_encoder, resources=lambda compute: compute.training, describe=describe),
    job="abaw-ray search",
)
