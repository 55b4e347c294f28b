"""Sound that crashes or hangs its decoder costs a child process and never the worker; other sound is what it is without one."""

import numpy as np
import pytest
from crashing_sound import decoded

from abaw_ray.core.errors import ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.media.audio import RATE, decode_audio
from abaw_ray.media.isolated_audio import GuardedSound

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sound():
    guarded = GuardedSound(ChildLimits(seconds=2, memory_mb=700), decoded)
    yield guarded
    guarded.close()


@pytest.fixture
def spoken(video):
    """Makes a video with a tone, of this name."""
    wave = 0.5 * np.sin(2 * np.pi * 300 * np.arange(2 * RATE) / RATE).astype(np.float32)
    return lambda name: video(np.arange(50) / 25, wave, name=name)


@pytest.mark.parametrize("name", ["fine.mp4", "once.mp4"])
def test_sound_is_the_same_as_without_a_child(sound, spoken, name):
    path = spoken(name)
    through, direct = sound(path), decode_audio(path)
    np.testing.assert_array_equal(through.samples, direct.samples)
    assert through.start == direct.start and len(direct.samples) > RATE
    np.testing.assert_array_equal(through.sounding(), direct.sounding())


def test_a_video_without_sound_has_none(sound, video):
    assert sound(video(np.arange(10) / 25)) is None


@pytest.mark.parametrize(
    ("name", "reason"), [("crash", "died of signal 11 .*, twice"), ("hang", "no progress for 2 s, twice"), ("defect", "ZeroDivisionError.*report it")]
)
def test_sound_that_ends_two_children_is_that_files_failure_and_the_next_one_goes_well(sound, spoken, name, reason):
    with pytest.raises(ItemError, match=reason):
        sound(spoken(f"{name}.mp4"))
    assert len(sound(spoken("fine.mp4")).samples) > RATE


def test_a_file_that_is_not_there_is_said_as_such(sound, tmp_path):
    with pytest.raises(MissingError):
        sound(str(tmp_path / "fine.mp4"))
