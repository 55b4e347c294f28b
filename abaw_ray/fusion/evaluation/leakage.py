"""Checks that no model scores data that it, or the encoder of its features, was trained on."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from abaw_ray.core.errors import StageError
from abaw_ray.data.subjects import recording_of
from abaw_ray.fusion.frames import Frames, SubjectTrack
from abaw_ray.fusion.trained import TrainingProvenance


class ProtocolError(StageError):
    """A model would score data that it or its encoder was trained on, or the two protocols would be mixed."""


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
    for subject in subjects_of(frames, folds):
        name, fold = first.setdefault(subject.recording, (subject.name, folds[subject.name]))
        if fold != folds[subject.name]:
            raise ProtocolError(f"folds: '{name}' and '{subject.name}' share one recording but are in folds {fold} and {folds[subject.name]}")


def subjects_of(frames: Frames, names: Collection[str]) -> list[SubjectTrack]:
    """The subjects of these names that have frames."""
    return [subject for subject in frames.subjects if subject.name in set(names)]


def check_same_encoder(provenance: TrainingProvenance, frames: Frames) -> None:
    """Reject a model on features of another encoder than it was trained with: their vectors have no relation."""
    if provenance.encoder_train_subjects != frames.encoder_train_subjects:
        raise ProtocolError("encoder: the model was trained on features of another encoder; score it with those that it was trained on")


def check_same_rows(frames: Frames, others: Frames) -> None:
    """Reject two sets of frames of different encoders whose rows are not the same frames of the same subjects."""
    columns = ("subject_index", "frame", "labels", "seen", "heard")
    if frames.subjects != others.subjects or not all(np.array_equal(getattr(frames, name), getattr(others, name)) for name in columns):
        raise ProtocolError("encoder: the frames of two encoders are not the same; extract the features of all of them from the same faces")
