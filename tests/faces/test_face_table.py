import numpy as np
import pytest

from abaw_ray.faces.face_table import MAX_ROWS, fill_frames, to_face_table
from abaw_ray.faces.tracking.row_buffer import RowBuffer


def face_row(frame, chip=b"jpeg"):
    return {
        "frame": frame,
        "time": frame / 10,
        "seen": True,
        "source": "detected",
        "box": [1.0, 2.0, 3.0, 4.0],
        "score": 0.5,
        "landmarks": None,
        "chip": chip,
        "chip_scale": 1.0,
        "inside": 1.0,
    }


def filled(frames_of, order, first, last):
    """All rows of one person with tracklets in these frames."""
    with RowBuffer() as buffer:
        for frame in range(1, last + 1):  # in the order of the video: tracklets interleaved
            for tracklet, frames in frames_of.items():
                if frame in frames:
                    buffer.add(tracklet, face_row(frame, b"%d-%d" % (tracklet, frame)))
        reader = buffer.finish()
        batches = (batch for tracklet in order for batch in reader.read(tracklet, first, last))
        tables = [to_face_table(table, "v", "t") for table in fill_frames(batches, first, last, np.arange(1, last + 1) / 10)]
    assert all(0 < len(table) <= MAX_ROWS for table in tables)
    return [row for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("frames_of", "order"),
    [
        ({}, []),
        ({1: range(1, 1001)}, [1]),
        ({1: range(40, 90), 2: range(300, 340)}, [1, 2]),
        ({1: [3, 4, 700], 2: range(1, 1001, 3), 3: [999]}, [1]),
    ],
)
def test_every_frame_has_one_row_and_only_seen_frames_have_a_face(frames_of, order):
    rows = filled(frames_of, order, 1, 1000)
    assert [row["frame"] for row in rows] == list(range(1, 1001))
    assert [row["time"] for row in rows] == pytest.approx([frame / 10 for frame in range(1, 1001)])
    tracklet_of = {frame: tracklet for tracklet in order for frame in frames_of[tracklet]}
    for row in rows:
        assert row["seen"] == (row["frame"] in tracklet_of)
        if row["seen"]:
            assert row["chip"] == b"%d-%d" % (tracklet_of[row["frame"]], row["frame"]) and row["source"] == "detected"
        else:
            assert all(row[name] is None for name in ("source", "box", "score", "landmarks", "chip", "chip_scale", "inside"))


def test_another_person_has_rows_from_the_first_to_the_last_observation_only():
    rows = filled({1: [40, 41, 60]}, [1], 40, 60)
    assert [row["frame"] for row in rows] == list(range(40, 61)) and sum(row["seen"] for row in rows) == 3


def test_the_rows_in_memory_do_not_grow_with_the_video():
    with RowBuffer() as buffer:
        for frame in range(1, 2001):
            buffer.add(7, face_row(frame))
            assert sum(len(rows) for rows in buffer._pending.values()) < 32
        assert sum(len(batch) for batch in buffer.finish().read(7, 1, 2000)) == 2000


@pytest.mark.parametrize(("first", "last"), [(1, 100), (20, 61), (32, 33), (64, 64), (101, 200)])
def test_a_part_of_a_tracklet_has_the_rows_of_its_frames_only(first, last):
    with RowBuffer() as buffer:
        for frame in range(1, 101):
            buffer.add(7, face_row(frame))
        batches = list(buffer.finish().read(7, first, last, frame_offset=1000))
    assert [frame for batch in batches for frame in batch["frame"].to_pylist()] == [1000 + k for k in range(first, min(last, 100) + 1)]
