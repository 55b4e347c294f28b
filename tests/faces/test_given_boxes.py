"""Boxes from the user's own table: every box is accepted, short gaps are interpolated, and the table's tracks name the people."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from abaw_ray.core.errors import ConfigError, DataError, ItemError
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.detection.box_table import BoxTable
from abaw_ray.media.write import write_video


def box_row(frame, x, y=70, side=30, **more):
    return {"video": "v", "frame": frame, "x0": x - side / 2, "y0": y - side / 2, "x1": x + side / 2, "y1": y + side / 2, **more}


@pytest.fixture
def table(tmp_path):
    """A function that writes rows of boxes as a CSV or Parquet file; returns its path."""

    def write(boxes, name="boxes.parquet"):
        path = tmp_path / name
        (pa_csv.write_csv if name.endswith("csv") else pq.write_table)(pa.Table.from_pylist(boxes), path)
        return str(path)

    return write


@pytest.fixture
def given(tmp_path, render, table):
    """A function that crops a video with the given boxes; ``cut`` is the first frame of a second shot. Returns the FACE rows of each track."""

    def run(boxes, count=100, name="boxes.parquet", cut=None):
        images = [render((60, 70, 30)) if cut is None or k < cut else render(room=(200, 190, 120)) for k in range(count)]
        write_video(tmp_path / "v.mp4", images, np.arange(count) / 25, None, preset="ultrafast", crf=12)
        config = FacesConfig(detector=DetectorConfig(kind="given", boxes=table(boxes, name)))
        tracks = {}
        for faces in CropFaces(config)({"video": "v", "uri": str(tmp_path / "v.mp4"), "subjects": []}):
            for row in faces.to_pylist():
                tracks.setdefault(row["track"], []).append(row)
        return tracks

    return run


@pytest.mark.parametrize("name", ["boxes.csv", "boxes.parquet"])
def test_every_box_of_the_table_is_the_box_of_its_frame(given, name):
    rows = given([box_row(frame, 60) for frame in range(1, 101)], name=name)["main"]
    assert [row["frame"] for row in rows] == list(range(1, 101))
    assert all(row["seen"] and row["source"] == "given" and row["box"] == [45, 55, 75, 85] for row in rows)
    assert decode_jpeg(rows[50]["chip"])[25, 25, 0] > 180, "the red square is in the center of the chip"


def test_boxes_between_sparse_ones_are_interpolated_except_in_long_gaps(given):
    rows = given([box_row(frame, 60 + frame / 10) for frame in (11, 21, 31, 61)])["main"]
    assert [row["frame"] for row in rows if row["seen"]] == [*range(11, 32), 61]
    assert rows[15]["source"] == "interpolated" and rows[15]["box"][0] == pytest.approx(60 + 1.6 - 15, abs=1e-4)


def test_a_single_box_of_low_score_is_accepted_and_so_are_ten_people(given):
    tracks = given([box_row(7, 10 + 18 * n, side=12, score=0.05) for n in range(10)])
    assert len(tracks) == 10 and sum(row["seen"] for rows in tracks.values() for row in rows) == 10


def test_tracks_of_the_table_name_the_people_whatever_their_motion(given):
    boxes = [box_row(frame, 40 if frame % 2 else 150, track="anna") for frame in range(1, 60)]
    boxes += [box_row(frame, 150 if frame % 2 else 40, track="ben") for frame in range(1, 100)]
    tracks = given(boxes)
    assert list(tracks) == ["anna", "ben"] and all(len(rows) == 100 for rows in tracks.values())
    assert [row["seen"] for row in tracks["anna"]] == [True] * 59 + [False] * 41
    assert all(row["box"][0] == (25 if row["frame"] % 2 else 135) for row in tracks["anna"][:59])


def test_nothing_is_interpolated_across_a_cut_even_for_a_named_track(given):
    rows = given([box_row(46, 60, track="a"), box_row(55, 60, track="a")], cut=50)["a"]
    assert [row["frame"] for row in rows if row["seen"]] == [46, 55]


def test_a_video_without_boxes_in_the_table_has_rows_without_a_face(given):
    rows = given([box_row(1, 60) | {"video": "another"}], count=20)["main"]
    assert len(rows) == 20 and not any(row["seen"] for row in rows)


def test_invalid_tables_are_refused_with_the_reason(table, tmp_path):
    with pytest.raises(ConfigError, match="no column x1, y1; required are video, frame"):
        BoxTable(table([{"video": "v", "frame": 1, "x0": 1.0, "y0": 1.0}]))
    with pytest.raises(DataError, match="no such file"):
        BoxTable(str(tmp_path / "nowhere.csv"))
    (tmp_path / "text.parquet").write_text("not a table")
    with pytest.raises(DataError, match="neither CSV nor Parquet"):
        BoxTable(str(tmp_path / "text.parquet"))
    with pytest.raises(DataError, match="for none of"):
        BoxTable(table([box_row(1, 60)])).check(["another.mp4"])
    with pytest.raises(ConfigError, match="detector.boxes is empty"):
        DetectorConfig(kind="given")
    for bad in ({"frame": 0}, {"x1": 0.0}, {"y0": float("nan")}):
        with pytest.raises(ItemError, match="frames must count from 1"):
            BoxTable(table([box_row(1, 60) | bad])).boxes_of("v")
