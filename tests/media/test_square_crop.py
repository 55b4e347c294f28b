"""The square crop around a box: its definition pixel by pixel, and that chips and stored still images both use it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw_ray.encoder.config import IngestConfig
from abaw_ray.encoder.ingest import crop_face
from abaw_ray.faces.chips import crop_chip
from abaw_ray.faces.config import ChipConfig
from abaw_ray.media.square_crop import clip_square, crop_square, square_around

number = st.floats(-150, 350, allow_nan=False)
length = st.floats(1, 200)
box = st.tuples(number, number, length, length).map(lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]]))
scale = st.sampled_from([1.0, 1.3, 1.7, 2.0])
IMAGE = np.random.default_rng(0).integers(1, 256, (180, 240, 3), dtype=np.uint8)  # black is outside only


def slow_square(image, left, top, side):
    """The definition: pixel (i, j) of the square is pixel (top + i, left + j) of the image, black where there is none."""
    out = np.zeros((side, side, 3), np.uint8)
    for i in range(side):
        for j in range(side):
            if 0 <= top + i < image.shape[0] and 0 <= left + j < image.shape[1]:
                out[i, j] = image[top + i, left + j]
    return out


@given(box, scale)
def test_the_square_has_the_scaled_side_and_the_center_of_the_box(box, scale):
    left, top, side = square_around(box, scale)
    half = 0.5 + 1e-9
    assert abs(side - max(box[2] - box[0], box[3] - box[1]) * scale) <= half or side == 1
    assert abs(left + side / 2 - (box[0] + box[2]) / 2) <= half
    assert abs(top + side / 2 - (box[1] + box[3]) / 2) <= half


@settings(max_examples=30)
@given(box, scale)
def test_a_square_crop_agrees_with_its_definition_and_is_never_enlarged(box, scale):
    crop, slow = crop_square(IMAGE, box, scale, 128), slow_square(IMAGE, *square_around(box, scale))
    assert crop.inside == pytest.approx((slow > 0).any(axis=-1).mean())
    assert crop.image.shape == (min(len(slow), 128), min(len(slow), 128), 3) and crop.scale == len(crop.image) / len(slow)
    if len(slow) <= 128:
        np.testing.assert_array_equal(crop.image, slow)
    else:
        assert abs(crop.image.mean() - slow.mean()) < 2


inner = st.tuples(st.floats(40, 200), st.floats(40, 140), length, length).map(lambda b: np.array([b[0] - b[2], b[1] - b[3], *b[:2]]))


@settings(max_examples=60)
@given(inner, scale)
def test_a_chip_and_a_stored_still_image_of_the_same_box_are_the_same_square_unless_the_picture_ends_on_three_sides(box, scale):
    x, y = (box[:2] + box[2:]) / 2
    third, longer = sorted((x, y, 240 - x, 180 - y))[2], max(box[2:] - box[:2])
    stored = crop_face(IMAGE, box, None, IngestConfig(scale=scale, max_side=64))
    if 2 * third >= scale * longer:
        np.testing.assert_array_equal(stored.image, crop_chip(IMAGE, box, ChipConfig(scales=(scale,), size=64)).image)
    else:
        assert stored.scale < scale + 1 / longer


@given(st.integers(-50, 150), st.integers(-50, 150), st.integers(1, 100))
def test_the_clipped_square_has_all_its_pixels_that_are_in_the_image(left, top, side):
    x0, y0, x1, y1 = clip_square(left, top, side, 100, 80)
    inside = [(x, y) for x in range(max(left, 0), min(left + side, 100)) for y in range(max(top, 0), min(top + side, 80))]
    assert len(inside) == max(x1 - x0, 0) * max(y1 - y0, 0)
    assert not inside or (inside[0] == (x0, y0) and inside[-1] == (x1 - 1, y1 - 1))


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [5, 5, 1, 1], [0, 0, math.nan, 5], [0, 0, math.inf, 5]])
def test_a_box_without_extent_is_refused(box):
    with pytest.raises(ValueError, match="no extent"):
        crop_square(IMAGE, np.array(box, dtype=float), 1.0, 64)
