"""Stage ``fusion`` (paper, Stage II): ``trials`` selects the settings, then the final models are trained, each kind in a separate task.

``fusion.search`` and ``fusion.evaluation.protocols`` define which settings are tried, on which folds, and how one is selected. A killed sweep
continues from its finished trials.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import PendingError, Stage
from abaw_ray.cluster.engine.stage_work import RunWork
from abaw_ray.cluster.engine.user_errors import fetch
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.annotations import annotated, cv_folds, frames_in_cluster
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.fold_features import EXTRACT_FOLD_FEATURES
from abaw_ray.cluster.stages.stage_one.fold_encoders import TRAIN_FOLD_ENCODERS
from abaw_ray.cluster.stages.stage_two.encoder_frames import encoder_frames
from abaw_ray.cluster.stages.stage_two.folds import repeated_folds, score_repeat, write_folds
from abaw_ray.cluster.stages.stage_two.tables import RECORDINGS_FILE, write_tables
from abaw_ray.cluster.stages.stage_two.trials import FEWER_TRIALS, Sweep, run_trials
from abaw_ray.cluster.stages.workloads.sweep import sweep_workload
from abaw_ray.core.progress import echo, progress
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.folders import upload_folder
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.data.folds import assign_folds
from abaw_ray.encoder.folds.config import FoldEncodersConfig
from abaw_ray.fusion import search
from abaw_ray.fusion.checkpoint import logits_table, save_fusion
from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.fusion.evaluation import protocols
from abaw_ray.fusion.evaluation.cross_validation import CrossValidation
from abaw_ray.fusion.evaluation.final_seeds import CrossValidationOfSeeds
from abaw_ray.fusion.evaluation.fold_encoders import CrossValidationByEncoder
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.selected import select, selection_figures
from abaw_ray.scoring.evaluation import evaluations_table
from abaw_ray.scoring.fill import most_frequent_class

UNIMODAL = ("visual", "speech")
"""Single-modality models, trained like the fused one, for comparison."""


def trials_folder(run: Run[Any]) -> str:
    """Folder of finished trials on these features, the same for any number of trials and final seeds, any ``min_gain_se``, with and without encoders
    per fold: a larger sweep reuses those of a smaller one, and another choice among their candidates trains none again.
    """
    config = run.config
    sweep = replace(config.sweep, trials=1, fold_repeats=1, final_seeds=1, min_gain_se=SweepConfig().min_gain_se)
    run_of_one_trial = replace(run, config=replace(config, sweep=sweep, fold_encoders=FoldEncodersConfig()))
    (item,) = SWEEP_FUSION.items(run_of_one_trial)
    return f"{SWEEP_FUSION.store(run_of_one_trial).path}/trials/{item.key}"


def search_and_train(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Select the settings on folds of Train_Set, then train the official model, the five of ``cv``, and that of each modality."""
    annotations, config = annotated(run), run.config.sweep
    frames, left_out = frames_in_cluster(run, EXTRACT_FEATURES.require(run), annotations, ("train", "val"), stage=SWEEP_FUSION.name)
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
        threads=max(1, int(run.compute.fusion.cpus)),
        encoders=encoders,
    )
    repeats = repeated_folds(sweep, labels)
    counts = write_folds(store.storage, sweep.folder, labels, {"official": sweep.train_folds, "cv": sweep.all_folds, **repeats})
    candidates = run_trials(run, sweep, frames, ("fused", *UNIMODAL) if config.unimodal else ("fused",))
    best = {mode: search.best_candidate(rows, config.min_gain_se) for mode, rows in candidates.items()}
    chosen = {mode: rows[best[mode].index] for mode, rows in candidates.items()}
    searches = {mode: search.search_figures(rows, best[mode]) for mode, rows in candidates.items()}
    for mode, rows in candidates.items():
        _show_best(mode, rows, searches[mode])
    finals = _run_finals(run, sweep, frames, chosen, repeats)
    write_tables(store.storage, sweep.folder, candidates)
    figures = {
        "rows": finals["cv"]["rows"],
        "left_out": left_out,
        "folds": counts,
        "repeats": [finals.pop(name) for name in repeats],
        "searches": searches,
        "changes": chosen["fused"]["changes"],
        "importance": {mode: dict(search.importance_of(config, rows)) for mode, rows in candidates.items()},
        **finals,
    }
    store.complete_folder(item, figures)
    return figures


def _show_best(mode: str, candidates: Sequence[Mapping[str, Any]], figures: dict[str, Any]) -> None:
    chosen, highest = (candidates[figures[name]] for name in ("chosen", "highest"))
    changes = [f"{path} {value:.3g}" if isinstance(value, float) else f"{path} {value}" for path, value in chosen["changes"].items()]
    cross_fitted, optimism = figures["cross_fitted"]["pooled"], figures["optimism"]["macro_f1"]
    scores = f"macro-F1 in-sample {chosen['score']:.3f}, cross-fitted {cross_fitted:.3f} (optimism {optimism:+.3f})"
    reason = f"; the highest in-sample score, {highest['score']:.3f}, exceeds theirs too little (sweep.min_gain_se)" if highest is not chosen else ""
    echo(
        f"  {mode}: chosen from {figures['candidates']} candidates on folds of Train_Set: {scores}, after {chosen['epochs']} epochs, "
        f"with {', '.join(changes) or 'the unchanged settings'}{reason}"
    )


def _run_finals(
    run: Run[Any], sweep: Sweep, frames: Any, chosen: dict[str, dict[str, Any]], repeats: Mapping[str, dict[str, int]]
) -> dict[str, dict]:
    """Train the final models and score the repeats of ``cv``, each in a separate task; returns the figures of each."""
    import ray

    own = sweep.encoders.memory_gb("train", "val") if sweep.encoders else 0.0  # with encoders per fold, each task reads a set of frames of its own
    size = replace(run.compute.fusion, memory_gb=run.compute.fusion.memory_gb + own)
    run.session.start(size)
    task = ray.remote(**size.task_options, max_retries=3)
    fused = chosen["fused"]
    jobs: dict[str, tuple[Any, ...]] = {"official": (final_official, fused, "fused"), "cv": (final_cv, fused)}
    for mode in UNIMODAL:
        jobs[mode] = (final_official, chosen[mode], mode) if mode in chosen else (final_unsearched, fused, mode)
    jobs |= {name: (score_repeat, fused, folds) for name, folds in repeats.items()}
    at_once = 1 if sweep.encoders else min(len(jobs), run.session.workers(replace(size, workers=len(jobs))))
    figures: dict[str, dict] = {}
    with progress("models", len(jobs), "protocols") as shown:
        remaining, running = list(jobs), {}
        while remaining or running:
            while remaining and len(running) < at_once:
                name = remaining.pop(0)
                running[task(jobs[name][0]).remote(sweep, frames, *jobs[name][1:])] = name
            done, _ = ray.wait(list(running))
            for ref in done:
                name = running.pop(ref)
                figures[name] = fetch(ref, f"fusion: final model {name}", FEWER_TRIALS)
            shown.step(len(done))
    return figures


def final_official(sweep: Sweep, frames: Frames, candidate: dict[str, Any], mode: str) -> dict[str, Any]:
    """Train on all of Train_Set with a candidate's settings and number of epochs, once per seed; returns the candidate's selection.

    The candidate's folds have features of the encoder of the still images, the model those of the encoder ``official`` where there is one.
    """
    config = search.candidate_config(sweep.config, candidate["changes"], mode)
    frames = sweep.encoders.official("train") if sweep.encoders else frames
    trained = protocols.train_official(frames, config, candidate["epochs"], seeds=sweep.config.final_seeds)
    name = "official" if mode == "fused" else mode
    _upload(sweep, f"{name}/model", trained)
    return _write_selection(sweep, name, candidate["selection"])


def final_unsearched(sweep: Sweep, frames: Frames, fused: dict[str, Any], mode: str) -> dict[str, Any]:
    """As ``final_official``, of one modality with the settings of the best fused model."""
    (candidate,) = search.run_population(
        frames, sweep.train_folds, sweep.config, [fused["changes"]], mode=mode, default=sweep.default, threads=sweep.threads
    )
    return final_official(sweep, frames, candidate, mode)


def final_cv(sweep: Sweep, frames: Frames, candidate: dict[str, Any]) -> dict[str, Any]:
    """Train the five fold models on train and validation, and select epochs and smoothing on their out-of-fold logits; returns the selection."""
    config = search.candidate_config(sweep.config, candidate["changes"])
    encoders = sweep.encoders

    def build(of_seed: FusionConfig) -> CrossValidation | CrossValidationByEncoder:
        return CrossValidationByEncoder(encoders.cv, sweep.all_folds, of_seed) if encoders else protocols.cv_folds(frames, sweep.all_folds, of_seed)

    folds = CrossValidationOfSeeds(build, config, sweep.config.final_seeds)
    folds.train(sweep.config.fusion.epochs)
    selected = select(folds, 0, sweep.config, default=sweep.default, threads=sweep.threads)
    for number, trained in enumerate(folds.models(0, selected.epochs.final)):
        _upload(sweep, f"cv/fold-{number}", trained)
    rows = (folds.fold_of_row >= 0).nonzero()[0]
    table = logits_table(folds.frames, rows, selected.logits[rows], selected.gate[rows], folds.fold_of_row[rows])
    sweep.store.storage.write_table(f"{sweep.folder}/cv/out_of_fold.parquet", table)
    evaluations = {"cv": selected.cross_fitted, "cv_in_sample": selected.in_sample}
    sweep.store.storage.write_table(f"{sweep.folder}/cv/{RECORDINGS_FILE}", evaluations_table(evaluations))
    return _write_selection(sweep, "cv", selection_figures(selected, len(rows)))


def _upload(sweep: Sweep, name: str, trained: Any) -> None:
    with disk_full_to_storage_error(), tempfile.TemporaryDirectory(prefix="abaw-fusion-") as folder:
        save_fusion(Path(folder), trained)
        upload_folder(Path(folder), sweep.store.storage, f"{sweep.folder}/{name}")


def _write_selection(sweep: Sweep, name: str, selection: dict[str, Any]) -> dict[str, Any]:
    figures = {**selection, "default": sweep.default}
    sweep.store.storage.write_bytes(f"{sweep.folder}/{name}/selection.json", json.dumps(figures, indent=1).encode())
    return figures


def describe(run: Run[Any]) -> str:
    """Text of the work in the plan."""
    sweep = run.config.sweep
    return f"{sweep.trials} trials of {sweep.candidates} candidates and {sweep.folds} folds, {len(annotated(run).labels):,} annotated subjects"


def workload(run: Run[Any]) -> Workload:
    """The trials that are not finished, and the final models."""
    try:
        finished = len(run.storage.files(trials_folder(run)))
    except PendingError:
        finished = 0
    return sweep_workload(run, finished)


SWEEP_FUSION = Stage(
    name="fusion",
    revision=search.REVISION,
    settings=lambda config: config.sweep,
    inputs=(EXTRACT_FEATURES, TRAIN_FOLD_ENCODERS, EXTRACT_FOLD_FEATURES),
    check=annotated,
    workloads=lambda run, todo: (workload(run),),
    work=RunWork(run=search_and_train, resources=lambda compute: compute.fusion, identity=lambda run: annotated(run).identity, describe=describe),
    job="abaw-ray sweep",
)
