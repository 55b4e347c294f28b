import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.config import PadAugConfig
from abaw_ray.encoder.padaug import Padding, apply_padding, sample_padding

SIZE = 70


def slow_padding(image, padding):
    out = np.zeros_like(image)
    size = len(image)
    for y in range(size):
        for x in range(size):
            from_y, from_x = y - padding.dy, x - padding.dx
            covered = x < padding.left or x >= size - padding.right or y < padding.top or y >= size - padding.bottom
            if not covered and 0 <= from_y < size and 0 <= from_x < size:
                out[y, x] = image[from_y, from_x]
    return out


def paddings_of(count, config):
    return [sample_padding(np.random.default_rng([0, number]), SIZE, config) for number in range(count)]


@pytest.mark.parametrize("number", range(12))
def test_strips_are_black_and_the_rest_is_the_shifted_image(number):
    rng = np.random.default_rng(number)
    image = rng.integers(1, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    padding = sample_padding(rng, SIZE, PadAugConfig(probability=1.0, max_shift=0.1))
    before = image.copy()
    np.testing.assert_array_equal(apply_padding(image, padding), slow_padding(image, padding))
    np.testing.assert_array_equal(image, before)


def test_a_probability_of_a_quarter_pads_a_quarter_of_the_images():
    padded = [padding != Padding() for padding in paddings_of(4000, PadAugConfig(probability=0.25))]
    assert 0.22 < np.mean(padded) < 0.28
    assert not any(padding != Padding() for padding in paddings_of(50, PadAugConfig(probability=0.0)))


def test_all_four_sides_and_all_four_corners_occur_equally_often():
    counts = {}
    for padding in paddings_of(4000, PadAugConfig(probability=1.0)):
        sides = tuple(side for side in ("left", "right", "top", "bottom") if getattr(padding, side))
        counts[sides] = counts.get(sides, 0) + 1
    assert set(counts) == {
        *[(side,) for side in ("left", "right", "top", "bottom")],
        *[(x, y) for x in ("left", "right") for y in ("top", "bottom")],
    }
    assert min(counts.values()) > 400


def test_strips_and_shifts_cover_their_ranges_exactly():
    config = PadAugConfig(probability=1.0, max_fraction=0.3, max_shift=0.06)
    paddings = paddings_of(3000, config)
    widths = [getattr(padding, side) for padding in paddings for side in ("left", "right", "top", "bottom")]
    assert max(widths) == int(0.3 * SIZE)
    moves = [move for padding in paddings for move in (padding.dx, padding.dy)]
    assert (min(moves), max(moves)) == (-4, 4)


def test_the_same_seed_gives_the_same_strips_and_another_image_other_ones():
    first, again = paddings_of(200, PadAugConfig(probability=1.0)), paddings_of(200, PadAugConfig(probability=1.0))
    assert first == again
    assert len({repr(padding) for padding in first}) > 150


def test_settings_that_would_hide_the_face_are_refused():
    for change in ({"max_fraction": 0.6}, {"probability": 1.5}, {"max_shift": 0.5}):
        with pytest.raises(ConfigError, match="padaug"):
            PadAugConfig(**change)
