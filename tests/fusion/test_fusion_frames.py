import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feature_tables import feature_table

from abaw_ray.core.errors import StageError
from abaw_ray.fusion.frame_columns import FrameColumns
from abaw_ray.fusion.frames import SubjectTrack, bytes_per_frame, join_frames


def test_every_vector_keeps_its_frame_and_label_whatever_the_order_of_the_rows():
    table = feature_table("6-30-1920x1080", {"6-30-1920x1080_left": 20, "6-30-1920x1080_right": 30})
    mixed = table.take(np.random.default_rng(1).permutation(len(table)))
    labels = {"6-30-1920x1080_left": np.arange(20, dtype=np.int8) % 8, "6-30-1920x1080_right": (np.arange(30, dtype=np.int8) + 3) % 8}
    frames = join_frames([mixed], labels, {"6-30-1920x1080_left": "train"})
    expected = {(row["track"], row["frame"]): row for row in table.to_pylist()}
    assert len(frames) == 50
    for row in range(len(frames)):
        subject = frames.subjects[frames.subject_index[row]]
        want = expected[subject.track, int(frames.frame[row])]
        assert frames.time[row] == want["time"]
        assert frames.labels[row] == labels[subject.track][want["frame"] - 1]
        assert (bool(frames.seen[row]), bool(frames.heard[row])) == (want["seen"], want["heard"])
        if want["seen"]:
            np.testing.assert_array_equal(frames.visual[row], np.array(want["visual"], np.float16))
        if want["heard"]:
            np.testing.assert_array_equal(frames.speech[row], np.array(want["speech"], np.float16))
    assert [subject.split for subject in frames.subjects] == ["train", ""]


def test_features_with_null_vectors_in_half_precision_are_unchanged_after_parquet(tmp_path):
    table = feature_table("7", {"7": 40})
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=7)
    direct, read = (join_frames([source], {}, {}) for source in (table, pq.read_table(tmp_path / "part.parquet")))
    assert read.visual.dtype == read.speech.dtype == np.float16
    for name in ("visual", "speech", "seen", "heard", "time", "frame", "shot"):
        np.testing.assert_array_equal(getattr(direct, name), getattr(read, name))


def test_annotation_rows_may_differ_by_two_from_the_frames_and_no_label_moves():
    labels = np.arange(42, dtype=np.int8) % 8
    longer = join_frames([feature_table("7", {"7": 40})], {"7": labels}, {})
    np.testing.assert_array_equal(longer.labels, labels[:40])
    shorter = join_frames([feature_table("7", {"7": 40})], {"7": labels[:39]}, {})
    np.testing.assert_array_equal(shorter.labels, [*labels[:39], -1])


def test_an_annotated_subject_without_a_matching_video_is_excluded_with_a_reason():
    labels = {"7": np.zeros(43, np.int8), "8": np.arange(40, dtype=np.int8) % 8, "9": np.zeros(5, np.int8)}
    frames = join_frames([feature_table("7", {"7": 40}), feature_table("8", {"8": 40})], labels, {"8": "train"})
    assert frames.subject_names("train") == ["8"] and len(frames) == 40
    np.testing.assert_array_equal(frames.labels, labels["8"])
    assert frames.excluded_subjects.keys() == {"7", "9"}
    assert "43 annotation rows for 40 decoded frames" in frames.excluded_subjects["7"] and "no features" in frames.excluded_subjects["9"]


def test_a_labelled_subject_with_a_missing_frame_is_an_error_and_does_not_shift_labels():
    table = feature_table("7", {"7": 40})
    with pytest.raises(StageError, match="needs every frame"):
        join_frames([pa.concat_tables([table.slice(0, 10), table.slice(11)])], {"7": np.zeros(39, np.int8)}, {})
    with pytest.raises(StageError, match="frame 5 twice"):
        join_frames([pa.concat_tables([table, table.slice(4, 1)])], {"7": np.zeros(41, np.int8)}, {})


def test_tables_of_other_widths_or_given_twice_or_without_frames_are_refused():
    with pytest.raises(StageError, match="'speech' vectors have widths 2 and 4"):
        join_frames([feature_table("7", {"7": 4}), feature_table("8", {"8": 4}, speech=4)], {}, {})
    with pytest.raises(StageError, match="'7' is in two tables"):
        join_frames([feature_table("7", {"7": 4}), feature_table("7", {"7": 4})], {}, {})
    with pytest.raises(StageError, match="no frame"):
        join_frames([], {}, {})


def test_only_subjects_of_the_wanted_splits_are_kept_and_no_other_is_called_left_out():
    tables = [feature_table("7", {"7": 6}), feature_table("8", {"8": 4}, seed=1), feature_table("9", {"9": 5}, seed=2)]
    labels = {"7": np.zeros(6, np.int8), "8": np.ones(4, np.int8)}
    frames = join_frames(tables, labels, {"7": "train", "8": "val", "9": "test"}, only_splits=("val", "test"))
    assert [subject.name for subject in frames.subjects] == ["8", "9"] and len(frames) == 9 and not frames.excluded_subjects
    alone = join_frames(tables[1:], {"8": labels["8"]}, {"8": "val", "9": "test"})
    np.testing.assert_array_equal(frames.visual, alone.visual)
    np.testing.assert_array_equal(frames.labels, alone.labels)


def test_the_memory_of_a_frame_is_that_of_its_arrays():
    table = feature_table("7", {"7": 50}, visual=64, speech=32)
    frames = join_frames([table], {}, {})
    arrays = [value for value in vars(frames).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) == bytes_per_frame(table.schema) * len(frames)


def test_columns_that_grow_part_by_part_are_the_concatenation():
    rng, columns = np.random.default_rng(0), FrameColumns()
    parts = [{"a": rng.normal(size=(rows, 3)).astype(np.float16), "b": rng.integers(9, size=rows)} for rows in (4, 1, 0, 30, 2, 700)]
    for part in parts:
        columns.append(part)
    arrays = columns.arrays()
    assert len(columns) == 737
    for name in ("a", "b"):
        np.testing.assert_array_equal(arrays[name], np.concatenate([part[name] for part in parts]))


def test_tracked_subjects_are_named_by_video_and_track_and_share_its_recording():
    assert SubjectTrack(video="a.b/clip.mp4", track="main").name == "a.b/clip.mp4/main"
    assert SubjectTrack(video="video59", track="video59_right").name == "video59_right"
    left, right = (SubjectTrack(video="6-30-1920x1080", track=f"6-30-1920x1080_{side}") for side in ("left", "right"))
    part = SubjectTrack(video="6-30-1920x1080-4", track="6-30-1920x1080-4")
    assert left.recording == right.recording == part.recording == "6-30-1920x1080"


def test_a_mode_reads_only_its_own_modality(frames):
    seen, heard = frames.present("visual")
    assert not heard.any()
    np.testing.assert_array_equal(seen, frames.seen)
    np.testing.assert_array_equal(frames.scored("speech"), frames.heard)
    np.testing.assert_array_equal(frames.scored("fused"), frames.seen | frames.heard)


def test_rows_of_unknown_subjects_are_an_error_and_not_empty(frames):
    with pytest.raises(StageError, match="'unknown'"):
        frames.rows_of_subjects(["100", "unknown"])
    assert {frames.subjects[index].name for index in frames.subject_index[frames.rows_of_subjects(["100", "103"])]} == {"100", "103"}


def test_frames_with_one_modality_masked_have_a_score_only_where_the_other_is_present(frames):
    faces, voices = frames.masked("visual"), frames.masked("speech")
    np.testing.assert_array_equal(faces.scored("fused"), frames.seen)
    np.testing.assert_array_equal(voices.scored("fused"), frames.heard)
    assert not faces.heard.any() and not voices.seen.any() and frames.seen.any() and frames.heard.any()
