"""The files of the synthetic data set: the layouts of the real ones, the same for any number of workers, written once."""

import csv
import json
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import AFFECTNET, EXPRESSIONS, RAFDB
from abaw_ray.data.affwild2 import AffWild2
from abaw_ray.data.still_images.affectnet import read_affectnet
from abaw_ray.data.still_images.rafdb import read_rafdb
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.script import make_script
from abaw_ray.data.synthetic.still_lists import affectnet_lists, rafdb_list
from abaw_ray.data.synthetic.tree import write_synthetic
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.video import decode

CONFIG = SyntheticConfig(
    frame_size=(160, 120), train_subjects=5, val_subjects=4, test_subjects=2, video_duration_s=1.6, fps_range=(8, 12), segment_duration_s=(0.4, 0.8),
    affectnet_train_images=48, affectnet_val_images=16, rafdb_train_images=28, rafdb_test_images=14,
)  # fmt: skip
TASK = "8th_ABAW_Annotations/EXPR_Recognition_Challenge"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root, calls = tmp_path_factory.mktemp("synthetic") / "data", []
    write_synthetic(root, CONFIG, workers=1, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1][0] == calls[-1][1]
    return root


def test_annotations_have_the_header_of_eight_names_and_as_many_rows_as_the_script(root):
    for video in make_script(CONFIG):
        frames = len(list(decode(str(root / "affwild2" / video.path))))
        assert frames == len(video.times(CONFIG.seed))
        for subject in video.subjects:
            if subject.split == "test":
                continue
            folder = {"train": "Train_Set", "val": "Validation_Set"}[subject.split]
            header, *rows = (root / "affwild2" / TASK / folder / f"{subject.name}.txt").read_text().splitlines()
            assert header == "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
            assert len(rows) == frames + subject.extra_rows
            assert all(-1 <= int(row) <= 7 for row in rows)


def test_frame_times_in_the_files_are_those_of_the_script(root):
    for video in make_script(CONFIG):
        times = [frame.time for frame in decode(str(root / "affwild2" / video.path))]
        np.testing.assert_allclose(times, video.times(CONFIG.seed), atol=2e-3)


def test_one_video_has_no_audio_one_audio_begins_late_and_one_ends_early(root):
    for video in make_script(CONFIG):
        audio = decode_audio(str(root / "affwild2" / video.path))
        assert (audio is None) == (video.audio == "none")
        if audio is not None:
            assert (audio.start > 0.3) == (video.audio == "late")
            assert (audio.start + len(audio.samples) / 16000 < 0.9 * video.duration_s) == (video.audio == "short")


def test_the_two_person_video_is_one_file_without_a_suffix(root):
    left = next((root / "affwild2" / TASK / "Train_Set").glob("*_left.txt"))
    right = next((root / "affwild2" / TASK / "Validation_Set").glob("*_right.txt"))
    stem = left.stem.removesuffix("_left")
    assert right.stem == f"{stem}_right"
    assert [path.stem for path in (root / "affwild2").glob(f"batch*/{stem}*")] == [stem]


def test_the_example_has_every_frame_of_every_test_video_and_one_row_more_for_one(root):
    names = (root / "affwild2" / "EXPR_test_release.txt").read_text().split()
    header, *rows = (root / "affwild2" / "EXPR_test_example.txt").read_text().splitlines()
    assert header == f"image_location,{','.join(EXPRESSIONS)}"
    assert len(names) == CONFIG.test_subjects
    frames = {video.name: len(video.times(CONFIG.seed)) for video in make_script(CONFIG)}
    wanted = [f"{name}/{row:05d}.jpg," for at, name in enumerate(names) for row in range(1, frames[name] + 1 + (at == 0))]
    assert rows == wanted


def test_the_reader_of_the_real_data_set_reads_the_tree(root):
    data = AffWild2(str(root / "affwild2"))
    assert Counter(subject.split for subject in data.subjects) == {
        "train": CONFIG.train_subjects,
        "val": CONFIG.val_subjects,
        "test": CONFIG.test_subjects,
    }
    for split in ("train", "val"):
        labels = np.concatenate([data.labels(subject.name) for subject in data.subjects if subject.split == split])
        assert set(labels[labels >= 0]) == set(range(8))
    assert any((data.labels(subject.name) == -1).any() for subject in data.subjects if subject.split == "train")
    assert len(data.videos()) == CONFIG.train_subjects + CONFIG.val_subjects + CONFIG.test_subjects - 1


def test_affectnet_lists_have_its_columns_and_rows_that_a_reader_must_exclude(root):
    for name, count in (("training", CONFIG.affectnet_train_images), ("validation", CONFIG.affectnet_val_images)):
        path = root / "affectnet" / f"{name}.csv"
        assert path.read_text().splitlines()[0] == (
            "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
        )
        rows = list(csv.DictReader(path.read_text().splitlines()))
        used = [row for row in rows if int(row["expression"]) < 8 and float(row["face_width"]) > 0]
        assert len(used) == count
        assert {int(row["expression"]) for row in used} == set(range(8))
        assert {8, 9, 10} <= {int(row["expression"]) for row in rows}
        assert any(int(row["expression"]) < 8 and float(row["face_width"]) < 0 for row in rows)
        assert {len(row["facial_landmarks"].split(";")) for row in rows} == {136}
        assert all((root / "affectnet/Manually_Annotated_Images" / row["subDirectory_filePath"]).exists() for row in rows)


def test_the_readers_of_the_real_stills_find_all_usable_images_and_their_classes(root):
    affectnet, rafdb = read_affectnet(str(root / "affectnet")), read_rafdb(str(root / "rafdb"))
    assert Counter(image.split for image in affectnet) == {"train": CONFIG.affectnet_train_images, "val": CONFIG.affectnet_val_images}
    assert Counter(image.split for image in rafdb) == {"train": CONFIG.rafdb_train_images, "val": CONFIG.rafdb_test_images}
    assert {image.expression for image in affectnet} == set(AFFECTNET) and {image.expression for image in rafdb} == set(RAFDB)
    assert all(image.box is not None for image in affectnet)


def test_rafdb_has_aligned_crops_of_a_hundred_pixels_and_its_misspelled_list(root):
    lines = (root / "rafdb/basic/EmoLabel/list_patition_label.txt").read_text().splitlines()
    assert lines[0].split()[0] == "train_00001.jpg" and len(lines) == CONFIG.rafdb_train_images + CONFIG.rafdb_test_images
    for line in lines:
        name, label = line.split()
        image = cv2.imread(str(root / "rafdb/basic/Image/aligned" / name.replace(".jpg", "_aligned.jpg")))
        assert image.shape == (100, 100, 3) and 1 <= int(label) <= 7


def test_stills_and_videos_share_no_identity_and_no_still_occurs_twice():
    stills = [image.name for images in affectnet_lists(CONFIG).values() for image in images] + [image.name for image in rafdb_list(CONFIG)]
    identities = {subject.identity for video in make_script(CONFIG) for subject in video.subjects}
    assert len(set(stills)) == len(stills)
    assert not {f"still-{name}" for name in stills} & identities


def test_two_workers_write_the_same_labels_and_the_same_stills_as_one(root, tmp_path):
    other = tmp_path / "other"
    write_synthetic(other, CONFIG, workers=2)
    kinds = ("*.txt", "*.csv", "*.jpg", "synthetic.json")
    files = sorted(path.relative_to(root) for kind in kinds for path in root.rglob(kind))
    assert files == sorted(path.relative_to(other) for kind in kinds for path in other.rglob(kind))
    assert all((root / file).read_bytes() == (other / file).read_bytes() for file in files)
    assert not list(other.rglob(".*"))


def test_a_second_call_writes_nothing_and_other_settings_are_refused(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    counts = write_synthetic(root, CONFIG, workers=1)
    assert counts == json.loads((root / "synthetic.json").read_text())["counts"]
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    with pytest.raises(ConfigError, match="other settings"):
        write_synthetic(root, replace(CONFIG, seed=1), workers=1)


def test_an_interrupted_call_leaves_no_finished_folder_and_the_next_call_resumes(tmp_path):
    small = replace(CONFIG, seed=2, affectnet_train_images=8, affectnet_val_images=8, rafdb_train_images=7, rafdb_test_images=7)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path, small, workers=1, progress=stop)
    assert not (tmp_path / "synthetic.json").exists() and not (tmp_path / "affwild2").exists()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    assert written
    with pytest.raises(ConfigError, match="unfinished"):
        write_synthetic(tmp_path, CONFIG, workers=1)
    write_synthetic(tmp_path, small, workers=1)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    assert all(kept[path.name] == time for path, time in written.items())


def test_a_folder_with_other_content_is_refused(tmp_path):
    (tmp_path / "affectnet").mkdir()
    with pytest.raises(ConfigError, match="without the synthetic.json"):
        write_synthetic(tmp_path, CONFIG, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["affectnet"]
