"""Headers of videos for plans: what they state, and files that have none."""

import numpy as np
import pytest

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.media.playback import header
from abaw_ray.media.playback.header import VideoHeader, read_header, read_headers
from abaw_ray.media.write import write_video


@pytest.fixture
def video(tmp_path):
    """Two seconds of 96 x 64 pixels at 10 frames per second, with sound."""
    frames = (np.full((64, 96, 3), shade, np.uint8) for shade in range(0, 200, 10))
    write_video(tmp_path / "clip.mp4", frames, np.arange(20) / 10, np.zeros(32_000, np.float32), preset="ultrafast")
    return tmp_path / "clip.mp4"


def test_a_header_states_duration_size_rate_and_sound(video):
    found = read_header(str(video))
    assert found.duration_s == pytest.approx(2, abs=0.1) and found.fps == pytest.approx(10, rel=0.01)
    assert (found.width, found.height, found.has_audio, found.plays) == (96, 64, True, True)


def test_a_file_that_browsers_do_not_play_is_recognized(video):
    assert not read_header(str(video.rename(video.with_suffix(".mkv")))).plays


def test_a_text_is_not_a_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ItemError, match="not a video"):
        read_header(str(tmp_path / "text.mp4"))


def test_many_headers_are_read_in_order_and_files_without_one_give_the_reason(video):
    text = video.with_name("text.mp4")
    text.write_text("no video")
    found = read_headers([str(video), str(text), str(video.with_name("gone.mp4")), str(video)], ChildLimits())
    assert [type(one) for one in found] == [VideoHeader, str, str, VideoHeader]
    assert "not a video" in found[1] and "no such file" in found[2]


def test_no_headers_start_no_process(monkeypatch):
    monkeypatch.setattr(header, "ChildProcess", lambda *_: pytest.fail("a process was prepared"))
    assert read_headers([], ChildLimits()) == []
