"""A proxy has the frames of its video at the same times, upright, of bounded size, with sound in sync; a crash costs the sound at most."""

import functools
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from coded import number_of, write_coded
from crashing_sound import sound_by_name
from flash_and_tone import flash_time, tone_times, write_flash_and_tone

from abaw_ray.core.errors import ConfigError, ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.config import EncodingConfig
from abaw_ray.media.playback.isolated import IsolatedVideoWriter
from abaw_ray.media.playback.mp4 import Mp4Writer
from abaw_ray.media.playback.playability import check_playability
from abaw_ray.media.playback.proxy import first_frame_time, write_proxy
from abaw_ray.media.playback.sound import extract_sound
from abaw_ray.media.video import decode

FAST = EncodingConfig(preset="ultrafast", crf=12)


def proxy(uri, folder, encoding=FAST, **options):
    path, sound_path, start = folder / "proxy.mp4", folder / "sound.m4a", first_frame_time(str(uri))
    sound = extract_sound(str(uri), sound_path, start)
    count = write_proxy(str(uri), path, None if sound.kind == "none" else sound_path, start, encoding, **options)
    return str(path), start, count


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("v.avi", "mpeg4", "yuv420p"),
        ("v.mov", "mjpeg", "yuvj422p"),
        ("v.mp4", "libx264", "yuv420p10le"),
        ("v.mkv", "ffv1", "yuv444p"),
        ("v.wmv", "wmv2", "yuv420p"),
        ("v.flv", "flv1", "yuv420p"),
        ("v.ts", "mpeg2video", "yuv420p"),
    ],
)
def test_a_proxy_shows_every_frame_at_its_time_less_that_of_the_first(tmp_path, name, codec, pixels):
    video = write_coded(tmp_path / name, codec, 30, pixels=pixels)
    path, start, count = proxy(video, tmp_path)
    before, after = list(decode(video)), list(decode(path))
    assert count == len(after) == len(before) >= 29
    np.testing.assert_allclose([frame.time for frame in after], [frame.time - start for frame in before], atol=2e-5)
    assert after[0].time == 0
    assert [number_of(frame.rgb()) for frame in after] == pytest.approx([number_of(frame.rgb()) for frame in before], abs=1)
    assert not check_playability(video).plays and check_playability(path).plays


def test_a_variable_rate_and_a_late_first_frame_are_kept(tmp_path, video, uneven):
    source = video(uneven + 3.0)
    path, start, _ = proxy(source, tmp_path)
    assert start == pytest.approx(uneven[0] + 3.0, abs=1e-4)
    np.testing.assert_allclose([frame.time for frame in decode(path)], uneven - uneven[0], atol=3e-5)


@pytest.mark.parametrize(("name", "codec"), [("v.mkv", "libopus"), ("v.ts", "aac"), ("v.avi", "libmp3lame")])
def test_sound_and_frames_of_a_proxy_are_in_sync(tmp_path, name, codec):
    source = write_flash_and_tone(tmp_path / name, codec)
    path, start, _ = proxy(source, tmp_path)
    assert flash_time(path) == pytest.approx(flash_time(source) - start, abs=1e-3)
    assert tone_times(decode_audio(path)) == pytest.approx([tone_times(decode_audio(source))[0] - start], abs=0.003)


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_a_rotated_video_becomes_upright(tmp_path, images, degrees, turns):
    coded = next(images(1))
    with av.open(str(tmp_path / "turned.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(degrees)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(coded)))
        container.mux(stream.encode(None))
    frame = next(decode(proxy(tmp_path / "turned.mp4", tmp_path)[0]))
    assert frame.orientation == (1, 0, 0, 1), "upright without a display matrix"
    assert np.abs(frame.rgb().astype(int) - np.rot90(coded, turns)).mean() < 4


@pytest.mark.parametrize(
    ("size", "max_side", "shown"), [((96, 64), 1280, (96, 64)), ((97, 65), 1280, (96, 64)), ((256, 128), 100, (100, 50)), ((128, 258), 64, (32, 64))]
)
def test_sides_are_even_and_the_longer_one_is_bounded(tmp_path, size, max_side, shown):
    path, _, _ = proxy(write_coded(tmp_path / "v.mkv", "ffv1", 3, size=size, pixels="yuv444p"), tmp_path, EncodingConfig(max_side=max_side))
    frame = next(decode(path))
    assert (frame.width, frame.height) == shown


def test_pixels_that_are_not_square_become_square(tmp_path):
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.sample_aspect_ratio = 72, 58, "yuv420p", Fraction(16, 11)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((58, 72, 3), np.uint8))))
        container.mux(stream.encode(None))
    frame = next(decode(proxy(tmp_path / "v.mkv", tmp_path)[0]))
    assert (frame.width, frame.height) == (104, 58)


def test_colors_are_kept_and_tagged(tmp_path):
    colors = np.kron(np.array([[[200, 30, 30], [30, 180, 40], [40, 60, 210]]], np.uint8), np.ones((64, 32, 1), np.uint8))
    with Mp4Writer(tmp_path / "v.mp4", (96, 64), FAST, None) as writer:
        writer.add(colors, 0.0)
    frame = next(decode(str(tmp_path / "v.mp4")))
    assert np.abs(frame.rgb().astype(int) - colors)[:, [10, 48, 80]].max() < 8
    assert (frame.av_frame.colorspace, frame.av_frame.color_range) == (1, 1), "BT.709, limited range: browsers need not guess"


def test_the_index_is_in_front_of_the_frames(tmp_path, video):
    data, boxes, at = Path(proxy(video(np.arange(40) / 25), tmp_path)[0]).read_bytes(), [], 0
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        boxes.append(name)
        at += size
    assert boxes.index(b"moov") < boxes.index(b"mdat")


def test_a_damaged_video_is_written_up_to_the_damage_and_a_given_number_of_frames_is_the_end(tmp_path, video, truncated):
    whole = video(np.arange(60) / 30, name="whole.mkv")
    path, _, count = proxy(truncated(whole, 0.6), tmp_path)
    assert 5 < count < 60 and len(list(decode(path))) == count
    assert proxy(whole, tmp_path, last=7)[2] == 7


def test_after_an_error_there_is_no_file(tmp_path):
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with pytest.raises(ItemError):
        write_proxy(str(tmp_path / "text.mp4"), tmp_path / "proxy.mp4", None, 0.0, FAST)

    def interrupted():
        with Mp4Writer(tmp_path / "proxy.mp4", (64, 64), FAST, None) as writer:
            writer.add(np.zeros((64, 64, 3), np.uint8), 0.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert not (tmp_path / "proxy.mp4").exists()


@pytest.mark.parametrize("settings", [{"max_side": 10}, {"crf": 70}])
def test_settings_without_a_picture_are_refused(settings):
    with pytest.raises(ConfigError):
        EncodingConfig(**settings)


@pytest.mark.slow
def test_sound_that_crashes_its_decoder_costs_the_sound_only(tmp_path):
    writer = IsolatedVideoWriter(functools.partial(write_proxy, encoding=FAST), ChildLimits(seconds=20, memory_mb=900), sound_by_name)
    try:
        for name, kind in (("fine.mkv", "encoded"), ("crash.mkv", "none"), ("once.mkv", "encoded")):
            source = write_flash_and_tone(tmp_path / name, "libopus")
            written = writer(source, tmp_path / "proxy.mp4")
            assert (written.sound.kind, written.frames, written.offset) == (kind, 50, pytest.approx(first_frame_time(source)))
            assert ("signal 11" in written.sound.reason) == (kind == "none")
            assert flash_time(str(tmp_path / "proxy.mp4")) == pytest.approx(0.72, abs=0.002)
        with pytest.raises(MissingError):
            writer(str(tmp_path / "gone.mp4"), tmp_path / "gone-proxy.mp4")
        (tmp_path / "text.mp4").write_text("no video" * 100)
        with pytest.raises(ItemError):
            writer(str(tmp_path / "text.mp4"), tmp_path / "text-proxy.mp4")
        assert not list(tmp_path.glob("*-proxy.mp4"))
    finally:
        writer.close()
