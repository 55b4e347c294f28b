from pathlib import Path

import av
import numpy as np
import pytest
from coded import filled, packets, right, telling, told, write_coded, write_packets

from abaw_ray.media.clock import Clock
from abaw_ray.media.video import decode


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "mpeg2video"])
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.mov", "v.ts"])
def test_b_frames_come_in_the_order_of_time(tmp_path, codec, name):
    path = write_coded(tmp_path / name, codec, 30, b_frames=2, start=10, options={"x265-params": "log-level=none"} if codec == "libx265" else {})
    with av.open(path) as container:
        order = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert order != sorted(order), "the file holds no B-frames: this test would show nothing"
    right(path, 30, first=0.4)


def test_an_avi_which_keeps_no_presentation_times_gives_its_b_frames_in_steps_of_one_frame(tmp_path):
    right(write_coded(tmp_path / "four.avi", "mpeg4", 30, b_frames=2), 30, first=0.04)  # libav's first time: one frame later
    right(write_coded(tmp_path / "two.avi", "libx264", 30, b_frames=3), 30, first=0.04, mended=True)


def test_b_frames_packed_into_the_packets_of_others_are_frames_of_their_own(tmp_path):
    """As DivX 5 wrote them into AVIs: a packet of two pictures, then one of none."""
    found, _ = packets("mpeg4", telling(40), b_frames=1)
    data, kinds = [bytes(packet) for packet in found], []
    for content in data:
        kinds.append("IPBS"[content[content.index(b"\0\0\1\xb6") + 4] >> 6])
    at = data[0].index(b"\0\0\1\xb6")
    data[0] = data[0][:at] + b"\0\0\1\xb2DivX503b1393p" + data[0][at:]
    packed = []
    for number, (content, kind) in enumerate(zip(data, kinds, strict=True)):
        if kind == "B":
            packed[-1] += content
            packed.append(b"\0\0\1\xb6\x40\x7f")
        else:
            packed.append(content)
        assert len(packed) == number + 1
    assert kinds.count("B") > 10
    path = write_packets(tmp_path / "v.avi", "mpeg4", (96, 64), [(content, at, at) for at, content in enumerate(packed)])
    right(path, 40, first=0.04, mended=True)


def test_a_stream_without_any_times_has_one_frame_for_each_picture_at_the_rate_it_states(tmp_path):
    right(write_coded(tmp_path / "v.h264", "libx264", 30), 30, mended=True)
    right(write_coded(tmp_path / "v.hevc", "libx265", 30, options={"x265-params": "log-level=none"}), 30, mended=True)


def test_times_that_are_stated_for_some_pictures_only_do_not_run_away(tmp_path):
    """A program stream states a time once a pack of 2 kB; here the rate in its header is half the true one as well."""
    found, _ = packets("libx264", telling(90), options={"x264-params": "fps=25/2:force-cfr=1:scenecut=0"})
    sized = [(filled(bytes(packet), 2000 if packet.is_keyframe else 400), packet.pts, packet.dts) for packet in found]
    path = write_packets(tmp_path / "v.mpg", "libx264", (96, 64), sized)
    with av.open(path) as container:
        assert container.streams.video[0].guessed_rate == 12.5
        assert 10 < sum(packet.pts is not None for packet in container.demux(video=0) if packet.size) < 45
    clock = Clock()
    times = np.array([frame.time for frame in decode(path, clock=clock)])
    assert len(times) == 90 and clock.mended and (np.diff(times) > 0).all()
    away = np.abs(times - times[0] - np.arange(90) / 25)
    assert away.max() < 0.2 and away[10:].max() < 2e-3, "the interval between the first two stated times is the one that holds"


def test_broadcasts_strung_together_go_on_where_their_clock_is_set_back(tmp_path):
    parts = [Path(write_coded(tmp_path / f"{number}.ts", "libx264", 30)).read_bytes() for number in range(3)]
    (tmp_path / "v.ts").write_bytes(b"".join(parts))
    frames = list(decode(str(tmp_path / "v.ts")))
    assert [told(frame.rgb()) for frame in frames] == pytest.approx([*range(30)] * 3, abs=1)
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), 1 / 25, atol=2e-3)


@pytest.mark.parametrize("name", ["v.mp4", "v.mov"])
def test_what_an_edit_list_cuts_off_is_not_shown(tmp_path, name):
    frames = list(decode(write_coded(tmp_path / name, "libx264", 30, start=-10)))
    assert [told(frame.rgb()) for frame in frames] == pytest.approx(range(10, 30), abs=1)
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 25, atol=1e-3)


def test_times_may_begin_late(tmp_path):
    for name in ("v.mp4", "v.mkv", "v.ts"):
        right(write_coded(tmp_path / name, "libx264", 10, start=100), 10, first=4.0)
