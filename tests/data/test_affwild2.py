import os

import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.data.affwild2 import AffWild2, is_affwild2
from abaw_ray.data.trees import Tree


def test_every_subject_is_found_with_its_video_its_side_and_its_split(aff):
    found = {subject.name: (subject.video, subject.side, subject.split) for subject in AffWild2(aff.root).subjects}
    assert found == {
        "12": ("12", "", "train"),
        "video45_3": ("video45_3", "", "train"),
        "135-24-1920x1080_right": ("135-24-1920x1080", "right", "train"),
        "28-30-1280x720-1": ("28-30-1280x720-1", "", "train"),
        "10-60-1280x720": ("10-60-1280x720", "left", "train"),
        "10-60-1280x720_right": ("10-60-1280x720", "right", "train"),
        "135-24-1920x1080_left": ("135-24-1920x1080", "left", "val"),
        "28-30-1280x720-2": ("28-30-1280x720-2", "", "val"),
        "200": ("200", "", "val"),
        "300": ("300", "", "test"),
        "video2_left": ("video2", "left", "test"),
    }


def test_a_video_row_lists_all_its_subjects(aff):
    tree = AffWild2(aff.root)
    rows = {row["video"]: row for row in tree.videos()}
    assert {"135-24-1920x1080", "200", "28-30-1280x720-2"} < rows.keys()
    assert rows["135-24-1920x1080"]["subjects"] == [
        {"track": "135-24-1920x1080_right", "side": "right"},
        {"track": "135-24-1920x1080_left", "side": "left"},
    ]
    assert rows["28-30-1280x720-2"]["uri"] == str(aff.root / "new_vids/28-30-1280x720-2.avi")
    assert len(tree.videos()) == 9 and all(row["size"] == len("video") for row in tree.videos())
    assert pa.Table.from_pylist(tree.videos(), schema=schema.VIDEO).num_rows == 9


def names(tree, split):
    return [subject.name for subject in tree.subjects if subject.split == split]


def test_the_annotations_may_have_any_root_above_the_task(aff):
    os.rename(aff.root / "8th_ABAW_Annotations", aff.root / "labels of 2025")
    assert len(names(AffWild2(aff.root), "train")) == 6


def test_labels_are_in_the_order_of_the_frames(aff):
    np.testing.assert_array_equal(AffWild2(aff.root).labels("200"), np.array([0, 1, -1], np.int8))


def test_labels_of_the_test_release_raise_an_error(aff):
    with pytest.raises(DataError, match="'300' has no annotation; it is in the test release"):
        AffWild2(aff.root).labels("300")
    with pytest.raises(DataError, match="not in this tree"):
        AffWild2(aff.root).labels("301")


def test_the_example_gives_names_and_frames_in_its_order(aff):
    assert AffWild2(aff.root).submission_rows() == [("300", 1), ("300", 2), ("video2_left", 1)]


def test_without_the_usual_test_release_there_is_no_test_split_but_a_named_one_must_exist(aff):
    (aff.root / "EXPR_test_release.txt").unlink()
    assert names(AffWild2(aff.root), "test") == []
    with pytest.raises(DataError, match=r"mine\.txt: no such file"):
        AffWild2(aff.root, test_names="mine.txt")


def test_the_test_release_may_be_outside_the_tree(aff, tmp_path):
    elsewhere = tmp_path / "names.txt"
    elsewhere.write_text("300\n")
    assert names(AffWild2(aff.root, test_names=str(elsewhere)), "test") == ["300"]


def test_a_missing_raw_video_is_an_error_that_names_the_subject(aff):
    (aff.root / "videos/135-24-1920x1080.mp4").unlink()
    with pytest.raises(DataError, match="no raw video for 2 of 11 subjects: 135-24-1920x1080_right, 135-24-1920x1080_left"):
        AffWild2(aff.root)


def test_a_duplicate_raw_video_is_an_error(aff):
    aff.put("batch2/12.avi")
    with pytest.raises(DataError, match=r"'12' exists twice, batch1/12\.mp4 and batch2/12\.avi"):
        AffWild2(aff.root)


def test_a_name_in_two_splits_is_an_error(aff):
    aff.annotate("12", split="Validation_Set")
    with pytest.raises(DataError, match="'12' is in more than one of"):
        AffWild2(aff.root)


def test_no_or_two_annotation_folders_are_an_error(aff, tmp_path):
    with pytest.raises(DataError, match="no folder named 'EXPR_Recognition_Challenge'"):
        AffWild2(aff.root / "batch1")
    with pytest.raises(DataError, match="no such folder"):
        AffWild2(tmp_path / "nowhere")
    aff.annotate("12", root="7th_ABAW_Annotations")
    with pytest.raises(DataError, match="2 folders 7th_ABAW_Annotations/EXPR"):
        AffWild2(aff.root)


def test_the_official_crops_are_not_searched_for_videos(aff):
    aff.put("cropped_aligned_new_50_vids/batch1/12.mp4")
    assert len(AffWild2(aff.root).videos()) == 9


def test_another_file_of_the_same_name_has_another_identity(aff):
    before = {row["video"]: row["identity"] for row in AffWild2(aff.root).videos()}
    aff.put("batch1/12.mp4", "another video")
    after = {row["video"]: row["identity"] for row in AffWild2(aff.root).videos()}
    assert {video for video in before if before[video] != after[video]} == {"12"}


def test_only_a_folder_with_the_annotations_is_detected_as_affwild2(aff, monkeypatch):
    assert is_affwild2(aff.root) and is_affwild2(f"file://{aff.root}/") and is_affwild2(aff.root / "8th_ABAW_Annotations")
    aff.put("list.txt", "batch1/12.mp4\n")
    for other in (aff.root / "batch1", aff.root / "list.txt", aff.root / "batch1/12.mp4", f"{aff.root}/*", aff.root / "nowhere"):
        assert not is_affwild2(other)
    monkeypatch.chdir(aff.root / "batch1")
    assert is_affwild2("..") and not is_affwild2(".")


def test_detection_lists_a_bounded_number_of_folders(aff, monkeypatch):
    for number in range(300):
        aff.put(f"clips/{number}/deep/v.mp4")
    listed, entries = [], Tree.entries
    monkeypatch.setattr(Tree, "entries", lambda tree, path="", **how: listed.append(path) or entries(tree, path, **how))
    assert not is_affwild2(aff.root / "clips")
    assert len(listed) == 200
    listed.clear()
    assert is_affwild2(aff.root)
    assert len(listed) < 5, "the nearest folders are listed first, and the search ends at the first match"


def test_folders_of_official_crops_are_found_by_subject_also_those_of_the_new_videos(aff):
    for path in ("cropped_aligned/12/00001.jpg", "cropped_aligned/10-60-1280x720_right/00003.jpg", "cropped_aligned/stranger/00001.jpg"):
        aff.put(path)
    aff.put("cropped_aligned_new_50_vids/video2_left/00001.jpg")
    folders = AffWild2(aff.root).crop_folders("cropped_aligned")
    assert {name: folder.removeprefix(str(aff.root)) for name, folder in folders.items()} == {
        "12": "/cropped_aligned/12",
        "10-60-1280x720_right": "/cropped_aligned/10-60-1280x720_right",
        "video2_left": "/cropped_aligned_new_50_vids/video2_left",
    }


def test_a_tree_without_official_crops_is_a_data_error(aff):
    aff.put("cropped/stranger/00001.jpg")
    with pytest.raises(DataError, match=r"cropped: no folder of a subject; expected cropped/<subject>/00001\.jpg, or leave data\.affwild2_crops"):
        AffWild2(aff.root).crop_folders("cropped")
