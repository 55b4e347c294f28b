import shutil
import struct
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from coded import right, telling, told, write_coded

from abaw_ray.core.errors import ItemError
from abaw_ray.media import audio as audio_module
from abaw_ray.media import video as video_module
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.source import opened
from abaw_ray.media.video import decode


@pytest.mark.parametrize(("codec", "first"), [("libx264", 12), ("libx265", 12), ("mpeg4", 5)])
def test_a_video_that_does_not_begin_at_a_key_frame_begins_at_the_first_picture_that_can_be_decoded(tmp_path, codec, first):
    options = {"libx264": {"x264-params": "keyint=12:scenecut=0"}, "libx265": {"x265-params": "keyint=12:scenecut=0:log-level=none"}}
    whole, path = write_coded(tmp_path / "w.mkv", codec, 40, options=options.get(codec), group=12), str(tmp_path / "v.mkv")
    with av.open(whole) as source, av.open(path, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in [packet for packet in source.demux(video=0) if packet.size][5:]:
            packet.stream = stream
            target.mux(packet)
    frames = list(decode(path))
    assert [frame.number for frame in frames] == list(range(1, 41 - first))
    assert [told(frame.rgb()) for frame in frames[12:]] == pytest.approx(range(first + 12, 40), abs=1)
    assert frames[0].time == pytest.approx(first / 25, abs=1e-3)


@pytest.mark.parametrize("options", [{"x264-params": "interlaced=1:bframes=2"}, {"x264-params": "fake-interlaced=1"}])
def test_two_fields_are_one_frame(tmp_path, options):
    right(write_coded(tmp_path / "v.mp4", "libx264", 20, options=options), 20)


def test_of_two_films_in_a_file_one_is_decoded_whole_and_the_other_not_at_all(tmp_path):
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        films = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for film, (film.width, film.height) in zip(films, [(96, 64), (128, 96)], strict=True):
            film.pix_fmt = "yuv420p"
        for number, pictures in enumerate(zip(telling(20), telling(20, 128, 96), strict=True)):
            for film, picture in zip(films, pictures, strict=True):
                frame = av.VideoFrame.from_ndarray(picture)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(film.encode(frame))
        for film in films:
            container.mux(film.encode(None))
    assert len({frame.rgb().shape for frame in right(tmp_path / "v.mkv", 20)}) == 1


def box(kind, *content):
    return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)


def with_cover(path):
    """Put a cover picture into an MP4 whose header comes last."""
    data, jpeg = Path(path).read_bytes(), cv2.imencode(".jpg", np.full((200, 300, 3), 120, np.uint8))[1].tobytes()
    at = data.index(b"moov") - 4
    handler = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    cover = box(b"udta", box(b"meta", bytes(4), handler, box(b"ilst", box(b"covr", box(b"data", struct.pack(">II", 13, 0), jpeg)))))
    Path(path).write_bytes(data[:at] + box(b"moov", data[at + 8 :], cover))
    with av.open(str(path)) as container:
        assert any(stream.disposition & av.stream.Disposition.attached_pic for stream in container.streams.video)
    return path


def test_a_cover_picture_is_no_film(tmp_path):
    right(with_cover(write_coded(tmp_path / "film.mp4", "libx264", 20)), 20)
    with av.open(str(tmp_path / "song.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(ItemError, match="holds no video stream"):
        next(decode(with_cover(str(tmp_path / "song.m4a"))))
    assert len(decode_audio(str(tmp_path / "song.m4a")).samples) >= 4096


@pytest.mark.parametrize(("made", "named"), [("v.mkv", "v.mp4"), ("v.mp4", "v.avi"), ("v.avi", "v"), ("v.ts", "v.txt"), ("v.mov", "v.jpg")])
def test_the_name_of_a_file_says_nothing_of_what_is_in_it(tmp_path, made, named):
    write_coded(tmp_path / made, "mpeg4" if made == "v.avi" else "libx264", 10, b_frames=0)
    (tmp_path / "named").mkdir()
    right(shutil.copy(tmp_path / made, tmp_path / "named" / named), 10)


def test_rate_and_number_of_frames_in_the_header_are_not_believed(tmp_path):
    path = Path(write_coded(tmp_path / "v.avi", "mpeg4", 30))
    data = bytearray(path.read_bytes())
    for at in (data.index(b"avih") + 24, data.index(b"strh") + 40):
        assert struct.unpack_from("<I", data, at) == (30,)
        struct.pack_into("<I", data, at, 870)
    path.write_bytes(data)
    right(path, 30)
    path = Path(write_coded(tmp_path / "v.mkv", "mpeg4", 30))
    data = bytearray(path.read_bytes())
    at = data.index(b"\x23\xe3\x83\x84") + 4  # the default duration of a frame, in nanoseconds
    assert struct.unpack_from(">I", data, at) == (40_000_000,)
    struct.pack_into(">I", data, at, 10_000_000)
    path.write_bytes(data)
    right(path, 30)


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
"""Containers, and what is said of half a file; an MP4 keeps its index at its end, without which nothing can be read."""


@pytest.mark.parametrize(("name", "codec", "container", "reason"), CUT)
def test_of_a_file_cut_short_the_pictures_before_the_cut_are_given_or_there_is_a_reason(tmp_path, cut_short, name, codec, container, reason):
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = cut_short(write_coded(tmp_path / name, codec, 200, container=container, pixels=pixels, options={"crf": "15"}), 0.7)
    frames, error = [], None
    try:
        frames.extend((frame.number, told(frame.rgb())) for frame in decode(path))
    except ItemError as caught:
        error = caught
    if reason is None:
        assert len(frames) > 100 and [number for number, _ in frames] == list(range(1, len(frames) + 1))
        assert [told_ for _, told_ in frames[:100]] == pytest.approx([number % 92 for number in range(100)], abs=1)
        assert error is None or error.last_frame == len(frames)
    else:
        assert not frames
        with pytest.raises(ItemError, match=reason):
            next(decode(path))


def test_a_folder_named_like_a_video_and_an_empty_file_are_told_apart(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(ItemError, match="empty"):
        next(decode(str(tmp_path / "empty.mp4")))
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(ItemError, match="not a video|no picture"):
        next(decode(str(tmp_path / "none.mkv")))


class Stumbling:
    """A container of PyAV in which more streams turned up on the way: reading ends in an error of PyAV's own."""

    def __init__(self, container):
        self.container = container

    def __getattr__(self, name):
        return getattr(self.container, name)

    def demux(self, stream):
        yield from (packet for packet in self.container.demux(stream) if packet.size)
        raise IndexError("list index out of range")


def test_streams_that_turn_up_on_the_way_cost_no_frame_and_no_sound(tmp_path, monkeypatch, video):
    path = video(np.arange(30) / 25, np.zeros(19200, np.float32), name="v.mkv")  # with B-frames: the last ones come out at the end only

    @contextmanager
    def stumbling(uri):
        with opened(uri) as source:
            source.container = Stumbling(source.container)
            yield source

    sound = len(decode_audio(path).samples)
    for module in (video_module, audio_module):
        monkeypatch.setattr(module, "opened", stumbling)
    assert len(list(decode(path))) == 30 and len(decode_audio(path).samples) == sound > 19000
