"""Stage II on a cluster: the settings are chosen by ``trials``, then the models that are kept are trained, each kind a task of its own.

Which settings are tried, on which folds, and how one is chosen, is ``fusion.search`` and ``fusion.protocols``. A sweep that was killed goes on
where it was.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import RunWork, Stage
from abaw_ray.cluster.engine.user_errors import fetch
from abaw_ray.cluster.stages.annotations import annotated, frames_in_cluster
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.trials import Sweep, run_trials
from abaw_ray.core.progress import echo, progress
from abaw_ray.core.settings import to_plain
from abaw_ray.core.storage.local_disk import own_disk
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.data.folds import assign_folds
from abaw_ray.fusion import protocols, search
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.saved import logits_table, save_fusion
from abaw_ray.scoring.filling import most_frequent
from abaw_ray.scoring.selection import Choice

ALONE = ("visual", "speech")
"""Models of one modality, trained like the fused one, for comparison."""


def trials_folder(run: Run[Any], item: Item) -> str:
    """Where finished trials on these features lie, for any number of trials: a larger sweep begins with those of a smaller one."""
    config = run.config
    same = replace(run, config=replace(config, sweep=replace(config.sweep, trials=1)))
    return f"{SWEEP_FUSION.store(same).path}/trials/{item.key}"


def search_and_train(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Choose the settings on folds of Train_Set, then train the official model, the five of ``cv``, and one of each modality alone."""
    annotations, config = annotated(run), run.config.sweep
    frames, left_out = frames_in_cluster(run, EXTRACT_FEATURES.require(run), annotations)
    for name, reason in left_out.items():
        echo(f"  {name} is left out: {reason}")
    labels = {name: rows for name, rows in annotations.labels.items() if name not in left_out}
    train = {name: rows for name, rows in labels.items() if annotations.splits[name] == "train"}
    sweep = Sweep(
        store=store,
        item=item,
        finished=trials_folder(run, item),
        config=config,
        train_folds=assign_folds(train, folds=config.folds, seed=config.seed),
        all_folds=assign_folds(labels, folds=config.folds, seed=config.seed),
        default=most_frequent(np.concatenate(list(train.values()))),
    )
    trials = run_trials(run, sweep, frames)
    best = max(trials, key=lambda trial: trial["score"])
    echo(f"  best of {len(trials)} trials on folds of Train_Set: macro-F1 {best['score']:.3f} with {best['changes'] or 'the first settings'}")
    finals = _run_finals(run, sweep, frames, best["changes"])
    figures = {"rows": finals["cv"]["rows"], "trials": trials, "changes": best["changes"], "left_out": left_out, **finals}
    store.complete_folder(item, figures)
    return figures


def _run_finals(run: Run[Any], sweep: Sweep, frames: Any, changes: dict[str, Any]) -> dict[str, dict]:
    """The models that are kept, each kind a task of its own."""
    import ray

    task = ray.remote(**run.compute.trials.task_options, max_retries=3)
    jobs = {"official": (final_official, "fused"), "cv": (final_cv, "fused"), **{mode: (final_official, mode) for mode in ALONE}}
    refs = {task(call).remote(sweep, frames, changes, mode): name for name, (call, mode) in jobs.items()}
    found: dict[str, dict] = {}
    with progress("models", len(refs), "protocols") as shown:
        waiting = list(refs)
        while waiting:
            done, waiting = ray.wait(waiting)
            found |= {refs[ref]: fetch(ref) for ref in done}
            shown.step(len(done))
    return found


def final_official(sweep: Sweep, frames: Frames, changes: dict[str, Any], mode: str) -> dict[str, Any]:
    """The ONE model on all of Train_Set; its smoothing comes from the folds of Train_Set."""
    config = search.candidate(sweep.config, changes, mode)
    result = protocols.run_official_trial(frames, sweep.train_folds, config)
    choice = search.decide(frames, result, sweep.config, default=sweep.default)
    trained = protocols.train_official(frames, config)
    name = "official" if mode == "fused" else mode
    _store(sweep, f"{name}/model", trained)
    return _keep_choice(sweep, name, choice, int((result.fold >= 0).sum()))


def final_cv(sweep: Sweep, frames: Frames, changes: dict[str, Any], mode: str) -> dict[str, Any]:
    """The models of five folds over train and validation, their out-of-fold scores, and the smoothing chosen on these."""
    result = protocols.run_cv(frames, sweep.all_folds, search.candidate(sweep.config, changes, mode))
    choice = search.decide(frames, result, sweep.config, default=sweep.default)
    for number, trained in enumerate(result.models):
        _store(sweep, f"cv/fold-{number}", trained)
    rows = (result.fold >= 0).nonzero()[0]
    table = logits_table(frames, rows, result.logits[rows], result.gate[rows], result.fold[rows])
    sweep.store.storage.write_table(f"{sweep.folder}/cv/out_of_fold.parquet", table)
    return _keep_choice(sweep, "cv", choice, len(rows))


def _store(sweep: Sweep, name: str, trained: Any) -> None:
    with own_disk(), tempfile.TemporaryDirectory(prefix="abaw-fusion-") as folder:
        save_fusion(Path(folder), trained)
        for file in Path(folder).iterdir():
            sweep.store.storage.put_file(file, f"{sweep.folder}/{name}/{file.name}")


def _keep_choice(sweep: Sweep, name: str, choice: Choice, rows: int) -> dict[str, Any]:
    body = {
        "decision": to_plain(choice.decision),
        "same": {**to_plain(choice.same), "mean": choice.same.mean, "std": choice.same.std},
        "other": {**to_plain(choice.other), "mean": choice.other.mean, "std": choice.other.std},
        "table": to_plain(choice.table),
        "confusion": choice.confusions.sum(axis=0).tolist(),
        "rows": rows,
        "default": sweep.default,
    }
    sweep.store.storage.write_bytes(f"{sweep.folder}/{name}/choice.json", json.dumps(body, indent=1).encode())
    return body


def describe(run: Run[Any]) -> str:
    """For the plan."""
    return f"{run.config.sweep.trials} trials of {run.config.sweep.folds} folds, {len(annotated(run).labels):,} annotated subjects"


SWEEP_FUSION = Stage(
    name="fusion",
    revision=search.REVISION,
    settings=lambda config: config.sweep,
    inputs=(EXTRACT_FEATURES,),
    check=annotated,
    work=RunWork(run=search_and_train, resources=lambda compute: compute.trials, identity=lambda run: annotated(run).identity, describe=describe),
    job="jobs/sweep_fusion.py",
)
