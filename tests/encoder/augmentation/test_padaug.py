"""Where pictures end around faces: distances, fractions and how much of a face is covered."""

from collections import Counter

import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.augmentation.config import PadAugConfig
from abaw_ray.encoder.augmentation.padaug import Border, apply_border, sample_border

SIZE, LARGEST = 170, 1.7


def borders_of(count, config):
    return [sample_border(np.random.default_rng([0, number]), config, LARGEST) for number in range(count)]


def sides_of(border):
    return tuple(name for name, distance in border._asdict().items() if np.isfinite(distance))


def inside_of(border, scale=LARGEST):
    """Fraction of a crop that stays, by counting pixels."""
    view = apply_border(np.full((SIZE, SIZE, 3), 9, np.uint8), border, scale, np.zeros(2))
    return (view > 0).mean()


def test_a_probability_of_a_quarter_ends_a_quarter_of_the_pictures():
    assert 0.22 < np.mean([border != Border() for border in borders_of(4000, PadAugConfig(probability=0.25))]) < 0.28
    assert set(borders_of(50, PadAugConfig(probability=0.0))) == {Border()}


def test_sides_and_corners_occur_equally_often_and_opposite_sides_as_often_as_they_should():
    counts = Counter(sides_of(border) for border in borders_of(8000, PadAugConfig(probability=1.0, opposite=0.2)))
    single = [("left",), ("right",), ("top",), ("bottom",), *[(x, y) for x in ("left", "right") for y in ("top", "bottom")]]
    assert set(counts) == {*single, ("left", "right"), ("top", "bottom")}
    assert all(counts[sides] == pytest.approx(800, rel=0.15) for sides in single)
    assert counts["left", "right"] + counts["top", "bottom"] == pytest.approx(1600, rel=0.1)


def test_of_the_largest_crop_the_stated_fraction_stays_inside_for_every_place():
    config = PadAugConfig(probability=1.0, inside=(0.6, 0.6), opposite=0.3)
    assert all(inside_of(border) == pytest.approx(0.6, abs=0.012) for border in borders_of(200, config))


def test_the_fractions_follow_the_quantiles():
    config = PadAugConfig(probability=1.0, inside=(0.5, 0.8, 1.0))
    found = np.sort([inside_of(border) for border in borders_of(1500, config)])
    np.testing.assert_allclose(found[[0, 375, 750, 1125, -1]], [0.5, 0.65, 0.8, 0.9, 1.0], atol=0.03)


def test_a_tighter_crop_of_the_same_picture_has_less_black_or_none():
    border = Border(left=0.55, bottom=0.7)
    areas = [inside_of(border, scale) for scale in (1.7, 1.3, 1.0)]
    assert areas == pytest.approx([(0.85 + 0.55) / 1.7 * (0.85 + 0.7) / 1.7, (0.65 + 0.55) / 1.3, 1.0], abs=0.012)


def test_the_face_moves_the_black_with_it():
    view = apply_border(np.full((100, 100, 3), 9, np.uint8), Border(left=0.4), 1.0, np.array([7.0, 0.0]))
    assert (view[:, :17] == 0).all() and (view[:, 17:] == 9).all()


def test_how_much_of_the_face_box_is_covered_is_counted_right():
    rng = np.random.default_rng(0)
    for _ in range(200):
        border = Border(*np.where(rng.random(4) < 0.5, rng.random(4) * 0.8, np.inf))
        box = apply_border(np.full((400, 400, 3), 9, np.uint8), border, 1.0, np.zeros(2))
        assert border.covered() == pytest.approx((box == 0).mean(), abs=0.006)
    assert Border().covered() == 0


def test_by_default_most_padded_views_keep_the_whole_face_box_and_none_loses_half_of_it():
    covered = np.array([border.covered() for border in borders_of(4000, PadAugConfig(probability=1.0))])
    assert (covered > 0).mean() < 0.22, "the strips of earlier versions covered a part in 73 of 100 padded views"
    assert np.median(covered) == 0
    assert covered.max() < 0.4


def test_the_same_seed_gives_the_same_picture_and_another_image_another_one():
    first, again = borders_of(200, PadAugConfig(probability=1.0)), borders_of(200, PadAugConfig(probability=1.0))
    assert first == again
    assert len(set(first)) > 150


@pytest.mark.parametrize("change", [{"probability": 1.5}, {"opposite": -0.1}, {"inside": (0.9,)}, {"inside": (0.9, 0.5)}, {"inside": (0.1, 0.5)}])
def test_settings_that_are_no_distribution_are_refused(change):
    with pytest.raises(ConfigError, match="padaug"):
        PadAugConfig(**change)
