"""Stage ``fusion`` (paper, Stage II): ``trials`` selects the settings, then the final models are trained, each kind in a separate task.

``fusion.search`` and ``fusion.protocols`` define which settings are tried, on which folds, and how one is selected. A killed sweep continues from
its finished trials.
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
from abaw_ray.cluster.stages.annotations import annotated, cv_folds, frames_in_cluster
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.fold_features import EXTRACT_FOLD_FEATURES
from abaw_ray.cluster.stages.stage_one.fold_encoders import TRAIN_FOLD_ENCODERS
from abaw_ray.cluster.stages.stage_two.encoder_frames import encoder_frames
from abaw_ray.cluster.stages.stage_two.trials import Sweep, run_trials
from abaw_ray.core.progress import echo, progress
from abaw_ray.core.settings import to_plain
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.data.folds import assign_folds
from abaw_ray.encoder.folds.config import FoldEncodersConfig
from abaw_ray.fusion import protocols, search
from abaw_ray.fusion.checkpoint import logits_table, save_fusion
from abaw_ray.fusion.fold_encoders import run_cv_by_encoder
from abaw_ray.fusion.frames import Frames
from abaw_ray.scoring.fill import most_frequent_class
from abaw_ray.scoring.selection import SelectionResult

UNIMODAL = ("visual", "speech")
"""Single-modality models, trained like the fused one, for comparison."""


def trials_folder(run: Run[Any]) -> str:
    """Folder of finished trials on these features, the same for any number of trials, with and without encoders per fold: a larger sweep reuses those
    of a smaller one.
    """
    config = run.config
    run_of_one_trial = replace(run, config=replace(config, sweep=replace(config.sweep, trials=1), fold_encoders=FoldEncodersConfig()))
    (item,) = SWEEP_FUSION.items(run_of_one_trial)
    return f"{SWEEP_FUSION.store(run_of_one_trial).path}/trials/{item.key}"


def search_and_train(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Select the settings on folds of Train_Set, then train the official model, the five models of ``cv``, and one model per modality."""
    annotations, config = annotated(run), run.config.sweep
    frames, left_out = frames_in_cluster(run, EXTRACT_FEATURES.require(run), annotations)
    encoders = encoder_frames(run)
    labels = {name: rows for name, rows in annotations.labels.items() if name not in left_out}
    train = {name: rows for name, rows in labels.items() if annotations.splits[name] == "train"}
    if encoders:  # the trials, on the features of the still images' encoder, keep these subjects
        left_out = encoders.missing_subjects | left_out
    for name, reason in left_out.items():
        echo(f"  {name} is left out: {reason}")
    sweep = Sweep(
        store=store,
        item=item,
        finished=trials_folder(run),
        config=config,
        train_folds=assign_folds(train, folds=config.folds, seed=config.seed),
        all_folds={name: fold for name, fold in cv_folds(run).items() if name not in left_out}
        if encoders
        else assign_folds(labels, folds=config.folds, seed=config.seed),
        default=most_frequent_class(np.concatenate(list(train.values()))),
        encoders=encoders,
    )
    trials = run_trials(run, sweep, frames)
    best = max(trials, key=lambda trial: trial["score"])
    echo(f"  best of {len(trials)} trials on folds of Train_Set: macro-F1 {best['score']:.3f} with {best['changes'] or 'the default settings'}")
    finals = _run_finals(run, sweep, frames, best["changes"])
    figures = {"rows": finals["cv"]["rows"], "trials": trials, "changes": best["changes"], "left_out": left_out, **finals}
    store.complete_folder(item, figures)
    return figures


def _run_finals(run: Run[Any], sweep: Sweep, frames: Any, changes: dict[str, Any]) -> dict[str, dict]:
    """Train the final models, each kind in a separate task; returns the figures of each kind."""
    import ray

    task = ray.remote(**run.compute.fusion.task_options, max_retries=3)
    jobs = {"official": (final_official, "fused"), "cv": (final_cv, "fused"), **{mode: (final_official, mode) for mode in UNIMODAL}}
    at_once = 1 if sweep.encoders else len(jobs)  # with encoders per fold, each task reads a set of frames of its own
    figures: dict[str, dict] = {}
    with progress("models", len(jobs), "protocols") as shown:
        for start in range(0, len(jobs), at_once):
            refs = {task(jobs[name][0]).remote(sweep, frames, changes, jobs[name][1]): name for name in list(jobs)[start : start + at_once]}
            waiting = list(refs)
            while waiting:
                done, waiting = ray.wait(waiting)
                figures |= {refs[ref]: fetch(ref) for ref in done}
                shown.step(len(done))
    return figures


def final_official(sweep: Sweep, frames: Frames, changes: dict[str, Any], mode: str) -> dict[str, Any]:
    """Train one model on all of Train_Set and select its smoothing on folds of Train_Set; returns the selection's figures.

    The folds of Train_Set have features of the encoder of the still images, the model those of the encoder ``official`` where there is one.
    """
    config = search.candidate_config(sweep.config, changes, mode)
    result = protocols.run_official_trial(frames, sweep.train_folds, config)
    selection = search.select_for_trial(frames, result, sweep.config, default=sweep.default)
    trained = protocols.train_official(sweep.encoders.official() if sweep.encoders else frames, config)
    name = "official" if mode == "fused" else mode
    _upload(sweep, f"{name}/model", trained)
    return _write_selection(sweep, name, selection, int((result.fold >= 0).sum()))


def final_cv(sweep: Sweep, frames: Frames, changes: dict[str, Any], mode: str) -> dict[str, Any]:
    """Train the five fold models on train and validation, and select the smoothing on their out-of-fold logits; returns the selection's figures."""
    config = search.candidate_config(sweep.config, changes, mode)
    if sweep.encoders:
        frames, result = run_cv_by_encoder(sweep.encoders.cv, sweep.all_folds, config)
    else:
        result = protocols.run_cv(frames, sweep.all_folds, config)
    selection = search.select_for_trial(frames, result, sweep.config, default=sweep.default)
    for number, trained in enumerate(result.models):
        _upload(sweep, f"cv/fold-{number}", trained)
    rows = (result.fold >= 0).nonzero()[0]
    table = logits_table(frames, rows, result.logits[rows], result.gate[rows], result.fold[rows])
    sweep.store.storage.write_table(f"{sweep.folder}/cv/out_of_fold.parquet", table)
    return _write_selection(sweep, "cv", selection, len(rows))


def _upload(sweep: Sweep, name: str, trained: Any) -> None:
    with disk_full_to_storage_error(), tempfile.TemporaryDirectory(prefix="abaw-fusion-") as folder:
        save_fusion(Path(folder), trained)
        sweep.store.storage.upload_folder(Path(folder), f"{sweep.folder}/{name}")


def _write_selection(sweep: Sweep, name: str, selection: SelectionResult, rows: int) -> dict[str, Any]:
    figures = {
        "postprocessing": to_plain(selection.postprocessing),
        "in_sample": {**to_plain(selection.in_sample), "mean": selection.in_sample.mean, "std": selection.in_sample.std},
        "cross_fitted": {**to_plain(selection.cross_fitted), "mean": selection.cross_fitted.mean, "std": selection.cross_fitted.std},
        "table": to_plain(selection.table),
        "confusion": selection.confusion_matrices.sum(axis=0).tolist(),
        "rows": rows,
        "default": sweep.default,
    }
    sweep.store.storage.write_bytes(f"{sweep.folder}/{name}/selection.json", json.dumps(figures, indent=1).encode())
    return figures


def describe(run: Run[Any]) -> str:
    """Text of the work in the plan."""
    return f"{run.config.sweep.trials} trials of {run.config.sweep.folds} folds, {len(annotated(run).labels):,} annotated subjects"


SWEEP_FUSION = Stage(
    name="fusion",
    revision=search.REVISION,
    settings=lambda config: config.sweep,
    inputs=(EXTRACT_FEATURES, TRAIN_FOLD_ENCODERS, EXTRACT_FOLD_FEATURES),
    check=annotated,
    work=RunWork(run=search_and_train, resources=lambda compute: compute.fusion, identity=lambda run: annotated(run).identity, describe=describe),
    job="abaw-ray sweep",
)
