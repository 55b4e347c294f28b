"""The two evaluation protocols, and the checks that prevent data leakage between training and scoring.

``official``: settings and smoothing are selected on folds of Train_Set alone; then ONE model, trained on all of Train_Set, scores Validation_Set.
``cv``: folds over train and validation together; each of the five models scores only its own held-out subjects and, later, subjects of neither
set. Every model has its training provenance, and checks reject it where it would score its own training data. ``cluster`` runs the trials.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from abaw_ray.core.errors import StageError
from abaw_ray.data.subjects import recording_of
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.ensemble import average_outputs
from abaw_ray.fusion.frames import Frames, SubjectTrack
from abaw_ray.fusion.train import DeviceFrames, TrainedFusion, TrainingProvenance, frame_macro_f1, predict_logits, train_fusion
from abaw_ray.scoring.selection import OutOfFoldScores

FoldCallback = Callable[[int, float, list[dict[str, int | float]]], None]
"""Called after each fold with its number, its macro-F1 (frame-wise, not smoothed) and its training curve."""


class ProtocolError(StageError):
    """A model would score data that it or its encoder was trained on, or the two protocols would be mixed."""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """Out-of-fold scores of one trial: the model that scores a subject was not trained on its recording."""

    logits: Float[np.ndarray, "n 8"]
    """One row per frame of the given ``Frames``; NaN for subjects outside the folds and for frames without a usable vector."""
    gate: Float[np.ndarray, " n"]
    """Weight of the visual vector; NaN as in ``logits``."""
    fold: Int[np.ndarray, " n"]
    """The fold that holds the frame out; -1 for subjects outside the folds."""
    macro_f1: tuple[float, ...]
    """One value per fold, ascending; frame-wise, not smoothed, over labelled and scored frames."""
    curves: tuple[list[dict[str, int | float]], ...]
    models: tuple[TrainedFusion, ...]

    def out_of_fold(self, frames: Frames) -> list[OutOfFoldScores]:
        """Scores per subject, the input of ``select_postprocessing``."""
        scores = []
        for index, subject in enumerate(frames.subjects):
            rows = np.flatnonzero((frames.subject_index == index) & (self.fold >= 0))
            if len(rows):
                logits = self.logits[rows]
                scores.append(
                    OutOfFoldScores(
                        name=subject.name,
                        fold=int(self.fold[rows[0]]),
                        logits=logits,
                        time=frames.time[rows],
                        scored=np.all(np.isfinite(logits), axis=1),
                        labels=frames.labels[rows],
                    )
                )
        return scores


def run_official_trial(
    frames: Frames, folds: Mapping[str, int], config: FusionConfig, on_fold: FoldCallback | None = None, device: str | None = None
) -> TrialResult:
    """A trial of the ``official`` protocol; arguments as in ``run_trial``.

    Raises:
        ProtocolError: the folds contain a subject outside Train_Set; otherwise as in ``run_trial``.
    """
    others = sorted(set(folds) - set(frames.subject_names("train")))
    if others:
        raise ProtocolError(f"official: '{others[0]}' is in the folds but not in Train_Set; settings are selected on folds of Train_Set alone")
    return run_trial(frames, folds, config, on_fold=on_fold, device=device)


def run_cv(
    frames: Frames, folds: Mapping[str, int], config: FusionConfig, on_fold: FoldCallback | None = None, device: str | None = None
) -> TrialResult:
    """The five models of ``cv`` and their out-of-fold scores; arguments as in ``run_trial``.

    Raises:
        ProtocolError: the folds are not train and validation together; otherwise as in ``run_trial``.
    """
    wanted = {*frames.subject_names("train"), *frames.subject_names("val")}
    if set(folds) != wanted or not frames.subject_names("val"):
        mismatched = sorted(set(folds) ^ wanted)
        raise ProtocolError(
            f"cv: folds must hold exactly the subjects of train and validation; {len(mismatched)} differ, first '{(mismatched or ['no one'])[0]}'"
        )
    return run_trial(frames, folds, config, on_fold=on_fold, device=device)


def run_trial(
    frames: Frames,
    folds: Mapping[str, int],
    config: FusionConfig,
    *,
    on_fold: FoldCallback | None = None,
    device: str | None = None,
) -> TrialResult:
    """Train one model per fold on the subjects of the other folds, and score the fold's subjects with it.

    Args:
        frames: Features and labels; subjects outside the folds are neither trained on nor scored.
        folds: Fold by subject's name, from ``data.folds``.
        config: Settings of the trial.
        on_fold: Called after each fold; an exception in it ends the trial.
        device: As in ``train_fusion``.

    Raises:
        ProtocolError: a recording is in two folds, or the encoder was trained on face crops of subjects that a fold holds out. With one
            encoder per fold, call ``run_fold`` with the features of each encoder.
    """
    check_shared_recordings(frames, folds)
    data = DeviceFrames(frames, device)
    logits, gate = np.full((len(frames), 8), np.nan, np.float32), np.full(len(frames), np.nan, np.float32)
    held_out_by, scores, models = np.full(len(frames), -1, np.int32), [], []
    for fold in sorted(set(folds.values())):
        trained, rows = run_fold(data, folds, fold, config)
        logits[rows], gate[rows] = predict_logits(trained, data, rows)
        held_out_by[rows] = fold
        scores.append(frame_macro_f1(frames.labels[rows], logits[rows]))
        models.append(trained)
        if on_fold:
            on_fold(fold, scores[-1], trained.curve)
    curves = tuple(model.curve for model in models)
    return TrialResult(logits=logits, gate=gate, fold=held_out_by, macro_f1=tuple(scores), curves=curves, models=tuple(models))


def run_fold(data: DeviceFrames, folds: Mapping[str, int], fold: int, config: FusionConfig) -> tuple[TrainedFusion, Int[np.ndarray, " rows"]]:
    """Train the model of one fold; returns it and the held-out rows that it may score.

    Raises:
        ProtocolError: the encoder or the model was trained on a recording that the fold holds out.
    """
    frames = data.frames
    held_out = [name for name, number in folds.items() if number == fold]
    check_encoder(frames.encoder_train_subjects, _subjects(frames, held_out))
    rows = frames.rows_of_subjects(held_out)
    trained = train_fusion(data, config, rows=frames.rows_of_subjects(set(folds) - set(held_out)), val_rows=rows)
    check_cv(trained.provenance, _subjects(frames, held_out))
    return trained, rows


def train_official(frames: Frames, config: FusionConfig, *, device: str | None = None) -> TrainedFusion:
    """The ONE model of the ``official`` protocol, trained on all of Train_Set with the settings selected on its folds."""
    return train_fusion(frames, config, rows=frames.rows_of_subjects(frames.subject_names("train")), device=device)


def score_official_val(
    trained: TrainedFusion, frames: Frames, *, device: str | None = None
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Rows of Validation_Set with their logits and gates, not smoothed.

    Raises:
        ProtocolError: the model or its encoder was trained on a validation subject, as the ``cv`` models were.
    """
    check_official(trained.provenance, frames.subject_names("val"))
    rows = frames.rows_of_subjects(frames.subject_names("val"))
    return rows, *predict_logits(trained, frames, rows, device=device)


def score_ensemble(
    models: Sequence[TrainedFusion], frames: Frames, names: Collection[str], *, device: str | None = None
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Ensemble scores of subjects outside the training data of all models: the test release, or any other video.

    The official sets share recordings, and the test release may share some too. A subject is accepted even if a model was trained on another
    subject of its recording, because no metric is computed here.

    Returns:
        Rows, the logarithm of the models' mean probability (as the ensemble's logits), and their mean gate.

    Raises:
        ProtocolError: one of the models was trained on one of these subjects, or its encoder on one of their recordings.
    """
    data, rows, outputs = DeviceFrames(frames, device), frames.rows_of_subjects(names), []
    for trained in models:
        overlap = sorted(trained.provenance.subjects & set(names))
        if overlap:
            raise ProtocolError(f"test: the model was trained on '{overlap[0]}', so it may not score it")
        check_encoder(trained.provenance.encoder_train_subjects, _subjects(frames, names))
        outputs.append(predict_logits(trained, data, rows))
    return rows, *average_outputs(outputs)


def check_official(provenance: TrainingProvenance, val_names: Iterable[str]) -> None:
    """Reject a model if it or its encoder was trained on a validation subject. Shared recordings are allowed, as in the official split."""
    for trained, names in (("the model", provenance.subjects), ("its encoder", provenance.encoder_train_subjects)):
        overlap = sorted(names & set(val_names))
        if overlap:
            raise ProtocolError(
                f"official_val: {trained} was trained on {len(overlap)} subjects of Validation_Set, first '{overlap[0]}'; use train_official"
            )


def check_cv(provenance: TrainingProvenance, subjects: Iterable[SubjectTrack]) -> None:
    """Reject a model for subjects if it or its encoder was trained on their recording."""
    for subject in subjects:
        if subject.recording in provenance.recordings:
            raise ProtocolError(f"cv: the model was trained on recording '{subject.recording}' of '{subject.name}', so it may not score it")
    check_encoder(provenance.encoder_train_subjects, subjects)


def check_encoder(encoder_train_subjects: Iterable[str], subjects: Iterable[SubjectTrack]) -> None:
    """Reject features whose encoder was trained on face crops of these subjects' recordings."""
    recordings = {recording_of(name) for name in encoder_train_subjects}
    for subject in subjects:
        if subject.recording in recordings:
            raise ProtocolError(
                f"encoder: trained on face crops of recording '{subject.recording}', so '{subject.name}' may not be held out with its features; "
                "train it on still images alone, or one encoder per fold"
            )


def check_shared_recordings(frames: Frames, folds: Mapping[str, int]) -> None:
    """Reject folds that split a recording: two of its subjects are in different folds."""
    first: dict[str, tuple[str, int]] = {}
    for subject in _subjects(frames, folds):
        name, fold = first.setdefault(subject.recording, (subject.name, folds[subject.name]))
        if fold != folds[subject.name]:
            raise ProtocolError(f"folds: '{name}' and '{subject.name}' share one recording but are in folds {fold} and {folds[subject.name]}")


def _subjects(frames: Frames, names: Collection[str]) -> list[SubjectTrack]:
    return [subject for subject in frames.subjects if subject.name in set(names)]
