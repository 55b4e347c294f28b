"""The overlay video: each frame has its own row, its own time, and the original sound; tables of other videos are refused."""

from itertools import pairwise

import av
import numpy as np
import pytest
from flash_and_tone import flash_time, tone_times, write_flash_and_tone
from overlay_rows import analysis_rows, analysis_table, label_of

from abaw_ray.core.errors import DataError, ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.config import EncodingConfig
from abaw_ray.media.playback.playability import check_playability
from abaw_ray.media.video import decode
from abaw_ray.media.write import write_video
from abaw_ray.report.overlay.painter import CLASS_COLORS
from abaw_ray.report.overlay.people import read_people
from abaw_ray.report.overlay.video import OverlayWriter, write_overlay

FAST = EncodingConfig(preset="ultrafast", crf=10)
BOX = (20, 30, 60, 80)


@pytest.fixture(scope="module")
def writer():
    writer = OverlayWriter(FAST, ChildLimits(seconds=60, memory_mb=900))
    yield writer
    writer.close()


def direct(uri, path, rows, **options):
    people = read_people(analysis_table(rows))
    return write_overlay(str(uri), path, None, float(people[0].time[0]), people, encoding=options.get("encoding", FAST))


def nearest_color(image, x, y):
    """The index of the expression whose color an area of a few pixels has."""
    mean = image[y - 2 : y + 3, x : x + 2].reshape(-1, 3).mean(axis=0)
    return int(np.abs(np.array(CLASS_COLORS) - mean).sum(axis=1).argmin())


def test_each_frame_shows_its_own_row_at_its_own_time(video, times, tmp_path):
    assert direct(video, tmp_path / "o.mp4", analysis_rows("main", times, box=BOX)) == len(times)
    frames = list(decode(str(tmp_path / "o.mp4")))
    np.testing.assert_allclose([frame.time for frame in frames], times - times[0], atol=3e-5)
    for number, frame in enumerate(frames, start=1):
        rgb = frame.rgb()
        assert rgb.shape == (120, 160, 3), "the original size"
        assert rgb[5:12, 130:150].mean() / 4 == pytest.approx(number, abs=0.6), "the picture of this frame"
        assert nearest_color(rgb, 20, 55) == label_of(number), "the row of this frame"


@pytest.mark.slow
def test_the_sound_is_kept_in_sync(writer, tmp_path):
    for name, codec, kind in (("v.mp4", "aac", "copied"), ("w.mkv", "libopus", "encoded")):
        source = write_flash_and_tone(tmp_path / name, codec, audio_range=(0.3, 2.0))
        times = [frame.time for frame in decode(source)]
        written = writer(source, analysis_table(analysis_rows("main", times, seen=False)), tmp_path / "o.mp4")
        assert (written.sound.kind, written.frames, written.offset) == (kind, 50, times[0])
        assert flash_time(str(tmp_path / "o.mp4")) == pytest.approx(flash_time(source) - times[0], abs=1e-3)
        assert tone_times(decode_audio(str(tmp_path / "o.mp4"))) == pytest.approx([tone_times(decode_audio(source))[0] - times[0]], abs=0.003)
        assert check_playability(str(tmp_path / "o.mp4")).plays


@pytest.mark.slow
def test_broken_or_missing_audio_costs_no_frame(writer, tmp_path):
    source = tmp_path / "v.mp4"
    write_flash_and_tone(source)
    times = [frame.time for frame in decode(str(source))]
    table = analysis_table(analysis_rows("main", times, seen=False))
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        for packet in [packet for packet in container.demux(audio=0) if packet.size]:
            data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    source.write_bytes(data)
    written = writer(str(source), table, tmp_path / "o.mp4")
    assert (written.frames, written.sound.kind) == (50, "none") and "cannot be decoded" in written.sound.reason
    write_video(tmp_path / "silent.mp4", np.zeros((50, 48, 64, 3), np.uint8), np.array(times), None)
    assert writer(str(tmp_path / "silent.mp4"), table, tmp_path / "o.mp4").sound.reason == "the video has no audio"
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_sound_and_frames_are_interleaved_so_that_a_player_needs_no_buffer(tmp_path, times):
    seconds = np.arange(200) / 25
    write_video(tmp_path / "v.mp4", np.zeros((200, 48, 64, 3), np.uint8), seconds, np.zeros(8 * 16000, np.float32))
    written = OverlayWriter(FAST, ChildLimits(seconds=60, memory_mb=900))
    try:
        written(str(tmp_path / "v.mp4"), analysis_table(analysis_rows("main", seconds, seen=False)), tmp_path / "o.mp4")
    finally:
        written.close()
    with av.open(str(tmp_path / "o.mp4")) as container:
        packets = sorted((packet.pos, packet.stream.type, float(packet.dts * packet.time_base)) for packet in container.demux() if packet.size)
    gaps = [abs(a[2] - b[2]) for a, b in pairwise(packets) if a[1] != b[1]]
    assert len(gaps) > 5 and max(gaps) < 2.5


def test_a_rotated_video_is_drawn_upright_and_shrunk_to_the_largest_side(tmp_path):
    image = np.full((128, 256, 3), 40, np.uint8)
    image[:, 128:] = 200  # the coded right half is shown at the top after a turn of 90 degrees
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 256, 128, "yuv420p"
        stream.set_display_rotation(90)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    direct(
        tmp_path / "v.mp4", tmp_path / "o.mp4", analysis_rows("main", [0.0], box=(20, 40, 100, 120)), encoding=EncodingConfig(max_side=192, crf=10)
    )
    rgb = next(decode(str(tmp_path / "o.mp4"))).rgb()
    assert rgb.shape == (192, 96, 3) and rgb[5:20].mean() > 150 and rgb[140:160].mean() < 90
    assert nearest_color(rgb, 15, 60) == label_of(1), "the box is at three quarters of its coordinates"


def test_tables_of_other_videos_are_refused(video, times, tmp_path):
    path = tmp_path / "o.mp4"
    for rows, message in (
        (analysis_rows("main", times + 0.01), "are of another video"),
        (analysis_rows("main", np.append(times, times[-1] + 0.05)), "has 40 frames, the rows 41"),
    ):
        with pytest.raises(DataError, match=message):
            direct(video, path, rows)
        assert not path.exists()


def test_at_a_lower_rate_each_row_is_shown_until_the_next_one(video, times, tmp_path):
    rows = [row for row in analysis_rows("main", times) if row["frame"] % 3 == 1]
    assert direct(video, tmp_path / "o.mp4", rows) == rows[-1]["frame"]
    (main,) = read_people(analysis_table(rows))
    assert [main.at(frame) for frame in (1, 2, 3, 4)] == [0, 0, 0, 1]


def test_a_person_without_a_row_in_a_frame_of_the_table_is_not_shown_in_it(times):
    rows = [row for row in analysis_rows("main", times) if row["frame"] in (1, 2, 4, 9, 10)]
    other = [row for row in analysis_rows("person-2", times) if row["frame"] in (2, 9)]
    _, person = read_people(analysis_table(rows, other))
    assert [person.at(frame) for frame in (1, 2, 3, 4, 5, 8, 9, 10)] == [None, 0, 0, None, None, None, 1, None]


def test_the_overlay_of_a_part_has_its_frames_only(video, times, tmp_path):
    rows = [row for row in analysis_rows("main", times, box=BOX) if 13 <= row["frame"] <= 30]
    assert direct(video, tmp_path / "o.mp4", rows) == 18
    frames = list(decode(str(tmp_path / "o.mp4")))
    np.testing.assert_allclose([frame.time for frame in frames], times[12:30] - times[12], atol=3e-5)
    for number, frame in enumerate(frames, start=13):
        rgb = frame.rgb()
        assert rgb[5:12, 130:150].mean() / 4 == pytest.approx(number, abs=0.6), "the picture of this frame"
        assert nearest_color(rgb, 20, 55) == label_of(number), "the row of this frame"
    with pytest.raises(DataError, match="ends before frame 41, the first of the rows"):
        direct(video, tmp_path / "o.mp4", [row for row in analysis_rows("main", np.append(times, [9.0, 9.1])) if row["frame"] > 40])


def test_the_overlay_ends_with_the_table(video, times, tmp_path):
    assert direct(video, tmp_path / "o.mp4", analysis_rows("main", times[:12])) == 12


@pytest.mark.slow
def test_videos_that_cannot_be_read_raise_their_errors_in_the_parent(writer, tmp_path):
    table = analysis_table(analysis_rows("main", [0.0, 0.1]))
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with pytest.raises(ItemError):
        writer(str(tmp_path / "text.mp4"), table, tmp_path / "o.mp4")
    with pytest.raises(MissingError):
        writer(str(tmp_path / "gone.mp4"), table, tmp_path / "o.mp4")
    assert not (tmp_path / "o.mp4").exists()
