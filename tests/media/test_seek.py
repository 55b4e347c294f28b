import zlib

import av
import numpy as np
import pytest
from coded import write_coded

from abaw_ray.core.errors import ItemError
from abaw_ray.media import video
from abaw_ray.media.clock import Clock
from abaw_ray.media.video import SeekError, decode

OPEN = {"x264-params": "open-gop=1:bframes=3:keyint=12:min-keyint=12:scenecut=0"}
OPEN_HEVC = {"x265-params": "open-gop=1:bframes=3:keyint=12:min-keyint=12:scenecut=0:log-level=none"}
CODECS = {
    "h264-open": ("libx264", {"options": OPEN}),
    "h264-refresh": ("libx264", {"options": {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}}),
    "hevc-open": ("libx265", {"options": OPEN_HEVC}),
    "mpeg4": ("mpeg4", {}),
    "mpeg4-b": ("mpeg4", {"b_frames": 2}),
    "mpeg2-b": ("mpeg2video", {"b_frames": 2}),
    "vp9": ("libvpx-vp9", {"options": {"cpu-used": "8", "lag-in-frames": "12", "auto-alt-ref": "1"}}),
    "mjpeg": ("mjpeg", {"pixels": "yuvj420p"}),
}
FILES = [
    *(f"{codec}.{container}" for codec in ("h264-open", "h264-refresh", "hevc-open", "mpeg4-b") for container in ("mp4", "mkv", "mov", "ts")),
    *(f"{codec}.{container}" for codec in ("mpeg4", "mpeg4-b", "mpeg2-b", "vp9", "mjpeg", "h264-refresh") for container in ("avi", "mkv")),
    "mpeg2-b.ts",
    "h264-open.flv",
    "vp9.webm",
]


def contents(path, **options):
    """Time and checksum of each frame; the numbers must count from 1."""
    frames = [(frame.number, frame.time, zlib.crc32(frame.av_frame.to_ndarray().tobytes())) for frame in decode(path, **options)]
    assert [number for number, _, _ in frames] == list(range(1, len(frames) + 1))
    return [(time, checksum) for _, time, checksum in frames]


@pytest.mark.parametrize("name", sorted(set(FILES)))
def test_frames_from_any_start_equal_those_of_a_decode_from_the_beginning(tmp_path, name):
    codec, options = CODECS[name.partition(".")[0]]
    path, clock = write_coded(tmp_path / name, codec, 50, start=7 if not name.endswith("avi") else 0, **options), Clock()
    whole = contents(path, clock=clock)
    assert len(whole) == 50 and not clock.repaired
    for number in (0, 1, 5, 11, 12, 13, 24, 25, 30, 47, 49):
        for start in (whole[number][0], whole[number][0] + 0.01):
            clock = Clock()
            found = contents(path, start=start, clock=clock)
            assert [frame for frame in found if frame[0] >= start] == [frame for frame in whole if frame[0] >= start]
            assert found[0][0] <= start and not clock.repaired


def test_decoding_starts_at_the_last_key_frame_before_the_start(tmp_path):
    path = write_coded(tmp_path / "v.mp4", "libx264", 60, options=OPEN)
    assert [contents(path, start=number / 25)[0][0] for number in (0, 11, 12, 23, 24, 59)] == pytest.approx([0, 0, 0.48, 0.48, 0.96, 1.92])


def test_a_start_before_the_first_frame_gives_the_whole_video_and_one_after_the_end_gives_no_later_frame(tmp_path):
    for name in ("v.mp4", "v.mkv", "v.ts", "v.flv"):
        path = write_coded(tmp_path / name, "libx264", 30, start=25)
        whole = contents(path)
        assert contents(path, start=-5.0) == contents(path, start=0.0) == contents(path, start=whole[0][0]) == whole
        assert not [time for time, _ in contents(path, start=whole[-1][0] + 0.001) if time > whole[-1][0]]
        assert not [time for time, _ in contents(path, start=3600.0) if time > whole[-1][0]]


@pytest.mark.parametrize(("name", "codec", "b_frames"), [("v.mpg", "mpeg2video", 2), ("v.h264", "libx264", 2), ("v.avi", "libx264", 2)])
def test_a_file_without_the_time_of_each_frame_raises_a_seek_error(tmp_path, name, codec, b_frames):
    path = write_coded(tmp_path / name, codec, 30, b_frames=b_frames)
    assert len(contents(path)) == 30
    with pytest.raises(SeekError, match="does not state the time of each frame"):
        next(decode(path, start=0.9))


def test_a_seek_that_finds_no_key_frame_raises_a_seek_error_not_an_item_error(tmp_path, monkeypatch):
    path = write_coded(tmp_path / "v.mkv", "mpeg4", 30)
    monkeypatch.setattr(video, "_seek", lambda *where: None)
    with pytest.raises(SeekError, match="no key frame at or before 1.000 s"):
        next(decode(path, start=1.0))
    assert not issubclass(SeekError, ItemError)


def test_no_frame_after_max_frames_is_decoded(tmp_path, monkeypatch):
    path = write_coded(tmp_path / "v.mkv", "mpeg4", 30)
    calls = []
    next_frame = video._next
    monkeypatch.setattr(video, "_next", lambda *where: calls.append(1) or next_frame(*where))
    assert contents(path, max_frames=7) == contents(path)[:7]
    calls.clear()
    assert len(contents(path, max_frames=7)) == len(calls) == 7
    assert contents(path, max_frames=0) == [] and len(contents(path, max_frames=100)) == 30
    assert len(contents(path, start=0.6, max_frames=3)) == 3


def test_damage_after_max_frames_raises_nothing(tmp_path):
    path = tmp_path / "v.mkv"
    write_coded(path, "libx264", 30, options={"preset": "ultrafast"})  # one packet per frame, in order
    with av.open(str(path)) as container:
        broken = bytes([packet for packet in container.demux(video=0) if packet.size][20])
    path.write_bytes(path.read_bytes().replace(broken, b"\xff" * len(broken)))
    with pytest.raises(ItemError) as caught:
        list(decode(str(path)))
    assert caught.value.last_frame == 20 and len(contents(str(path), max_frames=20)) == 20
    with pytest.raises(ItemError, match="decoding stopped") as caught:
        list(decode(str(path), start=13 / 25))
    assert caught.value.last_frame == 8  # counted from the key frame, as the frames are


def test_a_heartbeat_precedes_each_frame(tmp_path, monkeypatch):
    path, heartbeats = write_coded(tmp_path / "v.mkv", "mpeg4", 10), []
    monkeypatch.setattr(video, "heartbeat", heartbeats.append)
    for frame in decode(path):
        assert heartbeats[-1] == frame.number == len(heartbeats)
    assert len(heartbeats) == 10


def test_frames_that_an_open_gop_leaves_undecodable_are_skipped(tmp_path):
    path = write_coded(tmp_path / "v.mkv", "libx264", 60, options=OPEN)
    with av.open(path) as container:
        stream = container.streams.video[0]
        order = [packet.pts for packet in container.demux(stream) if packet.size]
        keys = [int(entry.timestamp) for entry in stream.index_entries if entry.is_keyframe]
    assert any(np.array(order[order.index(keys[1]) + 1 :]) < keys[1]), "without an open GOP this test checks nothing"
    assert contents(path, start=0.5)[0][0] == pytest.approx(0.48)
