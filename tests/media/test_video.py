import gc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.media.video import decode
from abaw_ray.media.write import write_video


def bar(rgb):
    """The number of a counted image, from the length of its bar."""
    return int((rgb[-4].mean(axis=-1) > 120).sum()) - 4


def test_every_frame_has_its_number_time_and_content_at_a_variable_rate(video, uneven, packet_times):
    path = video(uneven)
    frames = list(decode(path))
    assert [frame.number for frame in frames] == list(range(1, 81))
    np.testing.assert_allclose([frame.time for frame in frames], packet_times(path), atol=1e-6)
    np.testing.assert_allclose([frame.time for frame in frames], uneven, atol=1e-4)
    assert max(abs(bar(frame.rgb()) - number) for number, frame in enumerate(frames)) <= 1


def test_frames_are_returned_in_presentation_order_although_b_frames_are_stored_in_another(video):
    path = video(np.arange(60) / 30)
    with av.open(path) as container:
        packed = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert packed != sorted(packed), "without B-frames this test checks nothing"
    frames = list(decode(path))
    assert (np.diff([frame.time for frame in frames]) > 0).all()
    assert [bar(frame.rgb()) for frame in frames[:20]] == pytest.approx(range(20), abs=1)


def test_times_come_from_the_file_and_not_from_a_constant_rate(video):
    times = np.concatenate([np.arange(30) / 30, 5 + np.arange(30) / 10])
    decoded_times = [frame.time for frame in decode(video(times))]
    np.testing.assert_allclose(decoded_times, times, atol=1e-4)
    constant = np.arange(60) / 60 * times[-1]
    assert np.abs(np.array(decoded_times) - constant).max() > 1


@pytest.mark.parametrize("name", ["video.avi", "video.mkv", "video.mov"])
def test_other_containers_keep_the_times_too(video, name):
    times = np.delete(np.arange(50) / 25, [7, 20, 21])
    frames = list(decode(video(times, name=name)))
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=6e-4)


@pytest.mark.parametrize(
    ("degrees", "hflip", "turned"),
    [
        (0, False, lambda p: p),
        (90, False, lambda p: np.rot90(p)),
        (180, False, lambda p: np.rot90(p, 2)),
        (270, False, lambda p: np.rot90(p, 3)),
        (0, True, lambda p: p[:, ::-1]),
    ],
)
def test_frames_are_rotated_by_the_rotation_flag(tmp_path, images, degrees, hflip, turned):
    path, coded = tmp_path / "turned.mp4", next(images(1))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(degrees, hflip=hflip)  # counter-clockwise, like np.rot90
        container.mux(stream.encode(av.VideoFrame.from_ndarray(coded)))
        container.mux(stream.encode(None))
    frame = next(decode(str(path)))
    shown = turned(coded).astype(int)
    assert (frame.height, frame.width, 3) == frame.rgb().shape == shown.shape
    assert np.abs(frame.rgb() - shown).mean() < 3
    small = frame.resized(frame.width // 2, frame.height // 2)
    assert np.abs(small - shown.reshape(shown.shape[0] // 2, 2, shown.shape[1] // 2, 2, 3).mean(axis=(1, 3))).mean() < 4


def test_a_decoded_video_leaves_no_frames_in_memory(video):
    path = video(np.arange(30) / 25)  # written by libx264, whose name is side data of the first frame
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        assert len({frame.orientation for frame in decode(path)}) == 1
        gc.collect()  # finds what reference counting did not free
        left = [item.width for item in gc.garbage if type(item) is av.VideoFrame]  # isinstance fails on dead proxies
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert max(left, default=0) <= 16, "one leaked frame would keep the memory of all frames alive"


def test_channels_are_red_green_blue(tmp_path):
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 220
    write_video(tmp_path / "red.mp4", [red], np.array([0.0]), None)
    mean = next(decode(str(tmp_path / "red.mp4"))).rgb().mean(axis=(0, 1))
    np.testing.assert_allclose(mean, [220, 0, 0], atol=8)


def test_a_change_of_size_within_the_stream_is_not_an_error(tmp_path, images):
    raw = b""
    for width, height in ((96, 64), (64, 48)):
        codec = av.CodecContext.create("libx264", "w")
        codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuv420p", Fraction(1, 25)
        codec.options = {"x264-params": "repeat-headers=1:bframes=0"}
        for number, image in enumerate(images(5, width, height)):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts = number
            raw += b"".join(bytes(packet) for packet in codec.encode(frame))
        raw += b"".join(bytes(packet) for packet in codec.encode(None))
    (tmp_path / "two.h264").write_bytes(raw)
    frames = list(decode(str(tmp_path / "two.h264")))
    assert [frame.rgb().shape[:2] for frame in frames] == [(64, 96)] * 5 + [(48, 64)] * 5
    assert [frame.number for frame in frames] == list(range(1, 11))
    assert (np.diff([frame.time for frame in frames]) > 0).all()


def test_a_missing_file_raises_a_data_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match="nowhere.mp4: there is no such file"):
        next(decode(str(tmp_path / "nowhere.mp4")))


@pytest.mark.parametrize("content", [b"", b"this is a letter, not a video\n" * 50, bytes(5000)])
def test_a_file_that_is_not_a_video_raises_an_item_error_of_one_line(tmp_path, content):
    path = tmp_path / "letter.mp4"
    path.write_bytes(content)
    with pytest.raises(ItemError, match="not a video|empty") as caught:
        next(decode(str(path)))
    assert caught.value.last_frame is None and "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_file_with_audio_only_raises_an_item_error(tmp_path):
    with av.open(str(tmp_path / "audio.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
    with pytest.raises(ItemError, match="has no video stream"):
        next(decode(str(tmp_path / "audio.wav")))


def decoded(path):
    """Frames up to the end or the error, and the error."""
    frames = []
    try:
        for frame in decode(path):
            frames.append(frame)
    except ItemError as error:
        return frames, error
    return frames, None


def test_a_damaged_stream_gives_its_good_frames_and_an_error_with_the_last_one(video):
    path = video(np.arange(60) / 30, name="whole.mkv", preset="ultrafast")  # one packet per frame, in order
    with av.open(path) as container:
        thirtieth = bytes([packet for packet in container.demux(video=0) if packet.size][29])
    data = Path(path).read_bytes()
    at = data.index(thirtieth)
    Path(path).write_bytes(data[:at] + b"\xff" * len(thirtieth) + data[at + len(thirtieth) :])
    frames, error = decoded(path)
    assert error is not None and error.last_frame == len(frames) == 29 and "decoding stopped" in str(error)


def test_a_truncated_file_gives_its_decoded_frames_only(video, truncated):
    frames, error = decoded(truncated(video(np.arange(60) / 30, name="whole.mkv"), 0.6))
    assert 10 < len(frames) < 60 and [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    assert error is None or error.last_frame == len(frames)
