from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.fusion.config import FusionConfig, FusionOptimConfig
from abaw_ray.fusion.evaluation.cross_validation import CrossValidation
from abaw_ray.fusion.evaluation.leakage import ProtocolError, check_cv
from abaw_ray.fusion.evaluation.protocols import cv_folds, official_folds, score_ensemble, score_official_val, train_official
from abaw_ray.fusion.frames import SubjectTrack
from abaw_ray.fusion.inference import predict_logits
from abaw_ray.fusion.population.epochs import choose_epochs
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1

CONFIG = FusionConfig(hidden_dim=32, epochs=8, batch_size=128, rows_per_second=0, optim=FusionOptimConfig(lr=4e-3))
QUICK = replace(CONFIG, epochs=1)


def frame_macro_f1(labels, logits):
    scored = np.isfinite(logits).all(axis=1)
    return macro_f1(confusion_matrix(labels[scored], logits[scored].argmax(axis=1)))


def trained(validation, epochs=CONFIG.epochs):
    validation.train(epochs)
    return validation


def score(validation, epoch=None):
    """Mean over the folds of the macro-F1 of held-out frames."""
    logits, _ = validation.logits(0, epoch or len(validation.curves[0].loss))
    folds = validation.fold_of_row
    return np.mean([frame_macro_f1(validation.frames.labels[folds == number], logits[folds == number]) for number in validation.numbers])


@pytest.fixture(scope="module")
def cv(frames, folds):
    return trained(cv_folds(frames, folds, CONFIG))


@pytest.fixture(scope="module")
def cv_models(cv):
    return cv.models(0, CONFIG.epochs)


@pytest.fixture(scope="module")
def official(frames):
    return train_official(frames, CONFIG, CONFIG.epochs)


def train_folds(frames):
    return {name: index % 3 for index, name in enumerate(frames.subject_names("train"))}


def test_every_frame_is_scored_by_the_model_that_was_not_trained_on_its_recording(frames, folds, cv, cv_models):
    assert len(cv_models) == 3
    logits, _ = cv.logits(0, CONFIG.epochs)
    for index, subject in enumerate(frames.subjects):
        rows = np.flatnonzero(frames.subject_index == index)
        fold = folds[subject.name]
        assert (cv.fold_of_row[rows] == fold).all()
        assert subject.recording not in cv_models[fold].provenance.recordings
        assert all(subject.recording in model.provenance.recordings for number, model in enumerate(cv_models) if number != fold)
        np.testing.assert_allclose(logits[rows], predict_logits(cv_models[fold], frames, rows)[0], atol=1e-5)


def test_the_curve_has_the_score_of_the_held_out_frames_at_every_epoch(frames, cv):
    for epoch in (1, CONFIG.epochs):
        logits, _ = cv.logits(0, epoch)
        assert cv.curves[0].macro_f1()[epoch - 1] == pytest.approx(
            frame_macro_f1(frames.labels, logits), abs=2e-3
        )  # a tie may be rounded differently


def test_a_training_is_deterministic_and_calls_back_after_each_epoch(frames, folds, cv):
    calls = []
    again = cv_folds(frames, folds, CONFIG)
    again.train(CONFIG.epochs, on_epoch=lambda epoch, alive: calls.append((epoch, alive)))
    np.testing.assert_array_equal(again.logits(0, 3)[0], cv.logits(0, 3)[0])
    assert calls == [(epoch, 1) for epoch in range(1, CONFIG.epochs + 1)]


def test_an_exception_in_the_callback_ends_the_training(frames, folds):
    def stop(epoch, alive):
        raise KeyboardInterrupt

    validation = cv_folds(frames, folds, CONFIG)
    with pytest.raises(KeyboardInterrupt):
        validation.train(CONFIG.epochs, on_epoch=stop)
    assert validation.population.epoch == 1


def test_the_number_of_epochs_for_a_fold_is_chosen_on_the_other_folds():
    right, wrong = np.diag(np.full(8, 10)), np.roll(np.diag(np.full(8, 10)), 1, axis=1)
    counts = np.stack([np.stack(epoch) for epoch in ([right, wrong, wrong], [wrong, right, wrong], [wrong, right, right])])
    choice = choose_epochs(counts)
    assert choice.final == 3
    assert choice.without_fold == (3, 1, 1)  # without the second or the third fold, two epochs are equal: the fewest


def test_both_modalities_together_beat_each_alone(make_frames):
    frames = make_frames(seed=3, train=16, val=0, noise=3.0)
    folds = {subject.name: index % 2 for index, subject in enumerate(frames.subjects)}
    found = {mode: score(trained(CrossValidation(frames, folds, [replace(CONFIG, mode=mode)]), 10)) for mode in ("fused", "visual", "speech")}
    assert found["visual"] > 0.25 and found["speech"] > 0.25
    assert found["fused"] > max(found["visual"], found["speech"]) + 0.05


def test_labels_shuffled_over_frames_stay_at_chance(frames, folds, cv):
    labels = np.random.default_rng(0).permutation(frames.labels)
    assert score(trained(CrossValidation(replace(frames, labels=labels), folds, [CONFIG]))) < 0.17
    assert score(cv) > 0.4


def test_identity_information_does_not_help_on_held_out_recordings(make_frames):
    """Each subject has one expression throughout, so folds that split a recording would score nearly 1."""
    frames = make_frames(seed=5, train=32, val=0, frames=20, subject_std=3.0)
    subject_index, config = frames.subject_index.astype(np.int64), replace(CONFIG, batch_size=32)
    frames = replace(frames, labels=(np.random.default_rng(0).permutation(32) % 8)[subject_index].astype(np.int8))
    fair = CrossValidation(frames, {subject.name: index // 16 for index, subject in enumerate(frames.subjects)}, [config])
    halves = tuple(SubjectTrack(video=f"{subject.video}-{part}x", track=f"{subject.video}-{part}x") for subject in frames.subjects for part in (0, 1))
    leaky_frames = replace(frames, subjects=halves, subject_index=(2 * subject_index + (frames.frame % 2)).astype(np.int32))
    leaky = CrossValidation(leaky_frames, {subject.name: index % 2 for index, subject in enumerate(halves)}, [config])
    assert score(trained(fair)) < 0.3
    assert score(trained(leaky)) > 0.7


def test_out_of_fold_scores_are_grouped_by_subject(frames, cv):
    scores = cv.out_of_fold(cv.logits(0, CONFIG.epochs)[0])
    assert [subject_scores.name for subject_scores in scores] == [subject.name for subject in frames.subjects]
    assert sum(len(subject_scores.labels) for subject_scores in scores) == len(frames)
    for subject_scores in scores:
        rows = frames.rows_of_subjects([subject_scores.name])
        np.testing.assert_array_equal(subject_scores.time, frames.time[rows])
        np.testing.assert_array_equal(subject_scores.labels, frames.labels[rows])
        np.testing.assert_array_equal(subject_scores.scored, frames.scored("fused")[rows])


def test_official_settings_do_not_depend_on_validation(frames):
    folds = train_folds(frames)
    trial = trained(official_folds(frames, folds, [QUICK]), 1)
    logits, _ = trial.logits(0, 1)
    val = frames.rows_of_subjects(frames.subject_names("val"))
    assert (trial.fold_of_row[val] == -1).all() and np.isnan(logits[val]).all()
    labels, visual = frames.labels.copy(), frames.visual.copy()
    labels[val], visual[val] = 0, 3
    blind = trained(official_folds(replace(frames, labels=labels, visual=visual), folds, [QUICK]), 1)
    np.testing.assert_array_equal(blind.logits(0, 1)[0], logits)
    assert [one.name for one in trial.out_of_fold(logits)] == frames.subject_names("train")


def test_official_folds_with_a_validation_subject_are_rejected(frames):
    folds = train_folds(frames) | {frames.subject_names("val")[0]: 0}
    with pytest.raises(ProtocolError, match="not in Train_Set"):
        official_folds(frames, folds, [QUICK])


def test_cv_folds_with_a_missing_subject_are_rejected(frames, folds):
    for wrong in (train_folds(frames), {name: fold for name, fold in folds.items() if name != "105"}):
        with pytest.raises(ProtocolError, match="exactly the subjects of train and validation"):
            cv_folds(frames, wrong, QUICK)


def test_the_official_model_is_trained_on_all_of_train_and_scores_exactly_validation(frames, official):
    assert official.provenance.subjects == set(frames.subject_names("train"))
    rows, logits, _ = score_official_val(official, frames)
    np.testing.assert_array_equal(rows, frames.rows_of_subjects(frames.subject_names("val")))
    assert frame_macro_f1(frames.labels[rows], logits) > 0.3


def test_no_cv_model_ever_scores_the_official_validation_set(frames, cv_models):
    for model in cv_models:
        with pytest.raises(ProtocolError, match="official_val: the model was trained on"):
            score_official_val(model, frames)


def test_the_official_model_is_rejected_as_a_fold_model_for_its_training_subjects(frames, official):
    with pytest.raises(ProtocolError, match="trained on '100', so it may not score it"):
        score_ensemble([official], frames, ["100"])


def test_a_fold_model_is_rejected_for_another_subject_of_a_training_recording(cv_models):
    model = next(model for model in cv_models if "100" in model.provenance.subjects)
    sibling = SubjectTrack(video="100", track="100_right")
    with pytest.raises(ProtocolError, match="'100_right'"):
        check_cv(model.provenance, [sibling])


def test_a_test_subject_that_shares_a_recording_with_training_is_scored(frames, official):
    subject = next(subject for subject in frames.subjects if subject.split == "val")
    at = frames.subjects.index(subject)
    sibling = replace(subject, video="100", track="100_right", split="test")
    related = replace(frames, subjects=(*frames.subjects[:at], sibling, *frames.subjects[at + 1 :]))
    rows, _, _ = score_ensemble([official], related, ["100_right"])
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
        CrossValidation(siblings, wrong, [QUICK])


def test_an_encoder_trained_on_face_crops_of_held_out_subjects_is_rejected_by_both_protocols(frames, folds):
    leaking = replace(frames, encoder_train_subjects=frozenset({"100"}))
    with pytest.raises(ProtocolError, match="encoder: trained on face crops of recording '100'"):
        cv_folds(leaking, folds, QUICK)
    with pytest.raises(ProtocolError, match="encoder: trained on face crops of recording '100'"):
        official_folds(leaking, train_folds(frames), [QUICK])
    val = frames.subject_names("val")[0]
    with pytest.raises(ProtocolError, match="its encoder was trained on 1 subjects of Validation_Set"):
        score_official_val(train_official(replace(frames, encoder_train_subjects=frozenset({val})), QUICK, 1), frames)


def test_one_encoder_per_fold_is_accepted_if_trained_on_the_other_folds_alone(frames, folds):
    other_folds = frozenset(name for name, fold in folds.items() if fold != 1)
    own = replace(frames, encoder_train_subjects=other_folds)
    validation = trained(CrossValidation(own, folds, [QUICK], only=1), 1)
    (model,), (logits, _) = validation.models(0, 1), validation.logits(0, 1)
    assert model.provenance.encoder_train_subjects == model.provenance.subjects == other_folds
    rows = np.flatnonzero(np.isfinite(logits[:, 0]))
    assert {folds[frames.subjects[index].name] for index in frames.subject_index[rows]} == {1}
    assert set(np.unique(validation.fold_of_row)) == {-1, 1}
    with pytest.raises(ProtocolError, match="encoder"):
        CrossValidation(own, folds, [QUICK], only=0)


def test_the_ensemble_gives_the_mean_probability_for_new_subjects(cv_models, make_frames):
    new = make_frames(seed=9, train=0, val=2)
    new = replace(new, subjects=tuple(SubjectTrack(video=f"new{index}", track=f"new{index}", split="test") for index in range(2)))
    rows, logits, gate = score_ensemble(cv_models, new, new.subject_names("test"))

    def softmax(values):
        exp = np.exp(values - values.max(axis=1, keepdims=True))
        return exp / exp.sum(axis=1, keepdims=True)

    each = [predict_logits(model, new, rows) for model in cv_models]
    scored = new.scored("fused")[rows]
    np.testing.assert_allclose(softmax(logits[scored]), np.mean([softmax(one[scored]) for one, _ in each], axis=0), atol=1e-5)
    np.testing.assert_allclose(gate[scored], np.mean([two[scored] for _, two in each], axis=0), atol=1e-6)
    assert np.isnan(logits[~scored]).all()
