"""The two evaluation protocols, and the checks that prevent data leakage between training and scoring.

``official``: settings and smoothing are selected on folds of Train_Set alone; then ONE model, trained on all of Train_Set, scores Validation_Set.
``cv``: folds over train and validation together; each of the five models scores only its own held-out subjects and, later, subjects of neither
set. Every model has its training provenance, and checks reject it where it would score its own training data. ``cluster`` runs the trials.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.ensemble import average_outputs
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.leakage import (
    ProtocolError,
    check_cv,
    check_encoder,
    check_official,
    check_same_encoder,
    check_shared_recordings,
    subjects_of,
)
from abaw_ray.fusion.train import DeviceFrames, TrainedFusion, frame_macro_f1, predict_logits, train_fusion
from abaw_ray.scoring.selection import OutOfFoldScores

FoldCallback = Callable[[int, float, list[dict[str, int | float]]], None]
"""Called after each fold with its number, its macro-F1 (frame-wise, not smoothed) and its training curve."""


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
    check_cv_folds(frames, folds)
    return run_trial(frames, folds, config, on_fold=on_fold, device=device)


def check_cv_folds(frames: Frames, folds: Mapping[str, int]) -> None:
    """Reject folds that are not those of exactly the subjects of train and validation."""
    wanted = {*frames.subject_names("train"), *frames.subject_names("val")}
    if set(folds) != wanted or not frames.subject_names("val"):
        mismatched = sorted(set(folds) ^ wanted)
        raise ProtocolError(
            f"cv: folds must hold exactly the subjects of train and validation; {len(mismatched)} differ, first '{(mismatched or ['no one'])[0]}'"
        )


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
            encoder per fold, use ``fold_encoders.run_cv_by_encoder``.
    """
    scores, data = FoldScores(frames, folds, config, on_fold), DeviceFrames(frames, device)
    for fold in sorted(set(folds.values())):
        scores.run(data, fold)
    return scores.result()


class FoldScores:
    """The models and scores of the folds that have been run."""

    def __init__(self, frames: Frames, folds: Mapping[str, int], config: FusionConfig, on_fold: FoldCallback | None = None) -> None:
        """Nothing is trained yet; vectors of ``frames`` are not used.

        Raises:
            ProtocolError: a recording is in two folds.
        """
        check_shared_recordings(frames, folds)
        self.frames, self.folds, self.config, self.on_fold = frames, folds, config, on_fold
        self.logits, self.gate = np.full((len(frames), 8), np.nan, np.float32), np.full(len(frames), np.nan, np.float32)
        self.fold, self.scores, self.models = np.full(len(frames), -1, np.int32), list[float](), list[TrainedFusion]()

    def run(self, data: DeviceFrames, fold: int) -> None:
        """Train the model of one fold, and score the fold with it."""
        trained, rows = run_fold(data, self.folds, fold, self.config)
        self.logits[rows], self.gate[rows] = predict_logits(trained, data, rows)
        self.fold[rows] = fold
        self.scores.append(frame_macro_f1(self.frames.labels[rows], self.logits[rows]))
        self.models.append(trained)
        if self.on_fold:
            self.on_fold(fold, self.scores[-1], trained.curve)

    def result(self) -> TrialResult:
        """The scores of all folds."""
        curves = tuple(model.curve for model in self.models)
        return TrialResult(logits=self.logits, gate=self.gate, fold=self.fold, macro_f1=tuple(self.scores), curves=curves, models=tuple(self.models))


def run_fold(data: DeviceFrames, folds: Mapping[str, int], fold: int, config: FusionConfig) -> tuple[TrainedFusion, Int[np.ndarray, " rows"]]:
    """Train the model of one fold; returns it and the held-out rows that it may score.

    Raises:
        ProtocolError: the encoder or the model was trained on a recording that the fold holds out.
    """
    frames = data.frames
    held_out = [name for name, number in folds.items() if number == fold]
    check_encoder(frames.encoder_train_subjects, subjects_of(frames, held_out))
    rows = frames.rows_of_subjects(held_out)
    trained = train_fusion(data, config, rows=frames.rows_of_subjects(set(folds) - set(held_out)), val_rows=rows)
    check_cv(trained.provenance, subjects_of(frames, held_out))
    return trained, rows


def train_official(frames: Frames, config: FusionConfig, *, device: str | None = None) -> TrainedFusion:
    """The ONE model of the ``official`` protocol, trained on all of Train_Set with the settings selected on its folds."""
    return train_fusion(frames, config, rows=frames.rows_of_subjects(frames.subject_names("train")), device=device)


def score_official_val(
    trained: TrainedFusion, frames: Frames, *, device: str | None = None
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Rows of Validation_Set with their logits and gates, not smoothed.

    Raises:
        ProtocolError: the model or its encoder was trained on a validation subject, as the ``cv`` models were; or the features are of another
            encoder.
    """
    check_official(trained.provenance, frames.subject_names("val"))
    check_same_encoder(trained.provenance, frames)
    rows = frames.rows_of_subjects(frames.subject_names("val"))
    return rows, *predict_logits(trained, frames, rows, device=device)


def score_ensemble(
    models: Sequence[TrainedFusion], frames: Frames, names: Collection[str], *, device: str | None = None
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Ensemble scores of subjects outside the training data of all models: the test release, or any other video.

    The official sets share recordings, and the test release may share some too. A subject is accepted even if a model or its encoder was trained on
    another subject of its recording, because no metric is computed here.

    Returns:
        Rows, the logarithm of the models' mean probability (as the ensemble's logits), and their mean gate.

    Raises:
        ProtocolError: one of the models, or its encoder, was trained on one of these subjects; or the features are of another encoder.
    """
    data, rows = DeviceFrames(frames, device), frames.rows_of_subjects(names)
    return rows, *average_outputs([score_new_subjects(trained, data, names) for trained in models])


def score_new_subjects(
    trained: TrainedFusion, data: DeviceFrames, names: Collection[str]
) -> tuple[Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Logits and gates of subjects that are new to a model.

    Raises:
        ProtocolError: as ``score_ensemble``.
    """
    for who, subjects in (("the model", trained.provenance.subjects), ("its encoder", trained.provenance.encoder_train_subjects)):
        overlap = sorted(subjects & set(names))
        if overlap:
            raise ProtocolError(f"test: {who} was trained on '{overlap[0]}', so it may not score it")
    check_same_encoder(trained.provenance, data.frames)
    return predict_logits(trained, data, data.frames.rows_of_subjects(names))
