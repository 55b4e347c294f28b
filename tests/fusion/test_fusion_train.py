from dataclasses import replace

import numpy as np
import pytest
import torch

from abaw_ray.core.errors import DataError
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.train import frame_macro_f1, predict_logits, train_fusion

SMALL = FusionConfig(hidden_dim=32, epochs=5, batch_size=128)


def equal_weights(one, two):
    first, second = one.model.state_dict(), two.model.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_same_seed_gives_the_same_model_and_another_seed_another_one(frames):
    torch.manual_seed(1)
    one = train_fusion(frames, SMALL)
    torch.manual_seed(2)
    assert equal_weights(one, train_fusion(frames, SMALL))
    assert not equal_weights(one, train_fusion(frames, replace(SMALL, seed=1)))


def test_training_does_not_change_the_global_random_state(frames):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_fusion(frames, replace(SMALL, epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_other_rows_unlabelled_frames_and_missing_vectors_do_not_affect_the_model(frames):
    rows = frames.rows_of_subjects(frames.subject_names("train"))
    plain = train_fusion(frames, SMALL, rows=rows)
    visual, labels = frames.visual.copy(), frames.labels.copy()
    outside = frames.rows_of_subjects(frames.subject_names("val"))
    visual[outside], labels[outside] = 9, 3
    visual[frames.labels < 0] = 9
    labels[~frames.scored("fused")] = 2
    assert equal_weights(plain, train_fusion(replace(frames, visual=visual, labels=labels), SMALL, rows=rows))


def test_validation_rows_do_not_affect_training(frames):
    rows, val = frames.rows_of_subjects(frames.subject_names("train")), frames.rows_of_subjects(frames.subject_names("val"))
    validated = train_fusion(frames, SMALL, rows=rows, val_rows=val)
    assert equal_weights(train_fusion(frames, SMALL, rows=rows), validated)
    assert [epoch["epoch"] for epoch in validated.curve] == [1, 2, 3, 4, 5]
    assert validated.curve[-1]["loss"] < validated.curve[0]["loss"]
    logits, _ = predict_logits(validated, frames, val)
    assert validated.curve[-1]["macro_f1"] == frame_macro_f1(frames.labels[val], logits)


@pytest.mark.parametrize("mode", ["fused", "visual", "speech"])
def test_exactly_the_frames_with_a_vector_of_the_mode_get_scores(frames, mode):
    trained = train_fusion(frames, replace(SMALL, mode=mode, epochs=1))
    logits, gate = predict_logits(trained, frames)
    scored = frames.scored(mode)
    assert logits.dtype == gate.dtype == np.float32
    assert np.isfinite(logits[scored]).all() and np.isnan(logits[~scored]).all() and np.isnan(gate[~scored]).all()
    only_face, only_voice = frames.seen & ~frames.heard, frames.heard & ~frames.seen
    if mode == "fused":
        assert (gate[only_face] == 1).all() and (gate[only_voice] == 0).all()
    else:
        assert (gate[scored] == (mode == "visual")).all()


@pytest.mark.parametrize(("mode", "other"), [("visual", "speech"), ("speech", "visual")])
def test_a_model_of_one_modality_never_reads_the_other_in_training_or_prediction(frames, mode, other):
    config = replace(SMALL, mode=mode, epochs=2)
    changed = replace(frames, **{other: np.full_like(getattr(frames, other), 5)})
    one, two = train_fusion(frames, config), train_fusion(changed, config)
    np.testing.assert_array_equal(predict_logits(one, frames)[0], predict_logits(two, changed)[0])


def test_the_scores_of_a_subject_do_not_depend_on_other_subjects(frames):
    trained = train_fusion(frames, SMALL)
    whole, _ = predict_logits(trained, frames)
    rows = frames.rows_of_subjects(["103"])
    alone, _ = predict_logits(trained, frames, rows)
    np.testing.assert_allclose(alone, whole[rows], atol=1e-5)


def test_read_only_arrays_are_accepted(frames):
    visual = frames.visual.copy()
    visual.setflags(write=False)
    assert equal_weights(train_fusion(frames, SMALL), train_fusion(replace(frames, visual=visual), SMALL))


def test_training_without_usable_frames_raises_a_data_error(frames):
    with pytest.raises(DataError, match="none of 1,920 training frames"):
        train_fusion(replace(frames, labels=np.full(len(frames), -1, np.int8)), SMALL)


def test_frame_macro_f1_counts_labelled_scored_frames_only():
    logits = np.eye(8, dtype=np.float32)[[0, 1, 2, 3]]
    logits[3] = np.nan
    assert frame_macro_f1(np.array([0, 1, -1, 5], np.int8), logits) == pytest.approx(2 / 8)
    assert frame_macro_f1(np.array([5], np.int8), logits[3:]) == 0
