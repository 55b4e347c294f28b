import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.settings import digest, from_plain, to_plain
from abaw_ray.features.config import DeviceConfig, RandomWav2VecConfig, SpeechConfig
from abaw_ray.features.speech import SpeechFeatures, has_audio
from abaw_ray.media.audio import RATE, Audio, windows

SMALL = RandomWav2VecConfig(conv_dim=16, hidden_size=32, num_hidden_layers=1)
CONTEXT = SpeechConfig(weights="random", window_s=0.8, chunk_s=5.0, margin_s=1.0, pooling="mean_std", random=SMALL)
WINDOWS = replace(CONTEXT, mode="windows")
TIMES = np.cumsum(np.random.default_rng(1).uniform(1 / 60, 1 / 4, size=80))


@pytest.fixture(scope="module", params=["context", "windows"])
def features(request):
    return SpeechFeatures(replace(CONTEXT, mode=request.param))


def assert_close(one, two, atol=2e-2):
    np.testing.assert_allclose(one.astype(np.float32), two.astype(np.float32), atol=atol)


def slow_context(extractor, audio, times):
    """One chunk at a time; the states of each window are selected one by one."""
    config, (low, high) = extractor.config, audio.audible_spans()[0]
    samples = audio.samples[low:high].astype(np.float64)
    samples = ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).astype(np.float32)
    out = []
    for time in times:
        center = (time - audio.start) * RATE
        number = int(np.clip(center, 0, len(samples) - 1) // (3 * RATE))
        first = min(max(number * 3 * RATE - RATE, 0), len(samples) - 5 * RATE)
        states = extractor.model.states(samples[None, first : first + 5 * RATE], config.layer)[0].numpy()
        centers = [first + extractor.model.stride * j + (extractor.model.receptive_field - 1) / 2 for j in range(len(states))]
        inside = states[[abs(position - center) <= config.window_s * RATE / 2 for position in centers]]
        out.append(np.concatenate([inside.mean(axis=0), inside.std(axis=0)]))
    return np.array(out)


def slow_windows(extractor, audio, times):
    """Each window by itself, as the published processor and model would take it."""
    out = []
    for samples in windows(audio, times, width=extractor.config.window_s)[0]:
        samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        states = extractor.model.states(samples[None].astype(np.float32), extractor.config.layer)[0].numpy()
        out.append(np.concatenate([states.mean(axis=0), states.std(axis=0)]))
    return np.array(out)


def test_mode_context_pools_the_states_around_each_frames_own_time(speech):
    extractor = SpeechFeatures(CONTEXT)
    vectors, heard = extractor(speech, TIMES)
    assert heard.all() and vectors.dtype == np.float16 and vectors.shape == (80, 64)
    assert_close(vectors, slow_context(extractor, speech, TIMES), 4e-3)


def test_long_audio_is_normalized_as_one_utterance_although_it_is_read_in_blocks(speech, monkeypatch):
    extractor = SpeechFeatures(CONTEXT)
    monkeypatch.setattr("abaw_ray.features.speech._BLOCK", 999)
    assert_close(extractor(speech, TIMES)[0], slow_context(extractor, speech, TIMES), 4e-3)


def test_mode_windows_uses_a_separate_window_around_each_frames_own_time(speech):
    extractor = SpeechFeatures(WINDOWS)
    some = TIMES[(TIMES > 0.1) & (TIMES < 11)][::7]
    assert_close(extractor(speech, some)[0], slow_windows(extractor, speech, some), 4e-3)


def test_the_two_modes_are_different_features_with_different_digests(speech):
    one, two = (SpeechFeatures(config)(speech, TIMES)[0].astype(np.float32) for config in (CONTEXT, WINDOWS))
    assert np.abs(one - two).max() > 0.1
    assert digest(CONTEXT) != digest(WINDOWS)


@pytest.mark.parametrize("config", [CONTEXT, WINDOWS])
def test_every_frame_uses_the_audio_of_its_own_time_at_a_variable_frame_rate(config):
    """Each sample is its own time and a state is the sample at its center, so each vector must equal its frame's time (trap 6)."""
    extractor = SpeechFeatures(replace(config, pooling="mean"))
    extractor.model.normalize = False
    extractor.model.states = lambda sound, layer: torch.from_numpy(sound[:, np.round(extractor.model.centers(sound.shape[1])).astype(int), None])
    ramp = Audio((np.arange(16 * RATE) / RATE).astype(np.float32), 0.0)
    times = np.sort(np.concatenate([np.random.default_rng(0).uniform(0.5, 15.5, size=80), np.arange(3, 5, 1 / 60)]))
    out = extractor(ramp, times)[0][:, 0].astype(np.float64)
    np.testing.assert_allclose(out, times, atol=0.02)


def test_a_vector_depends_on_its_frames_time_and_not_on_other_frames(features, speech):
    order = np.random.default_rng(2).permutation(len(TIMES))
    whole, mixed = features(speech, TIMES)[0], features(speech, TIMES[order])[0]
    assert_close(mixed, whole[order], 2e-3)
    assert_close(features(speech, TIMES[40:41])[0], whole[40:41], 2e-3)


def test_shifting_audio_and_frames_together_changes_nothing(features, speech):
    assert_close(features(Audio(speech.samples, speech.start + 100.0), TIMES + 100.0)[0], features(speech, TIMES)[0], 2e-2)


def test_frames_without_audio_have_no_vector_and_silent_ones_have(features):
    silence = Audio(np.zeros(3 * RATE, np.float32), 2.0)
    times = np.arange(0, 8, 0.05)
    vectors, heard = features(silence, times)
    np.testing.assert_array_equal(heard, windows(silence, times, width=0.8)[1])
    assert heard[(times > 2) & (times < 5)].all() and not heard[times < 1.5].any() and not heard[times > 5.5].any()
    assert np.isfinite(vectors).all()
    assert not vectors[~heard].any()


@pytest.mark.parametrize("audio", [None, Audio(np.zeros(0, np.float32), 0.0), Audio(np.zeros(0, np.float32), 0.0, np.zeros((0, 2), np.int64))])
def test_a_video_without_audio_has_no_vectors(features, audio):
    vectors, heard = features(audio, TIMES)
    assert not heard.any() and vectors.shape == (80, features.dim)


def test_has_audio_agrees_with_the_windows_that_are_cut():
    rng = np.random.default_rng(5)
    audio = Audio(rng.normal(size=4 * RATE).astype(np.float32), 0.3137, np.array([[100, 9_000], [40_000, 64_000]]))
    times = rng.uniform(-2, 7, size=4000)
    np.testing.assert_array_equal(has_audio(audio, times, 0.31), windows(audio, times, width=0.31)[1])


def test_samples_in_a_gap_of_the_audio_are_ignored(features, speech):
    spans = np.array([[0, 4 * RATE], [7 * RATE, 12 * RATE]])
    versions = []
    for filler in (0.0, 0.9):
        samples = speech.samples.copy()
        samples[4 * RATE : 7 * RATE] = filler
        versions.append(Audio(samples, 0.0, spans))
    with_zeros, with_noise = (features(audio, np.arange(0, 12, 0.1)) for audio in versions)
    np.testing.assert_array_equal(with_zeros[1], with_noise[1])
    assert not with_zeros[1][(np.arange(0, 12, 0.1) > 4.5) & (np.arange(0, 12, 0.1) < 6.5)].any()
    if features.config.mode == "context":
        np.testing.assert_array_equal(with_zeros[0], with_noise[0])


def test_gain_and_offset_of_a_recording_do_not_matter(features, speech):
    assert_close(features(Audio(0.1 * speech.samples + 0.05, speech.start), TIMES)[0], features(speech, TIMES)[0])


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.3])
def test_audio_shorter_than_a_state_or_a_window_still_gives_finite_vectors(features, speech, seconds):
    short = Audio(speech.samples[: round(seconds * RATE)], 1.0)
    vectors, heard = features(short, TIMES)
    assert heard.any() and not heard.all()
    assert np.isfinite(vectors).all() and np.abs(vectors[heard]).max() > 0


def test_no_forward_pass_exceeds_the_batch_size_or_the_chunk(speech):
    long = Audio(np.tile(speech.samples, 8), 0.0)
    for config in (CONTEXT, WINDOWS):
        extractor, shapes = SpeechFeatures(config, DeviceConfig(speech_batch_size=2)), []
        inner = extractor.model.states
        extractor.model.states = lambda sound, layer, inner=inner, shapes=shapes: (shapes.append(sound.shape), inner(sound, layer))[1]
        extractor(long, np.arange(0, 96, 0.4))
        assert max(rows for rows, _ in shapes) <= (2 if config is CONTEXT else 16)
        assert {samples for _, samples in shapes} == {round((5.0 if config is CONTEXT else 0.8) * RATE)}


def test_chunks_without_frames_are_skipped(speech):
    extractor, passes = SpeechFeatures(CONTEXT, DeviceConfig(speech_batch_size=1)), []
    inner = extractor.model.states
    extractor.model.states = lambda sound, layer: (passes.append(1), inner(sound, layer))[1]
    extractor(Audio(np.tile(speech.samples, 8), 0.0), np.array([1.0, 1.1, 50.0]))
    assert len(passes) == 2


def test_layer_and_pooling_follow_the_settings(speech):
    short = Audio(speech.samples[: 4 * RATE], 0.0)
    each = [SpeechFeatures(replace(CONTEXT, layer=layer, pooling="mean"))(short, TIMES[:5])[0].astype(np.float32) for layer in (0, 1, "mean", -1)]
    assert_close(each[2], (each[0] + each[1]) / 2, 4e-3)
    assert_close(each[1], each[3], 1e-6)
    assert np.abs(each[0] - each[1]).max() > 0.01
    assert each[0].shape[1] * 2 == SpeechFeatures(CONTEXT).dim


def test_several_layers_give_their_mean_in_both_modes(speech):
    deep = replace(CONTEXT, pooling="mean", random=replace(SMALL, num_hidden_layers=3))
    for mode in ("context", "windows"):
        first, last, both, every = (
            SpeechFeatures(replace(deep, mode=mode, layer=layer))(speech, TIMES[:5])[0].astype(np.float32) for layer in (1, -1, (1, 3), "mean")
        )
        assert_close(both, (first + last) / 2, 4e-3)
        assert np.abs(both - every).max() > 0.01
        assert_close(SpeechFeatures(replace(deep, mode=mode, layer=(0, 1, 2, 3)))(speech, TIMES[:5])[0], every, 1e-6)


def test_the_choice_of_layers_is_part_of_the_address_and_is_read_back():
    several = replace(CONTEXT, layer=(6, 7, 8))
    assert len({digest(one) for one in (CONTEXT, several, replace(CONTEXT, layer=6), replace(CONTEXT, layer=(6, 7)))}) == 4
    for config in (several, replace(CONTEXT, layer=-1), CONTEXT):
        assert from_plain(SpeechConfig, json.loads(json.dumps(to_plain(config)))) == config


def test_an_overflow_of_half_precision_is_an_error(speech):
    extractor = SpeechFeatures(CONTEXT)
    inner = extractor.model.states
    extractor.model.states = lambda sound, layer: inner(sound, layer) * 1e6
    with pytest.raises(StageError, match="not finite in half precision"):
        extractor(speech, TIMES)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window_s": 0.01}, "too short"),
        ({"window_s": 5.0}, "at least half of window_s"),
        ({"chunk_s": 2.0}, "longer than two margins"),
        ({"weights": ""}, "is empty"),
        ({"layer": ()}, "give at least one layer"),
        ({"layer": (1, 1)}, "none twice"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        replace(CONTEXT, **wrong)


def test_a_missing_layer_and_a_window_shorter_than_one_state_are_refused_on_loading():
    with pytest.raises(ConfigError, match="has layers 0 to 1"):
        SpeechFeatures(replace(CONTEXT, layer=7))
    with pytest.raises(ConfigError, match=r"speech\.layer=\(0, 7\): the model has layers 0 to 1, or mean"):
        SpeechFeatures(replace(CONTEXT, layer=(0, 7)))
    with pytest.raises(ConfigError, match="names a layer twice"):
        SpeechFeatures(replace(CONTEXT, layer=(1, -1)))
    with pytest.raises(ConfigError, match="shorter than one state"):
        SpeechFeatures(replace(WINDOWS, window_s=0.06))


def test_frames_whose_windows_have_no_state_take_the_nearest_one_on_either_side_of_a_gap():
    extractor = SpeechFeatures(replace(CONTEXT, pooling="mean"))
    extractor.model.normalize = False
    extractor.model.states = lambda sound, layer: torch.from_numpy(sound[:, np.round(extractor.model.centers(sound.shape[1])).astype(int), None])
    spans = np.array([[0, RATE], [3 * RATE, 4 * RATE]])  # a gap of two seconds, more than twice the window
    ramp = Audio((np.arange(4 * RATE) / RATE).astype(np.float32), 0.0, spans)
    edge = extractor.config.window_s / 2 - 2 / RATE  # the window has one or two samples of audio
    vectors, heard = extractor(ramp, np.array([1 + edge, 3 - edge]))
    assert heard.all()
    np.testing.assert_allclose(vectors[:, 0].astype(float), [1, 3], atol=0.03)
