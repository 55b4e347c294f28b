"""Audio that crashes or hangs its decoder ends a child process, never the worker; other audio is the same as without a child."""

import numpy as np
import pytest
from crashing_audio import decoded

from abaw_ray.core.errors import ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.media.audio import RATE, decode_audio
from abaw_ray.media.isolated_audio import IsolatedAudioDecoder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def decode():
    decoder = IsolatedAudioDecoder(ChildLimits(seconds=2, memory_mb=700), decoded)
    yield decoder
    decoder.close()


@pytest.fixture
def video_with_tone(video):
    """A function that writes a video with a tone; returns its path."""
    wave = 0.5 * np.sin(2 * np.pi * 300 * np.arange(2 * RATE) / RATE).astype(np.float32)
    return lambda name: video(np.arange(50) / 25, wave, name=name)


@pytest.mark.parametrize("name", ["fine.mp4", "once.mp4"])
def test_audio_is_the_same_as_without_a_child(decode, video_with_tone, name):
    path = video_with_tone(name)
    isolated, direct = decode(path), decode_audio(path)
    np.testing.assert_array_equal(isolated.samples, direct.samples)
    assert isolated.start == direct.start and len(direct.samples) > RATE
    np.testing.assert_array_equal(isolated.audible_spans(), direct.audible_spans())


def test_a_video_without_audio_has_none(decode, video):
    assert decode(video(np.arange(10) / 25)) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [("crash", "was killed by signal 11 .*, twice"), ("hang", "no progress for 2 s, twice"), ("defect", "ZeroDivisionError.*report it")],
)
def test_audio_that_ends_two_children_fails_its_file_only(decode, video_with_tone, name, reason):
    with pytest.raises(ItemError, match=reason):
        decode(video_with_tone(f"{name}.mp4"))
    assert len(decode(video_with_tone("fine.mp4")).samples) > RATE


def test_a_missing_file_raises_a_missing_error(decode, tmp_path):
    with pytest.raises(MissingError):
        decode(str(tmp_path / "fine.mp4"))
