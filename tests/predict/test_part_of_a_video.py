"""Analyses of a part of a video: the rows are those of the whole video in that time, and a part without a frame is a result with a note."""

import av
import numpy as np
import pytest
from PIL import Image

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.data.videos import IMAGE_SUFFIXES, list_videos
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.video import decode
from abaw_ray.predict.analysis import read_analysis
from abaw_ray.predict.analyzer import Analyzer
from abaw_ray.predict.config import AnalysisConfig
from abaw_ray.predict.output.summary import summarize

pytestmark = pytest.mark.slow
START, END = 0.9, 1.6


def analyzed(bundle, clip, **config):
    with Analyzer(str(bundle), config=AnalysisConfig(**config)) as analyzer:
        return analyzer(clip)


@pytest.fixture(scope="module")
def whole(bundle, clip):
    return analyzed(bundle, clip)


@pytest.fixture(scope="module")
def part(bundle, clip):
    return analyzed(bundle, clip, start=START, end=END)


def columns(result, *names):
    return list(zip(*(result.table[name].to_pylist() for name in names), strict=True))


def test_a_part_has_the_frames_of_the_whole_video_in_its_time(whole, part):
    inside = [row for row in columns(whole, "frame", "time", "heard") if START <= row[1] < END]
    assert columns(part, "frame", "time", "heard") == inside
    assert part.table["frame"][0].as_py() > 5
    assert part.video.start_s == whole.video.start_s == whole.table["time"][0].as_py()
    assert part.video.frames == inside[-1][0]
    assert part.video.duration_s == pytest.approx(END - START, abs=0.07)
    assert part.video.analyzed_from_s < inside[0][1] < START + 0.05
    assert inside[-1][1] < part.video.analyzed_to_s < END + 0.05
    assert (whole.video.analyzed_from_s, whole.video.analyzed_to_s) == (None, None)
    assert part.notes == whole.notes == ()


def test_the_speech_vectors_of_a_part_are_those_of_the_whole_video(bundle, make_clip):
    rng = np.random.default_rng(0)
    voice = make_clip("voice.mp4", frames=50, audio=(0.3 * rng.normal(size=32_000)).astype(np.float32))
    whole, part = (analyzed(bundle, voice, **config).to_pandas() for config in ({}, {"start": 0.8, "end": 1.6}))
    assert part["scored"].all() and not part["seen"].any()
    inside = whole[(whole.time >= 1.0) & (whole.time < 1.4)]  # half a smoothing window from the ends: without a face only the sound counts
    same = part[part.frame.isin(inside.frame)]
    np.testing.assert_allclose(same.filter(like="p_"), inside.filter(like="p_"), atol=1e-5)


def test_the_level_covers_the_part(part, whole):
    times = part.level.start_s + part.level.interval_s * np.arange(len(part.level.dbfs))
    assert START - 0.2 < times[0] < START and END < times[-1] < END + 0.2
    assert len(part.level.dbfs) < len(whole.level.dbfs)


def test_a_part_is_the_same_after_it_was_written_and_read(part, tmp_path):
    again = read_analysis(part.to_parquet(tmp_path / "a.parquet"))
    assert again.table.equals(part.table) and again.video == part.video and again.settings["start"] == START


def test_the_rate_counts_from_the_first_frame_of_the_part(bundle, clip, part):
    sparse = analyzed(bundle, clip, start=START, end=END, fps=5)
    assert sparse.table["frame"][0] == part.table["frame"][0]
    assert 3 <= len(sparse.table) <= 5
    assert sparse.video == part.video


def test_the_overlay_of_a_part_has_its_frames_and_its_sound_only(part, clip, tmp_path):
    path = str(part.overlay(tmp_path / "o.mp4"))
    times = [frame.time for frame in decode(path)]
    np.testing.assert_allclose(times, part.table["time"].to_numpy() - part.table["time"][0].as_py(), atol=1e-4)
    sound, original = decode_audio(path), decode_audio(str(clip))
    assert sound.start == pytest.approx(0, abs=0.07)
    assert sound.start + len(sound.samples) / 16_000 == pytest.approx(part.video.duration_s, abs=0.09)
    begin = round((part.table["time"][0].as_py() - original.start) * 16_000)
    wanted, found = original.samples[begin + 2000 : begin + 8000], sound.samples[round(-sound.start * 16_000) :][1000:9000]
    match = np.correlate(found, wanted, mode="valid")
    assert abs(int(match.argmax()) - 1000) < 32, "in sync to 2 ms"


def test_the_page_of_a_part_knows_where_the_video_begins(part, tmp_path):
    text = part.report(tmp_path / "clip.html").read_text()
    assert '"videoStart": 0.0' in text and f'"from": {part.video.analyzed_from_s}' in text
    assert "analyzed from 0:00.9" in text


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"start": 100.0, "end": 200.0}, "no frame between 100 and 200 s; the last frame of the video is at 0.28 s"),
        ({"start": 7.5}, "no frame from 7.5 s on; the last frame of the video is at 0.28 s"),
        ({"start": 0.05, "end": 0.07}, "no frame between 0.05 and 0.07 s; the frames around it are at 0.040 and 0.080 s"),
    ],
)
def test_a_part_without_a_frame_is_a_result_with_a_note(bundle, make_clip, tmp_path, config, note):
    result = analyzed(bundle, make_clip("plain.mp4"), **config)
    assert result.notes == (note,)
    assert len(result.table) == 0 and result.people == [] and len(summarize(result)) == 0
    assert (result.video.frames, result.video.duration_s, result.video.width) == (0, 0.0, 96)
    assert result.to_csv(tmp_path / "a.csv").read_text().startswith('"video","person","frame"')
    assert read_analysis(result.to_parquet(tmp_path / "a.parquet")).notes == (note,)
    page = result.report(tmp_path / "a.html").read_text()
    assert note in page and "<video" not in page
    with pytest.raises(DataError, match="no frame is analyzed"):
        result.overlay(tmp_path / "o.mp4")


def test_a_part_before_a_late_video_begins_is_empty(bundle, make_clip, tmp_path):
    source = make_clip("plain.mp4")
    with av.open(str(source)) as container, av.open(str(tmp_path / "late.mkv"), "w") as target:
        stream = target.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.dts is not None:
                packet.stream, packet.pts, packet.dts = stream, packet.pts + round(2 / packet.time_base), packet.dts + round(2 / packet.time_base)
                target.mux(packet)
    result = analyzed(bundle, tmp_path / "late.mkv", end=1.5)
    assert result.notes == ("no frame before 1.5 s; the first frame of the video is at 2.00 s",)
    assert result.video.start_s == pytest.approx(2.0)


def test_an_image_is_analyzed_whatever_the_part(bundle, scene, tmp_path):
    Image.fromarray(next(iter(scene.frames()))).save(tmp_path / "face.png")
    (row,) = list_videos(tmp_path / "face.png", suffixes=IMAGE_SUFFIXES)
    with Analyzer(str(bundle), config=AnalysisConfig(start=50.0, end=60.0)) as analyzer:
        result = analyzer.analyze_row(row)
    assert columns(result, "frame", "time")[0] == (1, 0.0)
    assert (result.video.analyzed_from_s, result.video.analyzed_to_s) == (None, None)


@pytest.mark.parametrize("bounds", [{"start": -1.0}, {"start": 60.0, "end": 50.0}, {"start": 5.0, "end": 5.0}, {"start": float("nan")}])
def test_bounds_in_the_wrong_order_are_refused(bounds):
    with pytest.raises(ConfigError, match="analysis.(start|end)="):
        AnalysisConfig(**bounds)
