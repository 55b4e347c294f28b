import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from abaw_ray.cluster.launch.presets import DEMO
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import make_script
from abaw_ray.faces.crop import CropFaces
from abaw_ray.media.square_crop import crop_square
from abaw_ray.scoring.metrics import confusion_matrix
from tools.data.augmentation import images, run, videos

BOX = np.array([60.0, 50.0, 100.0, 100.0])
PHOTO = np.full((160, 160, 3), 200, np.uint8)
CONFIG = SyntheticConfig(seed=3, val_subjects=6, video_duration_s=4.0, affectnet_train_images=40, affectnet_val_images=16)


@pytest.mark.parametrize("seed", range(20))
def test_a_photo_is_cut_off_near_the_face_so_that_its_crop_is_black_there(seed):
    photo, box = images.cut_off(PHOTO, BOX, np.random.default_rng(seed))
    assert (box[2:] - box[:2]).tolist() == [40, 50]
    crop = crop_square(np.ascontiguousarray(photo), box, 1.4, 1000)
    outside = 1 - crop.inside
    assert 0.02 < outside < 0.35 and (crop.image == 0).all(axis=2).mean() == pytest.approx(outside, abs=0.02)


def test_every_side_of_a_photo_is_cut_off():
    black = np.zeros((4,), int)
    for seed in range(40):
        photo, box = images.cut_off(PHOTO, BOX, np.random.default_rng(seed))
        image = crop_square(np.ascontiguousarray(photo), box, 1.4, 1000).image
        black += [int((edge == 0).all()) for edge in (image[:, 0], image[:, -1], image[0], image[-1])]
    assert (black > 0).all() and black.sum() == 40


def test_motion_blurs_along_one_direction_and_keeps_the_brightness():
    photo = np.zeros((160, 160, 3), np.uint8)
    photo[70:90, 70:90] = 200
    blurred, box = images.blur(photo, BOX, np.random.default_rng(1))
    assert (box == BOX).all() and blurred.mean() == pytest.approx(photo.mean(), rel=0.02)
    assert np.abs(np.diff(blurred[80, :, 0].astype(int))).max() < 200 or np.abs(np.diff(blurred[:, 80, 0].astype(int))).max() < 200


@pytest.fixture(scope="module")
def head():
    """A rendered video of fast motion, and its script."""
    video = next(video for video in make_script(CONFIG) if len(video.subjects) == 1 and video.subjects[0].split == "val")
    return videos.render_moving_head(CONFIG, video), video


def sharpness(frames):
    """Mean absolute difference of neighboring pixels in the middle of the frames, where the head is; smoothed, because the noise is sharp."""
    height, width = frames[0].shape[:2]
    middle = [cv2.GaussianBlur(frame, (0, 0), 1.0)[height // 4 : -height // 4, width // 4 : -width // 4].astype(int) for frame in frames]
    return np.mean([np.abs(np.diff(image, axis=1)).mean() for image in middle])


def test_a_long_exposure_blurs_fast_motion_and_no_still_background(head):
    moving, _ = head
    assert len(moving.short) == len(moving.long) == len(moving.times) == len(moving.labels) == len(moving.motion)
    assert 0.02 < np.median(moving.motion) < 0.5
    fastest = np.argsort(moving.motion)[-10:]
    changes = [np.abs(moving.long[at].astype(int) - moving.short[at]).mean(axis=2) for at in fastest]
    assert np.mean(changes) > 1, "the exposures differ where something moves"
    corners = [change[:30, :30] for change in changes]
    assert np.mean(corners) < 0.6, "and not in the background"
    assert sharpness([moving.long[at] for at in fastest]) < 0.95 * sharpness([moving.short[at] for at in fastest])


def test_without_fast_motion_the_exposures_hardly_differ(monkeypatch, head):
    monkeypatch.setattr(videos, "_AMPLITUDE", (0.0, 0.0))
    calm, fast = videos.render_moving_head(CONFIG, head[1]), head[0]
    changes = [np.mean([np.abs(long.astype(int) - short).mean() for long, short in zip(one.long, one.short, strict=True)]) for one in (calm, fast)]
    assert np.median(calm.motion) < 0.2 * np.median(fast.motion)
    assert changes[0] < 0.4 * changes[1]


def test_labels_are_those_of_faces_that_show_a_shared_expression_during_the_whole_exposure():
    scripts = [video for video in make_script(CONFIG) if len(video.subjects) == 1 and video.subjects[0].split == "val"]
    kept = 0
    for video in scripts:
        scene = Scene(CONFIG, video)
        moving, rows = videos._visible_labels(scene), scene.labels(0)
        segments = video.subjects[0].segments
        of_frame = [next((one for one in segments if time < one.stop), segments[-1]) for time in scene.times]
        for at, label in enumerate(moving):
            near = of_frame[max(at - 3, 0) : at + 4]
            following = rows[at + 1] if at + 1 < min(len(rows), len(moving)) else rows[at] if at + 1 == len(moving) == len(rows) else None
            hidden = any(segment.occlusion for segment in near)
            if label >= 0:
                kept += 1
                assert not hidden and label == rows[at] < videos.CLASSES and following in (None, label)
            elif at < len(rows) and following == rows[at] and 0 <= rows[at] < videos.CLASSES:
                assert hidden
    assert kept > 50


def test_the_faces_of_the_videos_are_those_that_the_stage_prepares_from_both_exposures(tmp_path):
    config = replace(CONFIG, video_duration_s=3.0)
    examples, figures = videos.video_examples(config, CropFaces(DEMO.faces), tmp_path)
    short, long = (examples[kind] for kind in videos.KINDS)
    np.testing.assert_array_equal(short.labels, long.labels)
    np.testing.assert_array_equal(short.groups, long.groups)
    for each in (short, long):
        assert each.views.shape == (len(each.labels), 3, 3, DEMO.faces.chips.size, DEMO.faces.chips.size)
        assert each.labels.min() >= 0 and each.labels.max() < each.classes == videos.CLASSES
        assert 2 < len(np.unique(each.groups)) <= config.val_subjects - 1
    frames = figures["frames"]
    assert len(short.labels) <= frames[videos.KINDS[1]] <= frames["labelled"] and len(short.labels) <= frames[videos.KINDS[0]] <= frames["labelled"]
    assert figures["motion_quantiles"] == sorted(figures["motion_quantiles"])


def test_the_interval_of_a_real_difference_excludes_zero_and_that_of_none_is_zero():
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 7, 400) for _ in range(3)]
    poor = [np.where(rng.random(400) < 0.5, one, rng.integers(0, 7, 400)) for one in labels]
    better = [np.where(rng.random(400) < 0.5, one, other) for one, other in zip(labels, poor, strict=True)]
    by_video = {
        name: [
            np.stack([confusion_matrix(*pair) for pair in zip(one.reshape(40, 10), other.reshape(40, 10), strict=True)])
            for one, other in zip(labels, predicted, strict=True)
        ]
        for name, predicted in (("neither", poor), ("PadAug", better), ("both", poor))
    }
    rows = run.compare({(name, "videos"): matrices for name, matrices in by_video.items()}, {"videos": 7})
    found = {row["augmentation"]: row for row in rows}
    assert "difference" not in found["neither"] and found["both"]["interval"] == (0, 0)
    low, high = found["PadAug"]["interval"]
    assert 0 < low < found["PadAug"]["difference"] < high
    assert found["PadAug"]["difference"] == pytest.approx(np.mean(np.subtract(found["PadAug"]["scores"], found["neither"]["scores"])))


@pytest.mark.slow
def test_the_tool_trains_every_augmentation_and_writes_its_figures(tmp_path, capsys):
    run.main(seeds=(5,), images=40, test_images=16, test_videos=4, epochs=1, out=tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["seeds"], figures["images"]) == ([5], 40)
    kinds = {*images.KINDS, *videos.KINDS}
    assert {(row["augmentation"], row["examples"]) for row in figures["scores"]} == {(name, kind) for name in run.AUGMENTATIONS for kind in kinds}
    assert set(figures["data"][0]["faces"]) == kinds and all(figures["data"][0]["faces"].values())
    assert str(tmp_path / "figures.json") in capsys.readouterr().out
