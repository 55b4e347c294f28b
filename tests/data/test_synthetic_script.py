"""The script of the synthetic videos, before rendering."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.data.subjects import recording_of
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import make_script

DEMO = SyntheticConfig()
SMALL = SyntheticConfig(train_subjects=10, val_subjects=4, test_subjects=2, video_duration_s=3.0, segment_duration_s=(0.5, 1.2))
SIZES = pytest.mark.parametrize(
    "config",
    [
        DEMO,
        SMALL,
        replace(SMALL, seed=5),
        SyntheticConfig(train_subjects=5, val_subjects=4, test_subjects=1, video_duration_s=2, segment_duration_s=(0.4, 0.9)),
    ],
)


def subjects(config):
    return [subject for video in make_script(config) for subject in video.subjects]


@SIZES
def test_every_expression_is_in_train_and_in_validation_and_at_most_six_times_as_frequent_as_another(config):
    for split in ("train", "val"):
        count = Counter(segment.expression for subject in subjects(config) if subject.split == split for segment in subject.segments)
        assert set(count) == set(EXPRESSIONS)
        assert max(count.values()) <= 6 * min(count.values())


@SIZES
def test_the_number_of_subjects_is_that_of_the_settings_and_names_are_unique(config):
    identities = subjects(config)
    count = Counter(subject.split for subject in identities)
    assert count == {"train": config.train_subjects, "val": config.val_subjects, "test": config.test_subjects}
    videos = make_script(config)
    assert len({subject.name for subject in identities}) == len(identities)
    assert len({video.path for video in videos}) == len(videos) == len(identities) - 1


@SIZES
def test_no_identity_is_in_two_splits(config):
    splits_of = {}
    for subject in subjects(config):
        splits_of.setdefault(subject.identity, set()).add(subject.split)
    assert all(len(splits) == 1 for splits in splits_of.values())


@SIZES
def test_only_the_two_person_video_is_a_recording_in_both_splits(config):
    subjects_of = {}
    for subject in subjects(config):
        subjects_of.setdefault(recording_of(subject.name), []).append(subject)
    shared = [group for group in subjects_of.values() if len({subject.split for subject in group}) > 1]
    assert [[subject.name.rsplit("_", 1)[1] for subject in group] for group in shared] == [["left", "right"]]
    assert len({recording_of(subject.name) for subject in subjects(config) if subject.split == "train"}) >= min(5, config.train_subjects - 1)


def test_all_naming_styles_occur_and_the_parts_of_a_recording_show_one_identity():
    identities = subjects(DEMO)
    names = {subject.name: subject for subject in identities}
    size = "320x240"
    assert any(name.isdigit() for name in names)
    assert any(name.startswith("video") and "_" not in name for name in names)
    assert any(name.startswith("video") and name.endswith("_1") for name in names)
    assert any(name.endswith(f"-{size}") for name in names)
    first_parts = [name for name in names if name.endswith(f"-{size}-1")]
    assert first_parts
    for first in first_parts:
        second = names.get(first.removesuffix("1") + "2")
        assert second is None or second.identity == names[first].identity


def test_the_videos_contain_every_occlusion_audio_defect_and_row_difference():
    videos = make_script(DEMO)
    segments = [segment for video in videos for subject in video.subjects for segment in subject.segments]
    assert {segment.occlusion for segment in segments} == {"", "faint", "hand", "mask", "bar", "edge", "away"}
    assert {segment.audio for segment in segments} == {"clear", "noisy", "silent"}
    assert Counter(video.audio for video in videos)["none"] == 1
    assert {video.audio for video in videos} == {"whole", "none", "late", "short"}
    assert {subject.extra_rows for video in videos for subject in video.subjects} == {-1, 0, 1}
    assert {video.path.rsplit(".", 1)[1] for video in videos} == {"mp4", "avi"}
    assert all(video.path.startswith("batch2/") for video in videos if video.path.endswith(".avi"))
    assert {video.variable_fps for video in videos} == {True, False}
    assert Counter(len(video.subjects) for video in videos)[2] == 1


def test_an_occluded_face_comes_with_clear_audio():
    for video in make_script(DEMO):
        for subject in video.subjects:
            for segment in subject.segments:
                assert not segment.occlusion or (segment.audio == "clear" and video.audio == "whole")


@SIZES
def test_segments_fill_the_video_within_their_duration_range_and_change_the_expression(config):
    low, high = config.segment_duration_s
    for video in make_script(config):
        for subject in video.subjects:
            edges = [0.0, *(segment.stop for segment in subject.segments)]
            assert [segment.start for segment in subject.segments] == pytest.approx(edges[:-1])
            assert edges[-1] == pytest.approx(video.duration_s)
            lengths = np.diff(edges)
            assert (lengths >= low - 1e-9).all() and (lengths <= high + 1e-9).all()


def test_times_ascend_from_zero_and_their_intervals_vary_only_in_videos_of_variable_rate():
    for video in make_script(DEMO):
        times = video.times(DEMO.seed)
        gaps = np.diff(times)
        assert times[0] == 0 and (gaps > 0).all() and times[-1] < video.duration_s
        assert (gaps.std() > 0.1 * gaps.mean()) == video.variable_fps


def test_labels_have_the_rows_of_the_script_and_only_known_values():
    unlabelled = 0
    for video in make_script(SMALL):
        scene = Scene(SMALL, video)
        for at, subject in enumerate(video.subjects):
            labels = scene.labels(at)
            assert len(labels) == len(scene.times) + subject.extra_rows
            assert labels.min() >= -1 and labels.max() < len(EXPRESSIONS)
            unlabelled += int((labels == -1).sum())
            shown = {EXPRESSIONS[label] for label in labels if label >= 0}
            assert shown == {segment.expression for segment in subject.segments}
    assert unlabelled > 0


def test_the_same_seed_gives_the_same_script_and_another_seed_another_one():
    assert make_script(DEMO) == make_script(DEMO)
    assert make_script(DEMO) != make_script(replace(DEMO, seed=1))


def test_random_numbers_depend_on_seed_and_name_alone():
    first = generator(3, "a", 1).random(4)
    generator(3, "b").random(100)
    np.testing.assert_array_equal(first, generator(3, "a", 1).random(4))
    assert not np.array_equal(first, generator(3, "a", 2).random(4))
    assert not np.array_equal(first, generator(4, "a", 1).random(4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_size": (321, 240)}, "even"),
        ({"fps_range": (20.0, 10.0)}, "ascend"),
        ({"segment_duration_s": (2.0, 1.0)}, "ascend"),
        ({"train_subjects": 1, "video_duration_s": 4.0}, "fewer than the 8 expressions"),
        ({"video_duration_s": 2.0}, "two segments"),
        ({"expression_intensity": 0.0}, "expression_intensity"),
        ({"head_pose_scale": 2.0}, "head_pose_scale"),
        ({"rafdb_train_images": 0}, "at least 1"),
    ],
)
def test_invalid_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(DEMO, **changes)
