from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from abaw_ray.core.errors import DataError
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.evaluation.cross_validation import train_on_all
from abaw_ray.fusion.inference import predict_logits
from abaw_ray.fusion.population.windows import PADDING, FrameSequence, prediction_windows, uninterrupted

SMALL = FusionConfig(hidden_dim=32, batch_size=128, rows_per_second=0)


def train(frames, config=SMALL, epochs=3, split=None):
    return train_on_all(frames, np.array([split in (None, subject.split) for subject in frames.subjects]), config, epochs)


def equal_weights(one, two):
    first, second = one.model.state_dict(), two.model.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_same_seed_gives_the_same_model_and_another_seed_another_one(frames):
    torch.manual_seed(1)
    one = train(frames)
    torch.manual_seed(2)
    assert equal_weights(one, train(frames))
    assert not equal_weights(one, train(frames, replace(SMALL, seed=1)))


def test_training_does_not_change_the_global_random_state(frames):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(frames, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_other_subjects_unlabelled_frames_and_missing_vectors_do_not_affect_the_model(frames):
    plain = train(frames, split="train")
    visual, labels = frames.visual.copy(), frames.labels.copy()
    outside = frames.rows_of_subjects(frames.subject_names("val"))
    visual[outside], labels[outside] = 9, 3
    visual[frames.labels < 0] = 9
    labels[~frames.scored("fused")] = 2
    assert equal_weights(plain, train(replace(frames, visual=visual, labels=labels), split="train"))


def test_the_loss_falls(frames):
    curve = train(frames, epochs=5).curve
    assert [row["epoch"] for row in curve] == [1, 2, 3, 4, 5]
    assert curve[-1]["loss"] < curve[0]["loss"]


@pytest.mark.parametrize("mode", ["fused", "visual", "speech"])
@pytest.mark.parametrize("head", ["frame", "conv", "attention"])
def test_exactly_the_frames_with_a_vector_of_the_mode_get_scores(frames, mode, head):
    trained = train(frames, FusionConfig(hidden_dim=16, mode=mode, head=head), epochs=1)
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
    config = replace(SMALL, mode=mode)
    changed = replace(frames, **{other: np.full_like(getattr(frames, other), 5)})
    one, two = train(frames, config), train(changed, config)
    np.testing.assert_array_equal(predict_logits(one, frames)[0], predict_logits(two, changed)[0])


@pytest.mark.parametrize("head", ["frame", "conv", "attention"])
def test_the_scores_of_a_subject_do_not_depend_on_other_subjects(frames, head):
    trained = train(frames, FusionConfig(hidden_dim=16, head=head), epochs=1)
    whole, _ = predict_logits(trained, frames)
    rows = frames.rows_of_subjects(["103"])
    alone, _ = predict_logits(trained, frames, rows)
    np.testing.assert_allclose(alone, whole[rows], atol=1e-5)


@pytest.mark.parametrize("head", ["conv", "attention"])
def test_a_temporal_head_does_not_see_beyond_a_cut(frames, head):
    trained = train(frames, FusionConfig(hidden_dim=16, head=head), epochs=1)
    rows = frames.rows_of_subjects(["103"])
    second = rows[frames.shot[rows] == 1]
    changed = frames.visual.copy()
    changed[second] = 3
    one, two = (predict_logits(trained, data, rows)[0] for data in (frames, replace(frames, visual=changed)))
    first = frames.shot[rows] == 0
    np.testing.assert_array_equal(one[first], two[first])
    assert not np.allclose(one[~first], two[~first], equal_nan=True)


def test_read_only_arrays_are_accepted(frames):
    visual = frames.visual.copy()
    visual.setflags(write=False)
    assert equal_weights(train(frames, epochs=1), train(replace(frames, visual=visual), epochs=1))


def test_training_without_usable_frames_raises_a_data_error(frames):
    with pytest.raises(DataError, match="none of 1,920 training frames"):
        train(replace(frames, labels=np.full(len(frames), -1, np.int8)))


def test_sequences_end_at_cuts_gaps_and_other_subjects_and_have_the_rate_of_their_frames(frames):
    config = FusionConfig(head="conv", rows_per_second=2.0, max_gap_s=0.15)
    sequences = uninterrupted(frames, np.arange(len(frames)), config)
    np.testing.assert_array_equal(np.concatenate([one.rows for one in sequences]), np.arange(len(frames)))
    for one in sequences:
        assert len(set(frames.subject_index[one.rows])) == len(set(frames.shot[one.rows])) == 1
        steps = np.diff(frames.time[one.rows])
        assert (steps <= 0.15).all()
        assert len(steps) == 0 or one.stride == max(1, round(0.5 / np.median(steps)))
    for before, after in pairwise(sequences):
        last, first = before.rows[-1], after.rows[0]
        same = (frames.subject_index[last], frames.shot[last]) == (frames.subject_index[first], frames.shot[first])
        assert not same or frames.time[first] - frames.time[last] > 0.15


@pytest.mark.parametrize("length", [2, 7, 16, 40])
@pytest.mark.parametrize("stride", [1, 3])
def test_windows_cover_every_frame_once_with_frames_on_either_side_where_there_are_some(length, stride):
    for frames in (1, 5, 16, 39, 40, 41, 163):
        sequence, found = FrameSequence(np.arange(100, 100 + frames), stride), []
        for windows, counted in prediction_windows([sequence], length):
            found.append(windows[counted])
            assert (windows[counted] != PADDING).all()
            for window, counts in zip(windows, counted, strict=True):
                rows, places = window[counts], np.flatnonzero(counts)
                if len(rows) and rows[0] - stride * (length // 4) >= 100:  # that many earlier frames of the phase exist
                    assert places[0] >= length // 4
        assert sorted(np.concatenate(found)) == list(range(100, 100 + frames))
