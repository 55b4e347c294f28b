"""The comparison of the modes of the speech features of tools/data, with a tiny model and small frames."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from abaw_ray.features.config import RandomWav2VecConfig, SpeechConfig
from abaw_ray.features.speech import SpeechFeatures
from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.media.audio import RATE, Audio
from abaw_ray.scoring.evaluation import Evaluation
from tools.data import compare_speech
from tools.data.compare_speech import VIEWS, BothModels, BothModes, agreement, compare, cosines, measure_clips, score_model, speech_of_frames
from tools.data.synthetic_search import SyntheticData

TINY = SpeechConfig(weights="random", random=RandomWav2VecConfig(conv_dim=8, hidden_size=16, num_hidden_layers=1))
CONFIG = SweepConfig(fusion=FusionConfig(hidden_dim=16, epochs=2, batch_size=128), trials=1, candidates=2, folds=2)


@pytest.fixture
def audio(monkeypatch):
    """Every file's audio: six seconds of a tone that glides."""
    time = np.arange(6 * RATE) / RATE
    sound = Audio(np.sin(2 * np.pi * (200 * time + 40 * time**2)).astype(np.float32), 0.0)
    monkeypatch.setattr(compare_speech, "decode_audio", lambda uri: sound)
    return sound


def test_the_cosine_is_one_for_equal_directions_and_zero_for_a_zero_vector():
    one, two = np.array([[1.0, 2.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[2.0, 4.0], [-3.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(cosines(one, two), [1, -1, 0])


def test_the_centered_cosine_ignores_a_constant_that_one_mode_adds_and_frames_without_audio():
    vectors, heard = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float16), np.arange(20) < 15
    other = np.where(heard[:, None], vectors + np.float16(8), 99).astype(np.float16)
    figures = agreement(BothModes(vectors, other, heard, {"windows": 6.0, "context": 2.0}))
    assert figures["centered_cosine_median"] == pytest.approx(1, abs=1e-3) and figures["cosine_median"] < 0.9
    assert (figures["heard"], figures["windows_over_context_cpu"]) == (15, 3.0)


def test_every_frame_of_both_subjects_of_a_video_gets_the_vectors_of_its_own_time(frames, audio):
    kept = frames.rows_of_subjects([subject.name for subject in frames.subjects[:2]])[::9]
    names = ("time", "heard", "seen", "frame", "shot", "labels", "subject_index", "visual", "speech")
    subjects = tuple(replace(subject, video="v") for subject in frames.subjects[:2])
    few = replace(frames, subjects=subjects, **{name: getattr(frames, name)[kept] for name in names})
    both = speech_of_frames(few, {"v": "v.mp4"}, BothModels(TINY))
    for mode in ("windows", "context"):
        vectors, heard = SpeechFeatures(replace(TINY, mode=mode))(audio, few.time)
        np.testing.assert_allclose(getattr(both, mode).astype(np.float32), vectors.astype(np.float32), atol=5e-3)
        np.testing.assert_array_equal(both.heard, heard)
        assert both.cpu_s[mode] > 0


def test_clips_have_cosine_and_cost(audio, monkeypatch, tmp_path):
    monkeypatch.setattr(compare_speech, "decode", lambda uri: [SimpleNamespace(time=time) for time in (0.5, 1.0, 50.0)])
    monkeypatch.setattr(compare_speech, "SpeechConfig", lambda weights: replace(TINY, weights=weights))
    (figures,) = measure_clips((tmp_path / "clip.mp4",), "random").values()
    assert (figures["frames"], figures["heard"]) == (3, 2)
    assert -1 <= figures["cosine_5th_percentile"] <= figures["cosine_median"] <= 1 and figures["windows_over_context_cpu"] > 0
    assert measure_clips((), "random") == {}


@pytest.mark.parametrize("mode", ["fused", "speech"])
def test_a_model_of_speech_is_scored_on_all_frames_as_the_fused_one(mode, frames):
    train = {one.name: frames.labels[frames.subject_index == index] for index, one in enumerate(frames.subjects) if one.split == "train"}
    views = score_model(SyntheticData(frames, train, CONFIG), mode)
    rows = frames.rows_of_subjects(frames.subject_names("val"))
    assert tuple(views) == VIEWS
    assert views["validation"].counts.sum() == (frames.labels[rows] >= 0).sum()


def test_the_difference_is_windows_minus_context():
    right = np.tile(np.diag(np.full(8, 10)), (5, 1, 1))
    wrong = np.roll(right, 1, axis=2)
    found = {"windows": [right, right], "context": [right, wrong]}
    names = tuple("abcde")
    (row,) = compare({("speech", "validation", mode): [Evaluation(names, counts) for counts in of_seeds] for mode, of_seeds in found.items()})
    assert (row["windows"], row["context"], row["difference"]) == ([1.0, 1.0], [1.0, 0.0], pytest.approx(0.5))
    assert row["interval"] == pytest.approx([0.5, 0.5])
