"""Which files a browser plays as they are, and the reasons of the others. The rules are in ``docs/playback.md``."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
from coded import write_coded
from flash_and_tone import write_flash_and_tone

from abaw_ray.core.errors import ItemError, MissingError
from abaw_ray.media.playback.playability import check_playability


@pytest.fixture
def scheduling():
    """Keeps this process's scheduling: for root, SVT-AV1 sets the calling thread to SCHED_FIFO 99, which would stop all other tests on its core."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    os.sched_setscheduler(0, policy, parameters)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("v.mp4", "libx264"), ("v.MOV", "libx264"), ("v.m4v", "libx264"), ("v.webm", "libvpx"), ("v.webm", "libvpx-vp9"), ("v.mp4", "libsvtav1")],
)
def test_common_files_play(tmp_path, name, codec, scheduling):
    found = check_playability(write_coded(tmp_path / name, codec, 5, options={"log-level": "0"} if codec == "libsvtav1" else None))
    assert found.plays and found.reason == ""


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "reason"),
    [
        ("v.mp4", "libx265", "yuv420p", "video codec hevc"),
        ("v.mp4", "mpeg4", "yuv420p", "video codec mpeg4"),
        ("v.mov", "mjpeg", "yuvj420p", "video codec mjpeg"),
        ("v.mp4", "libx264", "yuv420p10le", "pixel format yuv420p10le"),
        ("v.mp4", "libx264", "yuv422p", "pixel format yuv422p"),
        ("v.avi", "mpeg4", "yuv420p", "container avi"),
        ("v.mkv", "libx264", "yuv420p", "container matroska in a file that ends in .mkv"),
        ("v.wmv", "wmv2", "yuv420p", "container asf"),
        ("v.flv", "flv1", "yuv420p", "container flv"),
        ("v.ts", "libx264", "yuv420p", "container mpegts"),
    ],
)
def test_other_codecs_pixels_and_containers_need_a_proxy(tmp_path, name, codec, pixels, reason):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else None
    found = check_playability(write_coded(tmp_path / name, codec, 5, pixels=pixels, options=options))
    assert not found.plays and found.reason.startswith(reason)


def test_the_content_counts_not_the_suffix_alone(tmp_path):
    Path(write_coded(tmp_path / "v.avi", "mpeg4", 5)).rename(tmp_path / "v.mp4")
    assert check_playability(str(tmp_path / "v.mp4")).reason == "container avi in a file that ends in .mp4"


@pytest.mark.parametrize(
    ("name", "codec", "reason"),
    [
        ("v.mp4", "aac", ""),
        ("v.mp4", "libmp3lame", ""),
        ("v.mp4", "libopus", ""),
        ("v.mp4", "alac", "audio codec alac"),
        ("v.mov", "pcm_s16le", "audio codec pcm_s16le"),
    ],
)
def test_audio_decides_too(tmp_path, name, codec, reason):
    assert check_playability(write_flash_and_tone(tmp_path / name, codec)).reason == reason


def test_a_clock_that_does_not_start_at_0_needs_a_proxy(tmp_path, video):
    assert check_playability(video(np.arange(9) / 25)).plays
    assert check_playability(video(np.arange(9) / 25 + 0.5)).reason == "its clock starts at 0.500 s, where browsers differ"
    with_audio = video(np.arange(9) / 25 + 0.5, np.zeros(8000, np.float32), name="w.mp4")
    assert check_playability(with_audio).plays, "the audio starts at 0"


def test_larger_frames_than_decoders_support_need_a_proxy(tmp_path):
    found = check_playability(write_coded(tmp_path / "v.mp4", "libx264", 1, size=(4608, 64), options={"preset": "ultrafast"}))
    assert found.reason == "4608 x 64 pixels, more than 4096"


def test_two_video_streams_need_a_proxy(tmp_path):
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in streams:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        for stream in streams:
            container.mux(stream.encode(None))
    assert check_playability(str(tmp_path / "v.mp4")).reason.startswith("several video streams")


def test_a_missing_file_and_a_sound_file_are_errors(tmp_path):
    with pytest.raises(MissingError):
        check_playability(str(tmp_path / "gone.mp4"))
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(ItemError, match="no video stream"):
        check_playability(str(tmp_path / "a.mp4"))
