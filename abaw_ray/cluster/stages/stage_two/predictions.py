"""Stage ``predictions``: predictions and scores of Validation_Set by the official model, and of the test release by the ensemble of the fold models.

They are computed in one Ray task, with the frames in shared memory. ``fusion.protocols`` checks that no model scores subjects that
it was trained on.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from abaw_ray.cluster.engine.compute import ComputeConfig
from abaw_ray.cluster.engine.resources import Resources
from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import RunWork, Stage
from abaw_ray.cluster.engine.user_errors import fetch
from abaw_ray.cluster.stages.annotations import AnnotationSet, annotated, frames_in_cluster
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.fold_features import EXTRACT_FOLD_FEATURES
from abaw_ray.cluster.stages.stage_one.fold_encoders import TRAIN_FOLD_ENCODERS
from abaw_ray.cluster.stages.stage_two.encoder_frames import EncoderFrames, encoder_frames
from abaw_ray.cluster.stages.stage_two.fusion import SWEEP_FUSION, UNIMODAL
from abaw_ray.core.settings import from_plain
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.tables import list_array, rows_of_track
from abaw_ray.data.subjects import subjects_with_shared_recordings
from abaw_ray.fusion.checkpoint import load_fusion, logits_table
from abaw_ray.fusion.fold_encoders import score_ensemble_by_encoder
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.protocols import score_ensemble, score_official_val
from abaw_ray.fusion.trained import TrainedFusion
from abaw_ray.predict.subjects import Boxes, confusion_matrices, predict_subjects, prediction_table
from abaw_ray.scoring.baselines import chance_macro_f1
from abaw_ray.scoring.bootstrap import bootstrap_interval
from abaw_ray.scoring.metrics import macro_f1, per_class_f1, sum_by_recording
from abaw_ray.scoring.postprocessing import Postprocessing
from abaw_ray.scoring.submission import write_submission


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Input of the task besides the frames."""

    store: StageStore
    item: Item
    models: str
    """Folder of the sweep's output."""
    selections: dict[str, dict]
    """Figures of the sweep: official, cv, visual, speech."""
    faces: dict[str, str]
    """FACE outputs by video, for the boxes."""
    annotations: AnnotationSet
    encoders: EncoderFrames | None = None
    """Features of the encoders per fold, which the models were then trained on."""


def predict(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Compute predictions, scores and the submission in one Ray task, with the frames in shared memory; returns the figures."""
    import ray

    sweep, faces, annotations = SWEEP_FUSION.require(run), PREPARE_FACES.require(run), annotated(run)
    scoring = Scoring(
        store=store,
        item=item,
        models=sweep.outputs["run"],
        selections={name: sweep.figures[name] for name in ("official", "cv", *UNIMODAL)},
        faces=faces.outputs,
        annotations=annotations,
        encoders=encoder_frames(run),
    )
    frames = None if scoring.encoders else frames_in_cluster(run, EXTRACT_FEATURES.require(run), annotations)[0]
    task = ray.remote(**one_trial(run.compute).task_options, max_retries=3)(score)
    figures = fetch(task.remote(scoring, frames))
    store.complete_folder(item, figures)
    return figures


def one_trial(compute: ComputeConfig) -> Resources:
    """Resources of prediction: one CPU, with the GPU and the memory of a trial."""
    return replace(compute.fusion, workers=1, cpus=1.0)


def score(scoring: Scoring, frames: Frames | None) -> dict[str, Any]:
    """Score Validation_Set with the official and the single-modality models, and predict the test release with the ensemble of the fold models.

    With encoders per fold, the frames are read here, one encoder at a time.
    """
    frames = scoring.encoders.official() if scoring.encoders else frames
    assert frames is not None  # given where there are no encoders per fold
    figures: dict[str, Any] = {"official_val": _official(scoring, frames, "official", write_tables=True)}
    figures |= {f"{mode}_only": _official(scoring, frames, mode, write_tables=False) for mode in UNIMODAL}
    train, val = (frames.labels[frames.rows_of_subjects(frames.subject_names(split))] for split in ("train", "val"))
    figures["chance_macro_f1"] = chance_macro_f1(train, val[val >= 0], seed=0)
    figures["rows"] = figures["official_val"]["rows"]
    if scoring.annotations.example:
        figures["submission"] = _test(scoring, frames)
        figures["rows"] += figures["submission"]["rows"]
    return figures


def _official(scoring: Scoring, frames: Frames, name: str, *, write_tables: bool) -> dict[str, Any]:
    """Macro-F1 on Validation_Set, of all subjects and of those who share no recording with Train_Set."""
    selection = scoring.selections[name]
    rows, logits, gate = score_official_val(_model(scoring, f"{name}/model"), frames)
    tracks = predict_subjects(frames, rows, logits, gate, _postprocessing(selection))
    counts = confusion_matrices(frames, tracks, selection["default"])
    shared = subjects_with_shared_recordings(frames.subject_names("train"), frames.subject_names("val"))
    unshared = np.array([track.subject.name not in shared for track in tracks], dtype=bool)
    total = counts.sum(axis=0)
    if write_tables:
        storage, folder = scoring.store.storage, scoring.store.output(scoring.item, "")
        storage.write_table(f"{folder}/validation.parquet", prediction_table(frames, tracks, _boxes(scoring, frames, rows)))
        table = logits_table(frames, rows, logits, gate, np.full(len(rows), -1))
        storage.write_table(f"{folder}/validation_logits.parquet", table)
    return {
        "macro_f1": macro_f1(total),
        "interval": bootstrap_interval(sum_by_recording(counts, [track.subject.recording for track in tracks]), seed=0),
        "per_class": per_class_f1(total).tolist(),
        "confusion": total.tolist(),
        "macro_f1_unshared": macro_f1(counts[unshared].sum(axis=0)),
        "shared": sorted(shared),
        "rows": len(rows),
    }


def _test(scoring: Scoring, frames: Frames) -> dict[str, Any]:
    """Write the predictions for the test release by the ensemble of the fold models, and the submission file; returns the figures."""
    selection, known = scoring.selections["cv"], [*frames.subject_names("train"), *frames.subject_names("val")]
    models = [_model(scoring, f"cv/fold-{number}") for number in range(len(selection["in_sample"]["folds"]))]
    if scoring.encoders:
        frames, rows, logits, gate = score_ensemble_by_encoder(models, scoring.encoders.test)
    else:
        rows, logits, gate = score_ensemble(models, frames, frames.subject_names("test"))
    tracks = predict_subjects(frames, rows, logits, gate, _postprocessing(selection))
    storage, folder = scoring.store.storage, scoring.store.output(scoring.item, "")
    storage.write_table(f"{folder}/test.parquet", prediction_table(frames, tracks, _boxes(scoring, frames, rows)))
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


def _model(scoring: Scoring, name: str) -> TrainedFusion:
    storage = scoring.store.storage
    with tempfile.TemporaryDirectory(prefix="abaw-fusion-") as local:
        storage.download_folder(f"{scoring.models}/{name}", Path(local))
        return load_fusion(Path(local))


def _postprocessing(selection: dict[str, Any]) -> Postprocessing:
    return from_plain(Postprocessing, selection["postprocessing"], "postprocessing")


def _boxes(scoring: Scoring, frames: Frames, rows: np.ndarray) -> Boxes:
    """Boxes by video and track (frames x 4, pixels; NaN without a face), from the FACE outputs of these rows' videos."""
    boxes = {}
    for video in sorted({frames.subjects[index].video for index in np.unique(frames.subject_index[rows])}):
        table = scoring.store.storage.read_table(scoring.faces[video], columns=["track", "frame", "box"])
        for track in table["track"].unique().to_pylist():
            boxes[video, track] = list_array(rows_of_track(table, track)["box"])
    return boxes


def describe(run: Run[Any]) -> str:
    """Text of the work in the plan."""
    return "validation" + (" and test release" if annotated(run).example else "")


PREDICT = Stage(
    name="predictions",
    revision=3,
    settings=lambda config: {},
    inputs=(SWEEP_FUSION, EXTRACT_FEATURES, PREPARE_FACES, TRAIN_FOLD_ENCODERS, EXTRACT_FOLD_FEATURES),
    check=annotated,
    work=RunWork(run=predict, resources=one_trial, identity=lambda run: annotated(run).identity, describe=describe),
    job="abaw-ray predict",
)
