"""A part of a video: its frames keep their numbers and times, frames outside are neither detected nor cropped, and people are those of the part."""

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from detector_of_squares import red_squares

import abaw_ray.faces.crop as module
from abaw_ray.core.errors import ItemError
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.output import FaceWriter
from abaw_ray.faces.tracking.time_range import RangeFrames, TimeRange
from abaw_ray.media.write import write_video

CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=192))
COUNT = 150
VARIABLE = np.cumsum(np.random.default_rng(2).uniform(1 / 50, 1 / 10, COUNT))
TIMES = {"from-0": np.arange(COUNT) / 25, "late": 3.2 + np.arange(COUNT) / 25, "variable": VARIABLE, "late-variable": 0.7 + VARIABLE}


@pytest.fixture
def write(tmp_path):
    """A function that writes images as a video, for ``turned`` ones with a rotation flag; returns its VIDEO row."""

    def run(images, times, *, turned=False, name="v.mp4"):
        images = [np.ascontiguousarray(np.rot90(image, -1)) if turned else image for image in images]
        coded = tmp_path / (f"coded-{name}" if turned else name)
        write_video(coded, images, np.asarray(times), None, crf=12, preset="ultrafast")
        if turned:
            with av.open(str(coded)) as source, av.open(str(tmp_path / name), "w") as target:
                stream = target.add_stream_from_template(source.streams.video[0])
                stream.set_display_rotation(90)
                for packet in source.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = stream
                        target.mux(packet)
        return {"video": "v", "uri": str(tmp_path / name), "subjects": []}

    return run


def rows_of(video, *, config=CONFIG, detector=red_squares, **bounds):
    """The rows by track, and what was found around the range."""
    crop = CropFaces(config, detector if config is CONFIG else None)
    tracks = {}
    for table in crop(video, time_range=TimeRange(**bounds)):
        for row in table.to_pylist():
            tracks.setdefault(row["track"], []).append(row)
    return tracks, crop.range_frames


def keys(rows):
    return [(row["frame"], row["time"]) for row in rows]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("clock", TIMES)
def test_the_frames_of_a_part_have_the_numbers_and_times_of_the_whole_video(write, render, clock, turned):
    images = [render((50 + 0.4 * k, 70, 30)) for k in range(COUNT)]
    video = write(images, TIMES[clock], turned=turned)
    whole = rows_of(video)[0]["main"]
    for first, stop in ((0, 60), (40, 100), (90, COUNT)):
        start = 0.0 if first == 0 else whole[first]["time"]
        end = 0.0 if stop == COUNT else whole[stop]["time"]
        part, near = rows_of(video, start=start, end=end)
        assert keys(part["main"]) == keys(whole[first:stop])
        assert all(row["seen"] for row in part["main"])
        boxes = [np.array([row["box"] for row in rows]) for rows in (part["main"], whole[first:stop])]
        np.testing.assert_allclose(*boxes, atol=2)
        assert near == RangeFrames(
            skipped=first,
            video_start=whole[0]["time"],
            before=whole[first - 1]["time"] if first else None,
            first=whole[first]["time"],
            last=whole[stop - 1]["time"],
            after=whole[stop]["time"] if stop < COUNT else None,
        )


def test_a_part_that_is_the_whole_video_has_the_rows_of_the_whole_video(write, render):
    video = write([render((50 + 0.4 * k, 70, 30)) for k in range(60)], np.arange(60) / 25)
    assert rows_of(video, start=0.0, end=99.0) == rows_of(video)


def test_the_main_person_is_the_largest_one_of_the_part(write, render):
    images = [render((50, 70, 50), (150, 70, 24)) if k < 100 else render((50, 70, 16), (150, 70, 24)) for k in range(COUNT)]
    video = write(images, TIMES["from-0"])
    center = {name: np.mean([row["box"][0] + row["box"][2] for row in rows if row["seen"]]) / 2 for name, rows in rows_of(video)[0].items()}
    assert center["main"] < 96
    part = rows_of(video, start=4.0)[0]
    assert keys(part["main"]) == [(frame, pytest.approx((frame - 1) / 25)) for frame in range(101, 151)]
    assert np.mean([row["box"][0] + row["box"][2] for row in part["main"] if row["seen"]]) / 2 > 96


def test_the_detector_sees_no_frame_outside_of_the_part_and_decoding_ends_after_it(write, render, monkeypatch):
    decoded, seen = [], []
    video = write([render((50, 70, 30), room=(k, 70, 80)) for k in range(COUNT)], TIMES["from-0"])

    def detect(rgb, min_size):
        seen.append(int(rgb[2, 2, 0]))
        return red_squares(rgb, min_size)

    decode = module.decode
    monkeypatch.setattr(module, "decode", lambda *args, **options: (decoded.append(frame.number) or frame for frame in decode(*args, **options)))
    rows_of(video, detector=detect, start=2.0, end=3.0)
    assert decoded == list(range(1, 77)), "frame 76 is the first one after the part"
    assert seen and min(seen) >= 47 and max(seen) <= 78, "the red of the room is the number of the frame, to the codec's accuracy"


def test_given_boxes_keep_their_frames(write, render, tmp_path):
    boxes = [{"video": "v", "frame": frame, "x0": 45.0, "y0": 55.0, "x1": 75.0, "y1": 85.0} for frame in range(1, COUNT + 1)]
    pq.write_table(pa.Table.from_pylist(boxes), tmp_path / "boxes.parquet")
    config = FacesConfig(detector=DetectorConfig(kind="given", boxes=str(tmp_path / "boxes.parquet")))
    video = write([render((60, 70, 30))] * COUNT, TIMES["late"])
    whole, part = (rows_of(video, config=config, **bounds)[0]["main"] for bounds in ({}, {"start": 4.0, "end": 5.0}))
    assert part == [row for row in whole if 4.0 <= row["time"] < 5.0]
    assert all(row["source"] == "given" for row in part) and len(part) == 25


@pytest.mark.parametrize(
    ("bounds", "before", "after"),
    [({"start": 100.0, "end": 200.0}, 9.16, None), ({"end": 1.0}, None, 3.2), ({"start": 4.01, "end": 4.03}, 4.0, 4.04)],
)
def test_a_part_without_a_frame_has_no_rows_and_the_frames_around_it_are_known(write, render, tmp_path, bounds, before, after):
    video = write([render((60, 70, 30))] * COUNT, TIMES["late"])
    tracks, near = rows_of(video, **bounds)
    assert tracks == {} and near.first is near.last is None
    assert (near.before, near.after) == (pytest.approx(before) if before else None, pytest.approx(after) if after else None)
    assert near.video_start == pytest.approx(3.2)
    writer = FaceWriter(CONFIG)
    result = writer.write_video(video, tmp_path / "rows.parquet", TimeRange(**bounds))
    assert (result.rows, result.frames, result.error, result.size) == (0, 0, None, (192, 144))
    assert len(pq.read_table(tmp_path / "rows.parquet")) == 0


def test_damage_before_the_part_is_a_failure_and_damage_after_it_is_not_seen(write, render, tmp_path):
    video = write([render((60 + 0.3 * k, 70, 30)) for k in range(300)], np.arange(300) / 25, name="v.mkv")
    with av.open(video["uri"]) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "v.mkv"
    path.write_bytes(path.read_bytes().replace(packets[170], b"\xff" * len(packets[170])))
    with pytest.raises(ItemError) as failure:
        rows_of(video, start=8.0)
    assert failure.value.last_frame is None
    part, _ = rows_of(video, start=2.0, end=4.0)
    assert [row["frame"] for row in part["main"]] == list(range(51, 101))
