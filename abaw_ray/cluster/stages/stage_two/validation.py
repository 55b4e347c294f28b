"""Scores of Validation_Set in the stage ``predictions``: of the official model, of the same model without smoothing or without one modality, and of
the models of one modality.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from abaw_ray.cluster.stages.annotations import AnnotationSet
from abaw_ray.cluster.stages.stage_two.encoder_frames import EncoderFrames
from abaw_ray.cluster.stages.stage_two.fusion import UNIMODAL
from abaw_ray.cluster.stages.stage_two.tables import RECORDINGS_FILE
from abaw_ray.core.settings import from_plain
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.folders import download_folder
from abaw_ray.core.tables import list_array, rows_of_track
from abaw_ray.data.subjects import recording_of, subjects_with_shared_recordings
from abaw_ray.fusion.checkpoint import load_fusion, logits_table
from abaw_ray.fusion.evaluation.protocols import score_official_val
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.inference import Scores
from abaw_ray.fusion.trained import TrainedFusion
from abaw_ray.predict.subjects import Boxes, SubjectPrediction, confusion_matrices, predict_subjects, prediction_table
from abaw_ray.scoring.evaluation import Evaluation, evaluations_table
from abaw_ray.scoring.postprocessing import Postprocessing


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
    """Without the subjects that the sweep has left out."""
    encoders: EncoderFrames | None = None
    """Features of the encoders per fold, which the models were then trained on."""


def score_validation(scoring: Scoring, frames: Frames) -> dict[str, Any]:
    """Write the predictions of Validation_Set and the table of recordings; returns all scores, and the official one's differences from the others."""
    selection = scoring.selections["official"]
    postprocessing, official = postprocessing_of(selection), load_model(scoring, "official/model")
    rows, logits, gate = score_official_val(official, frames)
    tracks = predict_subjects(frames, rows, logits, gate, postprocessing)
    _write_predictions(scoring, frames, tracks, rows, (logits, gate))
    unsmoothed = replace(postprocessing, smoothing=replace(postprocessing.smoothing, window_s=0.0))
    evaluations = {
        "official": _evaluation(frames, tracks, selection),
        "official_unsmoothed": _evaluation(frames, predict_subjects(frames, rows, logits, gate, unsmoothed), selection),
        "official_without_audio": _evaluate(official, frames.masked("visual"), selection),
        "official_without_faces": _evaluate(official, frames.masked("speech"), selection),
        **{mode: _evaluate(load_model(scoring, f"{mode}/model"), frames, scoring.selections[mode]) for mode in UNIMODAL},
    }
    storage, folder = scoring.store.storage, scoring.store.output(scoring.item, "")
    storage.write_table(f"{folder}/{RECORDINGS_FILE}", evaluations_table(evaluations))
    return {**_figures(evaluations, scoring.annotations), "rows": len(rows)}


def _evaluate(model: TrainedFusion, frames: Frames, selection: dict[str, Any]) -> Evaluation:
    rows, logits, gate = score_official_val(model, frames)
    return _evaluation(frames, predict_subjects(frames, rows, logits, gate, postprocessing_of(selection)), selection)


def _evaluation(frames: Frames, tracks: list[SubjectPrediction], selection: dict[str, Any]) -> Evaluation:
    return Evaluation.of_subjects(confusion_matrices(frames, tracks, selection["default"]), [track.subject.recording for track in tracks])


def _figures(evaluations: dict[str, Evaluation], annotations: AnnotationSet) -> dict[str, Any]:
    official = evaluations["official"]
    shared = subjects_with_shared_recordings(annotations.subject_names("train"), annotations.subject_names("val"))
    unshared = official.without({recording_of(name) for name in shared}).score()
    others = {name: one for name, one in evaluations.items() if name != "official"}
    figures = {name if name.startswith("official") else f"{name}_only": one.score() for name, one in others.items()}
    return {
        "official_val": {
            **official.score(),
            "macro_f1_unshared": unshared["macro_f1"],
            "interval_unshared": unshared["interval"],
            "shared": sorted(shared),
        },
        **figures,
        "differences": {name: official.minus(one) for name, one in others.items()},
        "audio_gain": official.minus_per_class(evaluations["visual"]),
    }


def _write_predictions(scoring: Scoring, frames: Frames, tracks: list[SubjectPrediction], rows: np.ndarray, scores: Scores) -> None:
    storage, folder = scoring.store.storage, scoring.store.output(scoring.item, "")
    storage.write_table(f"{folder}/validation.parquet", prediction_table(frames, tracks, read_boxes(scoring, frames, rows)))
    storage.write_table(f"{folder}/validation_logits.parquet", logits_table(frames, rows, *scores, np.full(len(rows), -1)))


def load_model(scoring: Scoring, name: str) -> TrainedFusion:
    """A final model of the sweep, by its folder."""
    storage = scoring.store.storage
    with tempfile.TemporaryDirectory(prefix="abaw-fusion-") as local:
        download_folder(storage, f"{scoring.models}/{name}", Path(local))
        return load_fusion(Path(local))


def postprocessing_of(selection: dict[str, Any]) -> Postprocessing:
    """What follows the logits, as selected in the sweep."""
    return from_plain(Postprocessing, selection["postprocessing"], "postprocessing")


def read_boxes(scoring: Scoring, frames: Frames, rows: np.ndarray) -> Boxes:
    """Boxes by video and track (frames x 4, pixels; NaN without a face), from the FACE outputs of these rows' videos."""
    boxes = {}
    for video in sorted({frames.subjects[index].video for index in np.unique(frames.subject_index[rows])}):
        table = scoring.store.storage.read_table(scoring.faces[video], columns=["track", "frame", "box"])
        for track in table["track"].unique().to_pylist():
            boxes[video, track] = list_array(rows_of_track(table, track)["box"])
    return boxes
