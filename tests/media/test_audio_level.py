"""Levels of audio in dBFS agree with their definition, also with gaps."""

import numpy as np
import pytest

from abaw_ray.media.audio import RATE, Audio
from abaw_ray.media.playback.audio_level import FLOOR, audio_level


def slow_level(audio, window_s):
    """The definition: window by window, sample by sample that is in a span."""
    width, spans = round(window_s * RATE), audio.audible_spans()
    heard = np.zeros(len(audio.samples), bool)
    for begin, end in spans:
        heard[begin:end] = True
    times, levels = [], []
    for first in range(0, len(audio.samples), width):
        samples = audio.samples[first : first + width][heard[first : first + width]].astype(float)
        power = np.mean(samples**2) if len(samples) else np.nan
        times.append(audio.start + (first + width / 2) / RATE)
        levels.append(np.nan if np.isnan(power) else max(10 * np.log10(power), FLOOR) if power else FLOOR)
    return np.array(times), np.array(levels)


@pytest.mark.parametrize("window_s", [0.1, 0.013])
@pytest.mark.parametrize("seconds", [0.05, 1.0, 70.03])
@pytest.mark.parametrize("gaps", [False, True])
def test_levels_agree_with_their_definition(window_s, seconds, gaps):
    rng, count = np.random.default_rng(0), round(seconds * RATE)
    samples = (rng.normal(size=count) * 10.0 ** -rng.uniform(0, 7, count // 4000 + 1).repeat(4000)[:count]).astype(np.float32)
    edges = np.sort(rng.choice(count, 6, replace=False)).reshape(3, 2)
    spans = edges if gaps else None
    if gaps:
        for begin, end in zip([0, *edges[:, 1]], [*edges[:, 0], count], strict=True):
            samples[begin:end] = 0
    audio = Audio(samples, -0.7, spans)
    times, levels = audio_level(audio, window_s=window_s)
    expected_times, expected = slow_level(audio, window_s)
    np.testing.assert_allclose(times, expected_times, atol=1e-9)
    np.testing.assert_allclose(levels, expected, atol=1e-6)


def test_known_signals_have_known_levels():
    second = np.arange(RATE) / RATE
    for samples, level in ((np.sin(2 * np.pi * 1000 * second), -3.01), (np.ones(RATE), 0.0), (np.full(RATE, 0.1), -20.0), (np.zeros(RATE), FLOOR)):
        times, levels = audio_level(Audio(samples.astype(np.float32), 2.0))
        assert levels == pytest.approx([level] * 10, abs=0.01)
        assert times == pytest.approx(2.05 + np.arange(10) / 10)


def test_no_audio_is_nan_and_silence_is_not():
    samples = np.zeros(RATE, np.float32)
    samples[8000:] = 0.5
    _, levels = audio_level(Audio(samples, 0.0, np.array([[0, 1600], [8000, RATE]])))
    assert levels[0] == FLOOR and np.isnan(levels[1:5]).all() and levels[5:] == pytest.approx([-6.02] * 5, abs=0.01)
    times, levels = audio_level(Audio(np.zeros(0, np.float32), 0.0, np.zeros((0, 2), np.int64)))
    assert len(times) == len(levels) == 0


def test_a_window_shorter_than_a_sample_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        audio_level(Audio(np.zeros(10, np.float32), 0.0), window_s=1e-6)
