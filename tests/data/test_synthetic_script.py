"""What happens in the drawn videos, before anything is drawn."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.data.affwild2 import recording_of
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import write_script

DEMO = SyntheticConfig()
SMALL = SyntheticConfig(train=10, validation=4, test=2, seconds=3.0, stretch=(0.5, 1.2))
SIZES = pytest.mark.parametrize(
    "config", [DEMO, SMALL, replace(SMALL, seed=5), SyntheticConfig(train=5, validation=4, test=1, seconds=2, stretch=(0.4, 0.9))]
)


def actors(config):
    return [actor for video in write_script(config) for actor in video.actors]


@SIZES
def test_every_expression_is_in_train_and_in_validation_and_the_shares_are_moderately_unequal(config):
    for split in ("train", "val"):
        count = Counter(stretch.expression for actor in actors(config) if actor.split == split for stretch in actor.stretches)
        assert set(count) == set(EXPRESSIONS)
        assert max(count.values()) <= 6 * min(count.values())


@SIZES
def test_there_are_as_many_annotated_people_as_asked_for_and_no_name_twice(config):
    people = actors(config)
    count = Counter(actor.split for actor in people)
    assert count == {"train": config.train, "val": config.validation, "test": config.test}
    videos = write_script(config)
    assert len({actor.name for actor in people}) == len(people)
    assert len({video.path for video in videos}) == len(videos) == len(people) - 1


@SIZES
def test_nobody_is_in_two_splits(config):
    of = {}
    for actor in actors(config):
        of.setdefault(actor.person, set()).add(actor.split)
    assert all(len(splits) == 1 for splits in of.values())


@SIZES
def test_only_the_two_person_video_is_a_source_on_both_sides(config):
    of = {}
    for actor in actors(config):
        of.setdefault(recording_of(actor.name), []).append(actor)
    shared = [group for group in of.values() if len({actor.split for actor in group}) > 1]
    assert [[actor.name.rsplit("_", 1)[1] for actor in group] for group in shared] == [["left", "right"]]
    assert len({recording_of(actor.name) for actor in actors(config) if actor.split == "train"}) >= min(5, config.train - 1)


def test_all_styles_of_names_are_there_and_the_parts_of_a_recording_show_one_person():
    people = actors(DEMO)
    names = {actor.name: actor for actor in people}
    size = "320x240"
    assert any(name.isdigit() for name in names)
    assert any(name.startswith("video") and "_" not in name for name in names)
    assert any(name.startswith("video") and name.endswith("_1") for name in names)
    assert any(name.endswith(f"-{size}") for name in names)
    parts = [name for name in names if name.endswith(f"-{size}-1")]
    assert parts
    for first in parts:
        second = names.get(first.removesuffix("1") + "2")
        assert second is None or second.person == names[first].person


def test_the_videos_hold_every_trap():
    videos = write_script(DEMO)
    stretches = [stretch for video in videos for actor in video.actors for stretch in actor.stretches]
    assert {stretch.hide for stretch in stretches} == {"", "faint", "hand", "mask", "bar", "edge", "away"}
    assert {stretch.sound for stretch in stretches} == {"clear", "noisy", "silent"}
    assert Counter(video.sound for video in videos)["none"] == 1
    assert {video.sound for video in videos} == {"whole", "none", "late", "short"}
    assert {actor.rows for video in videos for actor in video.actors} == {-1, 0, 1}
    assert {video.path.rsplit(".", 1)[1] for video in videos} == {"mp4", "avi"}
    assert all(video.path.startswith("batch2/") for video in videos if video.path.endswith(".avi"))
    assert {video.variable for video in videos} == {True, False}
    assert Counter(len(video.actors) for video in videos)[2] == 1


def test_a_face_that_says_little_comes_with_a_clear_voice():
    for video in write_script(DEMO):
        for actor in video.actors:
            for stretch in actor.stretches:
                assert not stretch.hide or (stretch.sound == "clear" and video.sound == "whole")


@SIZES
def test_stretches_fill_the_video_keep_their_lengths_and_change_the_expression(config):
    low, high = config.stretch
    for video in write_script(config):
        for actor in video.actors:
            edges = [0.0, *(stretch.stop for stretch in actor.stretches)]
            assert [stretch.start for stretch in actor.stretches] == pytest.approx(edges[:-1])
            assert edges[-1] == pytest.approx(video.seconds)
            lengths = np.diff(edges)
            assert (lengths >= low - 1e-9).all() and (lengths <= high + 1e-9).all()


def test_times_ascend_from_zero_and_vary_only_where_the_rate_does():
    for video in write_script(DEMO):
        times = video.times(DEMO.seed)
        gaps = np.diff(times)
        assert times[0] == 0 and (gaps > 0).all() and times[-1] < video.seconds
        assert (gaps.std() > 0.1 * gaps.mean()) == video.variable


def test_labels_have_the_rows_that_the_script_says_and_only_known_values():
    unlabelled = 0
    for video in write_script(SMALL):
        scene = Scene(SMALL, video)
        for at, actor in enumerate(video.actors):
            labels = scene.labels(at)
            assert len(labels) == len(scene.times) + actor.rows
            assert labels.min() >= -1 and labels.max() < len(EXPRESSIONS)
            unlabelled += int((labels == -1).sum())
            shown = {EXPRESSIONS[label] for label in labels if label >= 0}
            assert shown == {stretch.expression for stretch in actor.stretches}
    assert unlabelled > 0


def test_the_same_seed_gives_the_same_script_and_another_seed_another_one():
    assert write_script(DEMO) == write_script(DEMO)
    assert write_script(DEMO) != write_script(replace(DEMO, seed=1))


def test_random_numbers_depend_on_seed_and_name_alone():
    first = generator(3, "a", 1).random(4)
    generator(3, "b").random(100)
    np.testing.assert_array_equal(first, generator(3, "a", 1).random(4))
    assert not np.array_equal(first, generator(3, "a", 2).random(4))
    assert not np.array_equal(first, generator(4, "a", 1).random(4))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"picture": (321, 240)}, "even"),
        ({"rate": (20.0, 10.0)}, "ascend"),
        ({"stretch": (2.0, 1.0)}, "ascend"),
        ({"train": 1, "seconds": 4.0}, "fewer than the 8 expressions"),
        ({"seconds": 2.0}, "two stretches"),
        ({"strength": 0.0}, "strength"),
        ({"turning": 2.0}, "turning"),
        ({"rafdb": 0}, "at least 1"),
    ],
)
def test_impossible_sizes_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        replace(DEMO, **changes)
