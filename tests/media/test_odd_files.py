import shutil
import struct
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from coded import check_frames, number_of, numbered_images, write_coded

from abaw_ray.core.errors import ItemError
from abaw_ray.media import audio as audio_module
from abaw_ray.media import video as video_module
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.source import open_media
from abaw_ray.media.video import decode


@pytest.mark.parametrize(("codec", "first"), [("libx264", 12), ("libx265", 12), ("mpeg4", 5)])
def test_a_video_without_a_key_frame_at_its_start_begins_with_the_first_decodable_frame(tmp_path, codec, first):
    options = {"libx264": {"x264-params": "keyint=12:scenecut=0"}, "libx265": {"x265-params": "keyint=12:scenecut=0:log-level=none"}}
    whole, path = write_coded(tmp_path / "w.mkv", codec, 40, options=options.get(codec), group=12), str(tmp_path / "v.mkv")
    with av.open(whole) as source, av.open(path, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in [packet for packet in source.demux(video=0) if packet.size][5:]:
            packet.stream = stream
            target.mux(packet)
    frames = list(decode(path))
    assert [frame.number for frame in frames] == list(range(1, 41 - first))
    assert [number_of(frame.rgb()) for frame in frames[12:]] == pytest.approx(range(first + 12, 40), abs=1)
    assert frames[0].time == pytest.approx(first / 25, abs=1e-3)


@pytest.mark.parametrize("options", [{"x264-params": "interlaced=1:bframes=2"}, {"x264-params": "fake-interlaced=1"}])
def test_two_interlaced_fields_are_one_frame(tmp_path, options):
    check_frames(write_coded(tmp_path / "v.mp4", "libx264", 20, options=options), 20)


def test_of_two_video_streams_only_one_is_decoded(tmp_path):
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, (stream.width, stream.height) in zip(streams, [(96, 64), (128, 96)], strict=True):
            stream.pix_fmt = "yuv420p"
        for number, images in enumerate(zip(numbered_images(20), numbered_images(20, 128, 96), strict=True)):
            for stream, image in zip(streams, images, strict=True):
                frame = av.VideoFrame.from_ndarray(image)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    assert len({frame.rgb().shape for frame in check_frames(tmp_path / "v.mkv", 20)}) == 1


def box(kind, *content):
    return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)


def with_cover(path):
    """Add a cover image to an MP4 whose header comes last."""
    data, jpeg = Path(path).read_bytes(), cv2.imencode(".jpg", np.full((200, 300, 3), 120, np.uint8))[1].tobytes()
    at = data.index(b"moov") - 4
    handler = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    cover = box(b"udta", box(b"meta", bytes(4), handler, box(b"ilst", box(b"covr", box(b"data", struct.pack(">II", 13, 0), jpeg)))))
    Path(path).write_bytes(data[:at] + box(b"moov", data[at + 8 :], cover))
    with av.open(str(path)) as container:
        assert any(stream.disposition & Disposition.attached_pic for stream in container.streams.video)
    return path


def test_a_cover_image_is_not_a_video(tmp_path):
    check_frames(with_cover(write_coded(tmp_path / "stream.mp4", "libx264", 20)), 20)
    with av.open(str(tmp_path / "song.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(ItemError, match="has no video stream"):
        next(decode(with_cover(str(tmp_path / "song.m4a"))))
    assert len(decode_audio(str(tmp_path / "song.m4a")).samples) >= 4096


@pytest.mark.parametrize(("made", "named"), [("v.mkv", "v.mp4"), ("v.mp4", "v.avi"), ("v.avi", "v"), ("v.ts", "v.txt"), ("v.mov", "v.jpg")])
def test_the_file_extension_does_not_matter(tmp_path, made, named):
    write_coded(tmp_path / made, "mpeg4" if made == "v.avi" else "libx264", 10, b_frames=0)
    (tmp_path / "named").mkdir()
    check_frames(shutil.copy(tmp_path / made, tmp_path / "named" / named), 10)


def test_the_frame_rate_and_the_number_of_frames_in_the_header_are_not_used(tmp_path):
    path = Path(write_coded(tmp_path / "v.avi", "mpeg4", 30))
    data = bytearray(path.read_bytes())
    for at in (data.index(b"avih") + 24, data.index(b"strh") + 40):
        assert struct.unpack_from("<I", data, at) == (30,)
        struct.pack_into("<I", data, at, 870)
    path.write_bytes(data)
    check_frames(path, 30)
    path = Path(write_coded(tmp_path / "v.mkv", "mpeg4", 30))
    data = bytearray(path.read_bytes())
    at = data.index(b"\x23\xe3\x83\x84") + 4  # the default duration of a frame, in nanoseconds
    assert struct.unpack_from(">I", data, at) == (40_000_000,)
    struct.pack_into(">I", data, at, 10_000_000)
    path.write_bytes(data)
    check_frames(path, 30)


CUT = [
    ("v.mp4", "libx264", {}, "not a video|no video stream"),
    ("v.mov", "libx264", {}, "not a video|no video stream"),
    ("v.mp4", "libx264", {"movflags": "faststart"}, None),
    ("v.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}, None),
    ("v.mkv", "libx264", {}, None),
    ("v.webm", "libvpx-vp9", {}, None),
    ("v.ts", "libx264", {}, None),
    ("v.avi", "mjpeg", {}, None),
    ("v.flv", "libx264", {}, None),
]
"""Containers, and the error for a truncated file. An MP4 has its index at the end; without it nothing can be read."""


@pytest.mark.parametrize(("name", "codec", "container", "reason"), CUT)
def test_a_truncated_file_gives_the_frames_before_the_cut_or_a_reason(tmp_path, truncated, name, codec, container, reason):
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = truncated(write_coded(tmp_path / name, codec, 200, container=container, pixels=pixels, options={"crf": "15"}), 0.7)
    frames, error = [], None
    try:
        frames.extend((frame.number, number_of(frame.rgb())) for frame in decode(path))
    except ItemError as caught:
        error = caught
    if reason is None:
        assert len(frames) > 100 and [number for number, _ in frames] == list(range(1, len(frames) + 1))
        assert [number for _, number in frames[:100]] == pytest.approx([number % 92 for number in range(100)], abs=1)
        assert error is None or error.last_frame == len(frames)
    else:
        assert not frames
        with pytest.raises(ItemError, match=reason):
            next(decode(path))


def test_an_empty_file_and_a_video_without_frames_raise_item_errors(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(ItemError, match="empty"):
        next(decode(str(tmp_path / "empty.mp4")))
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(ItemError, match="not a video|no frame"):
        next(decode(str(tmp_path / "none.mkv")))


class MoreStreams:
    """A container in which libav finds further streams while it reads: PyAV then ends with an IndexError."""

    def __init__(self, container):
        self.container = container

    def __getattr__(self, name):
        return getattr(self.container, name)

    def demux(self, stream):
        yield from (packet for packet in self.container.demux(stream) if packet.size)
        raise IndexError("list index out of range")


def test_streams_found_while_reading_lose_no_frame_and_no_audio(tmp_path, monkeypatch, video):
    path = video(np.arange(30) / 25, np.zeros(19200, np.float32), name="v.mkv")  # with B-frames, of which the last are decoded only at the end

    @contextmanager
    def open_with_more_streams(uri):
        with open_media(uri) as source:
            source.container = MoreStreams(source.container)
            yield source

    samples = len(decode_audio(path).samples)
    for module in (video_module, audio_module):
        monkeypatch.setattr(module, "open_media", open_with_more_streams)
    assert len(list(decode(path))) == 30 and len(decode_audio(path).samples) == samples > 19000
