from dataclasses import replace

import cv2
import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.augmentation.config import NO_DEGRADATION, AugmentConfig, PadAugConfig
from abaw_ray.encoder.augmentation.padaug import Border
from abaw_ray.encoder.augmentation.view import center_crop, random_crop

NO_PADDING = PadAugConfig(probability=0.0)
FIXED = AugmentConfig(
    scales=(1.5, 1.5),
    max_shift=0.0,
    max_rotation_deg=0.0,
    hflip_prob=0.0,
    brightness=0.0,
    gamma=0.0,
    degrade=NO_DEGRADATION,
    padaug=NO_PADDING,
)


def ramp(side=140):
    """Red is the column, green the row, blue 200, so that a pixel's value is its position."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([columns, rows, np.full_like(rows, 200)], axis=2).astype(np.uint8)


def geometry(view):
    """Least-squares map of the view's pixels to the image's: (2x2 matrix, image position of the view's center)."""
    size = len(view)
    rows, columns = np.nonzero(view[..., 2] == 200)
    assert len(rows) > size * size / 4
    middle = (size - 1) / 2
    inputs = np.stack([columns - middle, rows - middle, np.ones(len(rows))], axis=1)
    solution = np.linalg.lstsq(inputs, view[rows, columns, :2].astype(float), rcond=None)[0]
    return solution[:2].T, solution[2]


def views(config, count=300, side=140, size=70, stored_scale=2.0):
    rngs = (np.random.default_rng([0, number]) for number in range(count))
    return [random_crop(ramp(side), rng, size=size, stored_scale=stored_scale, config=config) for rng in rngs]


def test_the_whole_stored_image_at_its_own_size_is_unchanged():
    np.testing.assert_array_equal(center_crop(ramp(), size=140, stored_scale=2.0, scale=2.0), ramp())


def test_a_smaller_scale_at_native_resolution_is_the_center_crop():
    np.testing.assert_array_equal(center_crop(ramp(), size=70, stored_scale=2.0, scale=1.0), ramp()[35:105, 35:105])


def test_large_crops_are_reduced_by_area_averaging():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (280, 280, 3), dtype=np.uint8)
    view = center_crop(image, size=70, stored_scale=2.0, scale=2.0)
    np.testing.assert_array_equal(view, cv2.resize(image, (70, 70), interpolation=cv2.INTER_AREA))
    assert view.std() < 0.4 * image.std()


def test_without_any_range_the_random_crop_equals_the_center_crop():
    for view in views(FIXED, count=3):
        np.testing.assert_array_equal(view, center_crop(ramp(), size=70, stored_scale=2.0, scale=1.5))


def test_a_horizontal_flip_mirrors_the_crop():
    view = views(replace(FIXED, hflip_prob=1.0), count=1)[0]
    flipped = center_crop(ramp(), size=70, stored_scale=2.0, scale=1.5)[:, ::-1]
    assert np.abs(view.astype(int) - flipped).max() <= 1


def test_random_crops_cover_exactly_their_ranges_of_scale_rotation_flip_and_shift():
    config = replace(FIXED, scales=(1.0, 1.6), max_shift=0.05, max_rotation_deg=10.0, hflip_prob=0.5)
    scales, rotations, flips, shifts = [], [], [], []
    for matrix, center in map(geometry, views(config)):
        side = np.sqrt(abs(np.linalg.det(matrix))) * 70
        scales.append(side * 2.0 / 140)
        flip = np.sign(np.linalg.det(matrix))
        flips.append(flip < 0)
        rotations.append(np.degrees(np.arctan2(-matrix[0, 1], matrix[1, 1])))
        shifts.append((center - 69.5) / side)
    shifts = np.array(shifts)
    assert 0.98 < min(scales) < 1.03
    assert 1.57 < max(scales) < 1.62
    assert -10.3 < min(rotations) < -9
    assert 9 < max(rotations) < 10.3
    assert 0.4 < np.mean(flips) < 0.6
    assert 0.045 < abs(shifts).max() < 0.056


def test_a_crop_of_an_aligned_image_never_exceeds_the_image():
    config = replace(FIXED, scales=(1.0, 1.7))
    image = np.full((100, 100, 3), 120, np.uint8)
    crops = [random_crop(image, np.random.default_rng(number), size=70, stored_scale=1.25, config=config) for number in range(100)]
    assert all((view == 120).all() for view in [*crops, center_crop(image, size=70, stored_scale=1.25, scale=1.35)])
    sides = [np.sqrt(abs(np.linalg.det(geometry(view)[0]))) * 70 for view in views(config, side=100, stored_scale=1.25)]
    assert 79 < min(sides) < 83 and 97 < max(sides) < 102


def test_rotation_and_shift_leave_black_only_if_it_is_set():
    config = replace(FIXED, scales=(1.25, 1.25), max_shift=0.1, max_rotation_deg=20.0)
    image = np.full((100, 100, 3), 120, np.uint8)

    def darkest(config):
        views = [random_crop(image, np.random.default_rng(number), size=70, stored_scale=1.25, config=config) for number in range(50)]
        return min(view.min() for view in views)

    assert darkest(config) == 120
    assert darkest(replace(config, padding_mode="black")) == 0
    inside = replace(FIXED, scales=(1.25, 1.25), padding_mode="black")
    for side in (40, 100, 300):  # enlarged, resampled, reduced
        view = random_crop(np.full((side, side, 3), 120, np.uint8), np.random.default_rng(0), size=70, stored_scale=1.25, config=inside)
        assert view.min() == 120, "a crop within the image is not padded"


def test_black_covers_exactly_what_lies_beyond_the_image():
    config = replace(FIXED, scales=(2.0, 2.0), padding_mode="black")
    view = random_crop(np.full((100, 100, 3), 120, np.uint8), np.random.default_rng(0), size=80, stored_scale=1.0, config=config)
    expected = np.zeros((80, 80))
    expected[20:60, 20:60] = 120
    np.testing.assert_array_equal(view[..., 0], expected)


@pytest.mark.parametrize("scale", [1.2, 1.7])
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_black_begins_where_the_picture_ends_relative_to_the_face_for_every_shift_rotation_and_flip(monkeypatch, scale, side):
    config = replace(FIXED, scales=(scale, scale), max_shift=0.1, max_rotation_deg=15.0, hflip_prob=0.5)
    image = np.full((140, 140, 3), 90, np.uint8)
    image[68:72, 68:72] = (250, 90, 90)  # the center of the face
    plain = views_of(image, config, 40)
    monkeypatch.setattr("abaw_ray.encoder.augmentation.view.sample_border", lambda *_: Border(**{side: 0.4}))
    for view, unpadded in zip(views_of(image, config, 40), plain, strict=True):
        row, column = np.argwhere(unpadded[..., 0] > 170).mean(axis=0)
        lines = (view == 0).all(axis=(0, 2) if side in ("left", "right") else (1, 2))
        face, count = column if side in ("left", "right") else row, lines.sum()
        assert lines[:count].all() if side in ("left", "top") else lines[len(lines) - count :].all()
        edge = count - 0.5 if side in ("left", "top") else 69.5 - count
        assert abs(edge - face) * scale / 70 == pytest.approx(0.4, abs=0.02 * scale)


def views_of(image, config, count):
    return [random_crop(image, np.random.default_rng(number), size=70, stored_scale=2.0, config=config) for number in range(count)]


def test_brightness_and_gamma_change_the_image_and_black_stays_black():
    config = replace(FIXED, brightness=0.4, gamma=0.4)
    image = np.full((140, 140, 3), 120, np.uint8)
    image[:, :70] = 0
    rng = np.random.default_rng(0)
    crops = [random_crop(image, rng, size=70, stored_scale=1.5, config=config) for _ in range(60)]
    assert all((view[:, :34] == 0).all() for view in crops)
    bright = [int(view[35, 60, 0]) for view in crops]
    assert min(bright) < 85
    assert max(bright) > 160


def test_the_same_seed_step_and_image_give_the_same_pixels():
    config = AugmentConfig(scales=(1.0, 1.7))
    first, again = views(config, count=20), views(config, count=20)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({view.tobytes() for view in first}) == 20


def test_scales_that_descend_are_refused():
    with pytest.raises(ConfigError, match="scales"):
        AugmentConfig(scales=(1.7, 1.0))


def test_views_are_centered_on_the_face_and_not_on_the_stored_image():
    face = np.array([60.0, 75.0])
    np.testing.assert_array_equal(center_crop(ramp(), size=70, stored_scale=2.0, scale=1.0, face=face), ramp()[40:110, 25:95])
    view = random_crop(ramp(), np.random.default_rng(0), size=70, stored_scale=2.0, config=FIXED, face=face)
    np.testing.assert_allclose(geometry(view)[1], face - 0.5, atol=0.3)
    reduced = center_crop(ramp(), size=35, stored_scale=2.0, scale=1.0, face=face)
    np.testing.assert_allclose(geometry(reduced)[1], face - 0.5, atol=0.6)
