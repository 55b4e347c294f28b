"""The protocol ``cv`` with one encoder per fold, on frames whose vectors differ by encoder."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import StageError
from abaw_ray.fusion.config import FusionConfig, FusionOptimConfig
from abaw_ray.fusion.evaluation.fold_encoders import CrossValidationByEncoder, score_ensemble_by_encoder
from abaw_ray.fusion.evaluation.leakage import ProtocolError
from abaw_ray.fusion.evaluation.protocols import cv_folds, score_ensemble, score_official_val, train_official
from abaw_ray.fusion.frames import SubjectTrack, with_visual
from abaw_ray.fusion.inference import predict_logits

QUICK = FusionConfig(hidden_dim=32, epochs=2, batch_size=128, rows_per_second=0, optim=FusionOptimConfig(lr=4e-3))


def cross_validate(frames_of, folds):
    validation = CrossValidationByEncoder(frames_of, folds, QUICK)
    validation.train(QUICK.epochs)
    return validation


def by_encoder(frames, folds, fold, **changes):
    """Frames with the vectors of the encoder of one fold: those of the others rotated, so that a mix of encoders would show."""
    visual = np.roll(frames.visual, fold, axis=1)
    seen = frozenset(name for name, number in folds.items() if number != fold)
    return replace(frames, **{"visual": visual, "encoder_train_subjects": seen} | changes)


@pytest.fixture(scope="module")
def cv(frames, folds):
    return cross_validate(lambda fold: by_encoder(frames, folds, fold), folds)


def test_every_fold_is_trained_and_scored_on_the_features_of_its_own_encoder(frames, folds, cv):
    logits, _ = cv.logits(0, 2)
    assert cv.frames.visual.shape == (len(frames), 0) and len(cv.out_of_fold(logits)) == len(frames.subjects)
    for fold, model in enumerate(cv.models(0, 2)):
        own = by_encoder(frames, folds, fold)
        assert model.provenance.encoder_train_subjects == own.encoder_train_subjects
        rows = np.flatnonzero(cv.fold_of_row == fold)
        np.testing.assert_allclose(logits[rows], predict_logits(model, own, rows)[0], atol=1e-5)


def test_equal_vectors_give_the_result_of_one_encoder(frames, folds):
    result, plain = cross_validate(lambda fold: by_encoder(frames, folds, fold, visual=frames.visual), folds), cv_folds(frames, folds, QUICK)
    plain.train(QUICK.epochs)
    for one, two in zip(result.logits(0, 2), plain.logits(0, 2), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)  # a product of one matrix may be rounded differently
    assert result.epochs(0) == plain.epochs(0)


def test_features_of_an_encoder_that_has_seen_a_held_out_recording_are_refused(frames, folds):
    with pytest.raises(ProtocolError, match="encoder: trained on face crops of recording"):
        cross_validate(lambda fold: by_encoder(frames, folds, (fold + 1) % 3), folds)


def test_features_that_do_not_state_the_subjects_of_their_encoder_are_refused(frames, folds):
    with pytest.raises(ProtocolError, match="fold 0 do not state whose face crops trained their encoder"):
        cross_validate(lambda fold: frames, folds)


def test_sets_of_other_rows_or_subjects_are_refused(frames, folds):
    def shifted(fold):
        own = by_encoder(frames, folds, fold)
        return replace(own, frame=own.frame + (fold == 1)) if fold else own

    with pytest.raises(ProtocolError, match="the frames of two encoders are not the same"):
        cross_validate(shifted, folds)


def test_the_ensemble_on_the_test_release_uses_each_model_with_its_own_encoder(make_frames, folds, cv):
    new = make_frames(seed=9, train=0, val=2)
    new = replace(new, subjects=tuple(SubjectTrack(video=f"new{index}", track=f"new{index}", split="test") for index in range(2)))
    models = cv.models(0, 2)
    common, rows, logits, _ = score_ensemble_by_encoder(models, lambda fold: by_encoder(new, folds, fold))
    assert len(common) == len(rows) == len(new)
    each = []
    for fold, model in enumerate(models):
        values = predict_logits(model, by_encoder(new, folds, fold), rows)[0]
        exp = np.exp(values - values.max(axis=1, keepdims=True))
        each.append(exp / exp.sum(axis=1, keepdims=True))
    scored = new.scored("fused")
    np.testing.assert_allclose(np.exp(logits[scored]), np.mean(each, axis=0)[scored], atol=1e-5)
    with pytest.raises(ProtocolError, match="the model was trained on features of another encoder"):
        score_ensemble_by_encoder(models, lambda fold: by_encoder(new, folds, 0))
    with pytest.raises(ProtocolError, match="the model was trained on features of another encoder"):
        score_ensemble(models, new, new.subject_names("test"))


def test_a_test_subject_whose_chips_trained_an_encoder_is_refused_and_one_of_its_recording_is_not(frames, make_frames):
    new = make_frames(seed=9, train=0, val=1)
    sibling = SubjectTrack(video="100", track="100_right", split="test")
    for name, refused in (("100_right", True), ("100", False)):
        seen = frozenset({name})
        model = train_official(replace(frames, encoder_train_subjects=seen), QUICK, 1)
        related = replace(new, subjects=(sibling,), encoder_train_subjects=seen)
        if refused:
            with pytest.raises(ProtocolError, match="test: its encoder was trained on '100_right'"):
                score_ensemble([model], related, ["100_right"])
        else:
            assert len(score_ensemble([model], related, ["100_right"])[0]) == len(related)


def test_the_official_model_scores_validation_with_the_features_of_its_encoder_alone(frames):
    own = replace(frames, encoder_train_subjects=frozenset(frames.subject_names("train")))
    trained = train_official(own, QUICK, 1)
    assert len(score_official_val(trained, own)[0]) > 0
    with pytest.raises(ProtocolError, match="the model was trained on features of another encoder"):
        score_official_val(trained, frames)


def test_vectors_of_another_encoder_are_joined_by_equal_rows_alone():
    key = {"video": ["v"] * 2, "track": ["t"] * 2, "frame": pa.array([1, 2], pa.int32()), "seen": [True, False]}
    visual = pa.table({**key, "visual": pa.array([[1.0, 2.0], None], pa.list_(pa.float16(), 2))}).cast(
        pa.schema([pa.field(field.name, field.type) for field in schema.visual_feature(2)])
    )
    joined = with_visual(pa.table(key), visual)
    assert joined["visual"].to_pylist() == [[1.0, 2.0], None]
    for column, values in (("frame", pa.array([2, 1], pa.int32())), ("seen", pa.array([True, True]))):
        other = visual.set_column(visual.column_names.index(column), column, values)
        with pytest.raises(StageError, match=f"the features of two encoders differ in '{column}'"):
            with_visual(pa.table(key), other)
