"""Stage ``predictions``: predictions and scores of Validation_Set by the official model, and of the test release by the ensemble of the fold models.

They are computed in one Ray task, with the frames in shared memory. ``fusion.evaluation.protocols`` checks that no model scores subjects that
it was trained on.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import RunWork
from abaw_ray.cluster.engine.user_errors import fetch
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.stages.annotations import annotated, frames_in_cluster
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.fold_features import EXTRACT_FOLD_FEATURES
from abaw_ray.cluster.stages.stage_one.fold_encoders import TRAIN_FOLD_ENCODERS
from abaw_ray.cluster.stages.stage_two.encoder_frames import encoder_frames
from abaw_ray.cluster.stages.stage_two.fusion import SWEEP_FUSION, UNIMODAL
from abaw_ray.cluster.stages.stage_two.validation import Scoring, load_model, postprocessing_of, read_boxes, score_validation
from abaw_ray.cluster.stages.workloads.scores import predictions_workload
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.data.subjects import subjects_with_shared_recordings
from abaw_ray.fusion.evaluation.fold_encoders import score_ensemble_by_encoder
from abaw_ray.fusion.evaluation.protocols import score_ensemble
from abaw_ray.fusion.frames import Frames
from abaw_ray.predict.subjects import predict_subjects, prediction_table
from abaw_ray.scoring.baselines import chance_macro_f1
from abaw_ray.scoring.submission import write_submission


def predict(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Compute predictions, scores and the submission in one Ray task, with the frames in shared memory; returns the figures."""
    import ray

    sweep, faces, annotations = SWEEP_FUSION.require(run), PREPARE_FACES.require(run), annotated(run)
    scoring = Scoring(
        store=store,
        item=item,
        models=sweep.run_output,
        selections={name: sweep.figures[name] for name in ("official", "cv", *UNIMODAL)},
        faces=faces.outputs,
        annotations=annotations.without(sweep.figures["left_out"]),
        encoders=encoder_frames(run),
    )
    frames = None if scoring.encoders else frames_in_cluster(run, EXTRACT_FEATURES.require(run), annotations, ("val", "test"), stage=PREDICT.name)[0]
    size = one_trial(run.compute)
    own = scoring.encoders.memory_gb("val", "test") if scoring.encoders else 0.0  # with encoders per fold, the task reads the frames
    size = replace(size, memory_gb=size.memory_gb + own)
    run.session.start(size)
    task = ray.remote(**size.task_options, max_retries=3)(score)
    figures = fetch(task.remote(scoring, frames), "predictions")
    store.complete_folder(item, figures)
    return figures


def one_trial(compute: ComputeConfig) -> Resources:
    """Resources of prediction: one CPU, with the GPU and the memory of a trial."""
    return replace(compute.fusion, workers=1, cpus=1.0)


@disk_full_to_storage_error()
def score(scoring: Scoring, frames: Frames | None) -> dict[str, Any]:
    """Score Validation_Set (``score_validation``), and predict the test release with the ensemble of the fold models.

    With encoders per fold, the frames are read here, one encoder at a time.

    Raises:
        StorageError: the disk of temporary files is full.
    """
    frames = scoring.encoders.official("val") if scoring.encoders else frames
    assert frames is not None  # given where there are no encoders per fold
    figures = score_validation(scoring, frames)
    train = np.concatenate(list(scoring.annotations.labels_of(["train"]).values()))
    val = frames.labels[frames.rows_of_subjects(frames.subject_names("val"))]
    figures["chance_macro_f1"] = chance_macro_f1(train, val[val >= 0], seed=0)
    if scoring.annotations.example:
        figures["submission"] = _test(scoring, frames)
        figures["rows"] += figures["submission"]["rows"]
    return figures


def _test(scoring: Scoring, frames: Frames) -> dict[str, Any]:
    """Write the predictions for the test release by the ensemble of the fold models, and the submission file; returns the figures."""
    selection, known = scoring.selections["cv"], [name for split in ("train", "val") for name in scoring.annotations.subject_names(split)]
    models = [load_model(scoring, f"cv/fold-{number}") for number in range(len(selection["in_sample"]["folds"]))]
    if scoring.encoders:
        frames, rows, logits, gate = score_ensemble_by_encoder(models, scoring.encoders.test)
    else:
        rows, logits, gate = score_ensemble(models, frames, frames.subject_names("test"))
    tracks = predict_subjects(frames, rows, logits, gate, postprocessing_of(selection))
    storage, folder = scoring.store.storage, scoring.store.output(scoring.item, "")
    storage.write_table(f"{folder}/test.parquet", prediction_table(frames, tracks, read_boxes(scoring, frames, rows)))
    labels = {track.subject.name: track.labels for track in tracks}
    with tempfile.TemporaryDirectory(prefix="abaw-submission-") as local:
        path = Path(local) / "submission.txt"
        filled = write_submission(path, scoring.annotations.example, labels, default=selection["default"])
        storage.put_file(path, f"{folder}/submission.txt")
    counts = {"nearest": filled.nearest, "most_frequent": filled.most_frequent, "past_end": filled.past_end}
    return {
        "path": storage.uri(f"{folder}/submission.txt"),
        "rows": filled.rows,
        "filled": filled.total,
        "filled_by": counts,
        "without_video": filled.without_video,
        "shared": sorted(subjects_with_shared_recordings(known, frames.subject_names("test"))),
    }


def describe(run: Run[Any]) -> str:
    """Text of the work in the plan."""
    return "validation" + (" and test release" if annotated(run).example else "")


PREDICT = Stage(
    name="predictions",
    revision=4,
    settings=lambda config: {},
    inputs=(SWEEP_FUSION, EXTRACT_FEATURES, PREPARE_FACES, TRAIN_FOLD_ENCODERS, EXTRACT_FOLD_FEATURES),
    check=annotated,
    workloads=lambda run, todo: (predictions_workload(run),),
    work=RunWork(run=predict, resources=one_trial, identity=lambda run: annotated(run).identity, describe=describe),
    job="abaw-ray predict",
)
