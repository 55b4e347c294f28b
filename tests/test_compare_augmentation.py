import json

import numpy as np
import pytest

from abaw_ray.media.square_crop import crop_square
from tools.data import compare_augmentation as tool

BOX = np.array([60.0, 50.0, 100.0, 100.0])
PHOTO = np.full((160, 160, 3), 200, np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_a_photo_is_cut_off_near_the_face_so_that_its_crop_is_black_there(seed):
    photo, box = tool.cut_off(PHOTO, BOX, np.random.default_rng(seed))
    assert (box[2:] - box[:2]).tolist() == [40, 50]
    crop = crop_square(np.ascontiguousarray(photo), box, 1.4, 1000)
    outside = 1 - crop.inside
    assert 0.02 < outside < 0.35 and (crop.image == 0).all(axis=2).mean() == pytest.approx(outside, abs=0.02)


def test_every_side_of_a_photo_is_cut_off():
    black = np.zeros((4,), int)
    for seed in range(40):
        photo, box = tool.cut_off(PHOTO, BOX, np.random.default_rng(seed))
        image = crop_square(np.ascontiguousarray(photo), box, 1.4, 1000).image
        black += [int((edge == 0).all()) for edge in (image[:, 0], image[:, -1], image[0], image[-1])]
    assert (black > 0).all() and black.sum() == 40


def test_motion_blurs_along_one_direction_and_keeps_the_brightness():
    photo = np.zeros((160, 160, 3), np.uint8)
    photo[70:90, 70:90] = 200
    blurred, box = tool.blur(photo, BOX, np.random.default_rng(1))
    assert (box == BOX).all() and blurred.mean() == pytest.approx(photo.mean(), rel=0.02)
    assert np.abs(np.diff(blurred[80, :, 0].astype(int))).max() < 200 or np.abs(np.diff(blurred[:, 80, 0].astype(int))).max() < 200


def test_the_interval_of_a_real_difference_excludes_zero_and_that_of_none_is_zero():
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 8, 400) for _ in range(3)]
    poor = [np.where(rng.random(400) < 0.5, one, rng.integers(0, 8, 400)) for one in labels]
    better = [np.where(rng.random(400) < 0.5, one, other) for one, other in zip(labels, poor, strict=True)]
    rows = tool.compare({("neither", "plain"): poor, ("PadAug", "plain"): better, ("both", "plain"): poor}, labels)
    found = {row["augmentation"]: row for row in rows}
    assert "difference" not in found["neither"] and found["both"]["interval"] == [0, 0]
    low, high = found["PadAug"]["interval"]
    assert 0 < low < found["PadAug"]["difference"] < high
    expected = np.mean(np.subtract(found["PadAug"]["scores"], found["neither"]["scores"]))
    assert found["PadAug"]["difference"] == pytest.approx(expected)


@pytest.mark.slow
def test_the_tool_trains_every_augmentation_and_writes_its_figures(tmp_path, capsys):
    tool.main(seeds=(5,), images=40, test_images=16, epochs=1, out=tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["seeds"], figures["images"]) == ([5], 40)
    assert {(row["augmentation"], row["test"]) for row in figures["scores"]} == {(name, test) for name in tool.AUGMENTATIONS for test in tool.TESTS}
    assert str(tmp_path / "figures.json") in capsys.readouterr().out
