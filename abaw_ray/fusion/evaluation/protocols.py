"""The two evaluation protocols.

``official``: settings and smoothing are selected on folds of Train_Set alone; then a model trained on all of Train_Set (or the average of several
seeds) scores Validation_Set.
``cv``: folds over train and validation together; each of the five models scores only its own held-out subjects and, later, subjects of neither
set. Every model has its training provenance, and ``leakage`` rejects it where it would score its own training data. ``cluster`` runs the trials.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from abaw_ray.fusion.config import FusionConfig, with_seeds
from abaw_ray.fusion.evaluation.cross_validation import CrossValidation, train_on_all
from abaw_ray.fusion.evaluation.leakage import ProtocolError, check_official, check_same_encoder
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.inference import predict_average, predict_logits
from abaw_ray.fusion.trained import TrainedFusion, merge_seeds


def official_folds(frames: Frames, folds: Mapping[str, int], candidates: Sequence[FusionConfig], device: str | None = None) -> CrossValidation:
    """Candidates of the ``official`` protocol, not trained yet.

    Args:
        frames: Features and labels; subjects outside the folds are neither trained on nor scored.
        folds: Fold by subject's name, from ``data.folds``.
        candidates: Settings of one architecture.
        device: ``cpu`` or ``cuda``; by default a GPU where there is one.

    Raises:
        DataError: a fold has no row to train on.
        ProtocolError: the folds contain a subject outside Train_Set; a recording is in two folds; or the encoder was trained on face crops of
            subjects that a fold holds out.
    """
    others = sorted(set(folds) - set(frames.subject_names("train")))
    if others:
        raise ProtocolError(f"official: '{others[0]}' is in the folds but not in Train_Set; settings are selected on folds of Train_Set alone")
    return CrossValidation(frames, folds, candidates, device)


def cv_folds(frames: Frames, folds: Mapping[str, int], config: FusionConfig, device: str | None = None) -> CrossValidation:
    """The models of ``cv``, not trained yet; arguments as in ``official_folds``. With one encoder per fold, use ``fold_encoders``.

    Raises:
        DataError: as in ``official_folds``.
        ProtocolError: the folds are not train and validation together; otherwise as in ``official_folds``.
    """
    check_cv_folds(frames, folds)
    return CrossValidation(frames, folds, [config], device)


def check_cv_folds(frames: Frames, folds: Mapping[str, int]) -> None:
    """Reject folds that are not those of exactly the subjects of train and validation."""
    wanted = {*frames.subject_names("train"), *frames.subject_names("val")}
    if set(folds) != wanted or not frames.subject_names("val"):
        mismatched = sorted(set(folds) ^ wanted)
        raise ProtocolError(
            f"cv: folds must hold exactly the subjects of train and validation; {len(mismatched)} differ, first '{(mismatched or ['no one'])[0]}'"
        )


def train_official(frames: Frames, config: FusionConfig, epochs: int, *, seeds: int = 1, device: str | None = None) -> TrainedFusion:
    """The model of the ``official`` protocol, trained on all of Train_Set with the settings and for the epochs selected on its folds.

    Args:
        frames: Features and labels.
        config: Settings of the model.
        epochs: Passes over the training frames.
        seeds: Number of seeds with which it is trained; their probabilities are averaged.
        device: ``cpu`` or ``cuda``; by default a GPU where there is one.
    """
    train = np.array([subject.split == "train" for subject in frames.subjects])
    return merge_seeds([train_on_all(frames, train, one, epochs, device) for one in with_seeds(config, seeds)])


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
    rows = frames.rows_of_subjects(names)
    for trained in models:
        _check_new_subjects(trained, frames, names)
    return rows, *predict_average(models, frames, rows, device=device)


def score_new_subjects(
    trained: TrainedFusion, frames: Frames, names: Collection[str], *, device: str | None = None
) -> tuple[Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Logits and gates of subjects that are new to a model.

    Raises:
        ProtocolError: as ``score_ensemble``.
    """
    _check_new_subjects(trained, frames, names)
    return predict_logits(trained, frames, frames.rows_of_subjects(names), device=device)


def _check_new_subjects(trained: TrainedFusion, frames: Frames, names: Collection[str]) -> None:
    for who, subjects in (("the model", trained.provenance.subjects), ("its encoder", trained.provenance.encoder_train_subjects)):
        overlap = sorted(subjects & set(names))
        if overlap:
            raise ProtocolError(f"test: {who} was trained on '{overlap[0]}', so it may not score it")
    check_same_encoder(trained.provenance, frames)
