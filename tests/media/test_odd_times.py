from pathlib import Path

import av
import numpy as np
import pytest
from coded import check_frames, number_of, numbered_images, packets, padded, write_coded, write_packets

from abaw_ray.media.clock import Clock
from abaw_ray.media.video import decode


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "mpeg2video"])
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.mov", "v.ts"])
def test_b_frames_are_returned_in_presentation_order(tmp_path, codec, name):
    path = write_coded(tmp_path / name, codec, 30, b_frames=2, start=10, options={"x265-params": "log-level=none"} if codec == "libx265" else {})
    with av.open(path) as container:
        order = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert order != sorted(order), "without B-frames this test checks nothing"
    check_frames(path, 30, first=0.4)


def test_b_frames_of_an_avi_without_presentation_times_are_one_frame_interval_apart(tmp_path):
    check_frames(write_coded(tmp_path / "four.avi", "mpeg4", 30, b_frames=2), 30, first=0.04)  # libav's first time: one frame later
    check_frames(write_coded(tmp_path / "two.avi", "libx264", 30, b_frames=3), 30, first=0.04, repaired=True)


def test_b_frames_packed_into_other_packets_are_separate_frames(tmp_path):
    """DivX 5 writes AVIs in this way: a packet of two frames, then a packet of none."""
    coded, _ = packets("mpeg4", numbered_images(40), b_frames=1)
    data, kinds = [bytes(packet) for packet in coded], []
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
    check_frames(path, 40, first=0.04, repaired=True)


def test_frames_of_a_stream_without_times_have_its_stated_rate(tmp_path):
    check_frames(write_coded(tmp_path / "v.h264", "libx264", 30), 30, repaired=True)
    check_frames(write_coded(tmp_path / "v.hevc", "libx265", 30, options={"x265-params": "log-level=none"}), 30, repaired=True)


def test_times_stated_for_some_frames_only_do_not_drift(tmp_path):
    """An MPEG program stream states one time per pack of 2 kB; here its header also states half the true rate."""
    coded, _ = packets("libx264", numbered_images(90), options={"x264-params": "fps=25/2:force-cfr=1:scenecut=0"})
    sized = [(padded(bytes(packet), 2000 if packet.is_keyframe else 400), packet.pts, packet.dts) for packet in coded]
    path = write_packets(tmp_path / "v.mpg", "libx264", (96, 64), sized)
    with av.open(path) as container:
        assert container.streams.video[0].guessed_rate == 12.5
        assert 10 < sum(packet.pts is not None for packet in container.demux(video=0) if packet.size) < 45
    clock = Clock()
    times = np.array([frame.time for frame in decode(path, clock=clock)])
    assert len(times) == 90 and clock.repaired and (np.diff(times) > 0).all()
    drift = np.abs(times - times[0] - np.arange(90) / 25)
    assert drift.max() < 0.2 and drift[10:].max() < 2e-3, "the interval between the first two stated times replaces the stated rate"


def test_concatenated_broadcasts_continue_where_the_clock_is_reset(tmp_path):
    parts = [Path(write_coded(tmp_path / f"{number}.ts", "libx264", 30)).read_bytes() for number in range(3)]
    (tmp_path / "v.ts").write_bytes(b"".join(parts))
    frames = list(decode(str(tmp_path / "v.ts")))
    assert [number_of(frame.rgb()) for frame in frames] == pytest.approx([*range(30)] * 3, abs=1)
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), 1 / 25, atol=2e-3)


@pytest.mark.parametrize("name", ["v.mp4", "v.mov"])
def test_frames_outside_the_edit_list_are_not_returned(tmp_path, name):
    frames = list(decode(write_coded(tmp_path / name, "libx264", 30, start=-10)))
    assert [number_of(frame.rgb()) for frame in frames] == pytest.approx(range(10, 30), abs=1)
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 25, atol=1e-3)


def test_times_may_start_late(tmp_path):
    for name in ("v.mp4", "v.mkv", "v.ts"):
        check_frames(write_coded(tmp_path / name, "libx264", 10, start=100), 10, first=4.0)


def test_frames_of_a_fragment_with_a_damaged_time_follow_those_before_it(tmp_path):
    """One byte of a fragment's decoding time states 2.8 million years: floats of that size differ by 16 ms or more."""
    path = Path(write_coded(tmp_path / "v.mp4", "libx264", 30, b_frames=0, container={"movflags": "frag_keyframe+empty_moov"}))
    data = bytearray(path.read_bytes())
    fragments = [at for at in range(len(data)) if data.startswith(b"tfdt\1", at)]
    assert len(fragments) == 3
    data[fragments[-1] + 8] |= 0x10  # the most significant byte of 64 bits, after the version and the flags
    path.write_bytes(data)
    with av.open(str(path)) as container:
        stated = [frame.time for frame in container.decode(video=0)]
    assert len(stated) == 30 and max(stated) > 1e13
    assert [frame.time for frame in decode(str(path))] == pytest.approx([number / 25 for number in range(30)])
