from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.fusion import protocols
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.frames import SubjectTrack
from abaw_ray.fusion.protocols import (
    ProtocolError,
    run_cv,
    run_fold,
    run_official_trial,
    run_trial,
    score_ensemble,
    score_official_val,
    train_official,
)
from abaw_ray.fusion.train import DeviceFrames, frame_macro_f1, predict_logits
from abaw_ray.training.config import OptimConfig

CONFIG = FusionConfig(hidden_dim=32, epochs=8, batch_size=128, optim=OptimConfig(lr=4e-3, layer_decay=1.0))
QUICK = replace(CONFIG, epochs=1)


@pytest.fixture(scope="module")
def cv(frames, folds):
    return run_cv(frames, folds, CONFIG)


def train_folds(frames):
    return {name: index % 3 for index, name in enumerate(frames.subject_names("train"))}


def test_every_frame_is_scored_by_the_model_that_was_not_trained_on_its_recording(frames, folds, cv):
    assert len(cv.models) == len(cv.macro_f1) == len(cv.curves) == 3
    for index, subject in enumerate(frames.subjects):
        rows = np.flatnonzero(frames.subject_index == index)
        fold = folds[subject.name]
        assert (cv.fold[rows] == fold).all()
        assert subject.recording not in cv.models[fold].provenance.recordings
        assert all(subject.recording in model.provenance.recordings for number, model in enumerate(cv.models) if number != fold)
        np.testing.assert_allclose(cv.logits[rows], predict_logits(cv.models[fold], frames, rows)[0], atol=1e-5)


def test_fold_scores_are_those_of_the_held_out_frames(frames, cv):
    for fold, score in enumerate(cv.macro_f1):
        rows = np.flatnonzero(cv.fold == fold)
        assert score == frame_macro_f1(frames.labels[rows], cv.logits[rows])


def test_a_trial_calls_back_after_each_fold_and_is_deterministic(frames, folds, cv):
    calls = []
    again = run_trial(frames, folds, CONFIG, on_fold=lambda fold, score, curve: calls.append((fold, score, len(curve))))
    np.testing.assert_array_equal(again.logits, cv.logits)
    assert calls == [(fold, score, CONFIG.epochs) for fold, score in enumerate(cv.macro_f1)]


def test_an_exception_in_the_callback_ends_the_trial(frames, folds):
    calls = []

    def stop(fold, score, curve):
        calls.append(fold)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(frames, folds, QUICK, on_fold=stop)
    assert calls == [0]


def test_both_modalities_together_beat_each_alone(make_frames):
    frames = make_frames(seed=3, train=16, val=0, noise=3.0)
    folds = {subject.name: index % 2 for index, subject in enumerate(frames.subjects)}
    score = {mode: np.mean(run_trial(frames, folds, replace(CONFIG, mode=mode, epochs=10)).macro_f1) for mode in ("fused", "visual", "speech")}
    assert score["visual"] > 0.25 and score["speech"] > 0.25
    assert score["fused"] > max(score["visual"], score["speech"]) + 0.05


def test_labels_shuffled_over_frames_stay_at_chance(frames, folds, cv):
    labels = np.random.default_rng(0).permutation(frames.labels)
    shuffled = run_trial(replace(frames, labels=labels), folds, CONFIG)
    assert np.mean(shuffled.macro_f1) < 0.17
    assert np.mean(cv.macro_f1) > 0.4


def test_identity_information_does_not_help_on_held_out_recordings(make_frames):
    """Each subject has one expression throughout, so folds that split a recording would score nearly 1."""
    frames = make_frames(seed=5, train=32, val=0, frames=20, subject_std=3.0)
    subject_index, config = frames.subject_index.astype(np.int64), replace(CONFIG, batch_size=32, epochs=8)
    frames = replace(frames, labels=(np.random.default_rng(0).permutation(32) % 8)[subject_index].astype(np.int8))
    fair = run_trial(frames, {subject.name: index // 16 for index, subject in enumerate(frames.subjects)}, config)
    halves = tuple(SubjectTrack(video=f"{subject.video}-{part}x", track=f"{subject.video}-{part}x") for subject in frames.subjects for part in (0, 1))
    leaky_frames = replace(frames, subjects=halves, subject_index=(2 * subject_index + (frames.frame % 2)).astype(np.int32))
    leaky = run_trial(leaky_frames, {subject.name: index % 2 for index, subject in enumerate(halves)}, config)
    assert np.mean(fair.macro_f1) < 0.3
    assert np.mean(leaky.macro_f1) > 0.7


def test_out_of_fold_scores_are_grouped_by_subject(frames, cv):
    scores = cv.out_of_fold(frames)
    assert [subject_scores.name for subject_scores in scores] == [subject.name for subject in frames.subjects]
    assert sum(len(subject_scores.labels) for subject_scores in scores) == len(frames)
    for subject_scores in scores:
        rows = frames.rows_of_subjects([subject_scores.name])
        np.testing.assert_array_equal(subject_scores.time, frames.time[rows])
        np.testing.assert_array_equal(subject_scores.labels, frames.labels[rows])
        np.testing.assert_array_equal(subject_scores.scored, frames.scored("fused")[rows])


def test_official_settings_do_not_depend_on_validation(frames):
    folds = train_folds(frames)
    trial = run_official_trial(frames, folds, QUICK)
    val = frames.rows_of_subjects(frames.subject_names("val"))
    assert (trial.fold[val] == -1).all() and np.isnan(trial.logits[val]).all()
    labels, visual = frames.labels.copy(), frames.visual.copy()
    labels[val], visual[val] = 0, 3
    blind = run_official_trial(replace(frames, labels=labels, visual=visual), folds, QUICK)
    np.testing.assert_array_equal(blind.logits, trial.logits)
    assert [one.name for one in trial.out_of_fold(frames)] == frames.subject_names("train")


def test_official_folds_with_a_validation_subject_are_rejected(frames):
    folds = train_folds(frames) | {frames.subject_names("val")[0]: 0}
    with pytest.raises(ProtocolError, match="not in Train_Set"):
        run_official_trial(frames, folds, QUICK)


def test_cv_folds_with_a_missing_subject_are_rejected(frames, folds):
    for wrong in (train_folds(frames), {name: fold for name, fold in folds.items() if name != "105"}):
        with pytest.raises(ProtocolError, match="exactly the subjects of train and validation"):
            run_cv(frames, wrong, QUICK)


def test_the_official_model_is_trained_on_all_of_train_and_scores_exactly_validation(frames):
    trained = train_official(frames, CONFIG)
    assert trained.provenance.subjects == set(frames.subject_names("train"))
    rows, logits, _ = score_official_val(trained, frames)
    np.testing.assert_array_equal(rows, frames.rows_of_subjects(frames.subject_names("val")))
    assert frame_macro_f1(frames.labels[rows], logits) > 0.3


def test_no_cv_model_ever_scores_the_official_validation_set(frames, cv):
    for model in cv.models:
        with pytest.raises(ProtocolError, match="official_val: the model was trained on"):
            score_official_val(model, frames)


def test_the_official_model_is_rejected_as_a_fold_model_for_its_training_subjects(frames):
    trained = train_official(frames, QUICK)
    with pytest.raises(ProtocolError, match="trained on '100', so it may not score it"):
        score_ensemble([trained], frames, ["100"])


def test_a_fold_model_is_rejected_for_another_subject_of_a_training_recording(frames, cv):
    model = next(model for model in cv.models if "100" in model.provenance.subjects)
    sibling = SubjectTrack(video="100", track="100_right")
    with pytest.raises(ProtocolError, match="'100_right'"):
        protocols.check_cv(model.provenance, [sibling])


def test_a_test_subject_that_shares_a_recording_with_training_is_scored(frames):
    subject = next(subject for subject in frames.subjects if subject.split == "val")
    at = frames.subjects.index(subject)
    sibling = replace(subject, video="100", track="100_right", split="test")
    related = replace(frames, subjects=(*frames.subjects[:at], sibling, *frames.subjects[at + 1 :]))
    rows, _, _ = score_ensemble([train_official(frames, QUICK)], related, ["100_right"])
    assert len(rows) == (frames.subject_index == at).sum()


def test_two_subjects_of_one_recording_in_two_folds_are_rejected(frames, folds):
    subjects = list(frames.subjects)
    subjects[0], subjects[1] = (
        SubjectTrack(video="9-30-640x480-1", track="9-30-640x480-1"),
        SubjectTrack(video="9-30-640x480-2", track="9-30-640x480-2_left"),
    )
    siblings = replace(frames, subjects=tuple(subjects))
    wrong = {subject.name: index % 3 for index, subject in enumerate(subjects)}
    with pytest.raises(ProtocolError, match="share one recording but are in folds 0 and 1"):
        run_trial(siblings, wrong, QUICK)


def test_an_encoder_trained_on_face_crops_of_held_out_subjects_is_rejected_by_both_protocols(frames, folds):
    leaking = replace(frames, encoder_train_subjects=frozenset({"100"}))
    with pytest.raises(ProtocolError, match="encoder: trained on face crops of recording '100'"):
        run_cv(leaking, folds, QUICK)
    with pytest.raises(ProtocolError, match="encoder: trained on face crops of recording '100'"):
        run_official_trial(leaking, train_folds(frames), QUICK)
    val = frames.subject_names("val")[0]
    with pytest.raises(ProtocolError, match="its encoder was trained on 1 subjects of Validation_Set"):
        score_official_val(train_official(replace(frames, encoder_train_subjects=frozenset({val})), QUICK), frames)


def test_one_encoder_per_fold_is_accepted_if_trained_on_the_other_folds_alone(frames, folds):
    other_folds = frozenset(name for name, fold in folds.items() if fold != 1)
    data = DeviceFrames(replace(frames, encoder_train_subjects=other_folds))
    trained, rows = run_fold(data, folds, 1, QUICK)
    assert trained.provenance.encoder_train_subjects == other_folds
    assert {folds[frames.subjects[index].name] for index in frames.subject_index[rows]} == {1}
    with pytest.raises(ProtocolError, match="encoder"):
        run_fold(data, folds, 0, QUICK)


def test_the_ensemble_gives_the_mean_probability_for_new_subjects(frames, cv, make_frames):
    new = make_frames(seed=9, train=0, val=2)
    new = replace(new, subjects=tuple(SubjectTrack(video=f"new{index}", track=f"new{index}", split="test") for index in range(2)))
    rows, logits, gate = score_ensemble(cv.models, new, new.subject_names("test"))

    def softmax(values):
        exp = np.exp(values - values.max(axis=1, keepdims=True))
        return exp / exp.sum(axis=1, keepdims=True)

    each = [predict_logits(model, new, rows) for model in cv.models]
    scored = new.scored("fused")[rows]
    np.testing.assert_allclose(softmax(logits[scored]), np.mean([softmax(one[scored]) for one, _ in each], axis=0), atol=1e-5)
    np.testing.assert_allclose(gate[scored], np.mean([two[scored] for _, two in each], axis=0), atol=1e-6)
    assert np.isnan(logits[~scored]).all()
