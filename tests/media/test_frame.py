"""A rectangle of a picture is that rectangle of the whole picture, in every format, whichever way the camera was held."""

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw_ray.media.frame import Converter, Frame

TURNS = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]
EXACT = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "nv12", "gray", "rgb24", "gbrp", "yuva420p", "yuyv422", "rgba"]
DEEP = ["yuv420p10le", "yuv422p10le", "yuv444p12le", "p010le", "gray10le"]
"""More than eight bits: libswscale dithers them, by where in the picture they stand."""


def camera(width=130, height=98, seed=0):
    """Something like a picture: smooth, with edges and colours."""
    rng = np.random.default_rng(seed)
    rgb = cv2.resize(rng.integers(0, 255, (9, 13, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.rectangle(rgb, (31, 17), (90, 60), (250, 10, 30), -1)
    return rgb


PICTURES = {kind: av.VideoFrame.from_ndarray(camera(), "rgb24").reformat(format=kind) for kind in EXACT + DEEP}


def frame(kind, turn=(1, 0, 0, 1)):
    made = Frame(1, 0.0, PICTURES[kind], Converter())
    made.__dict__["turn"] = turn
    return made


rectangles = st.tuples(*[st.floats(0, 1)] * 4)


def pixels(rectangle, width, height):
    """A rectangle of at least one pixel inside the picture."""
    left, top = int(rectangle[0] * (width - 1)), int(rectangle[1] * (height - 1))
    return left, top, 1 + int(rectangle[2] * (width - left - 1)), 1 + int(rectangle[3] * (height - top - 1))


@settings(deadline=None, max_examples=200)
@given(rectangles, st.sampled_from(EXACT + DEEP), st.sampled_from(TURNS))
def test_a_rectangle_shows_what_the_whole_picture_shows_there(rectangle, kind, turn):
    one = frame(kind, turn)
    left, top, width, height = pixels(rectangle, one.width, one.height)
    part, whole = one.region(left, top, width, height), one.rgb()[top : top + height, left : left + width]
    assert part.shape == (height, width, 3)
    off = np.abs(part.astype(int) - whole).max()
    assert off == 0 if kind in EXACT else off <= 10


@settings(deadline=None, max_examples=100)
@given(rectangles, st.sampled_from(EXACT + DEEP), st.sampled_from(TURNS), st.integers(1, 40), st.integers(1, 40))
def test_a_rectangle_made_smaller_has_the_size_asked_for_the_same_brightness_and_on_the_whole_the_same_colours(rectangle, kind, turn, columns, rows):
    one = frame(kind, turn)
    left, top, width, height = pixels(rectangle, one.width, one.height)
    part = one.region(left, top, width, height, (columns, rows))
    assert part.shape == (rows, columns, 3)
    if width >= 2 * columns >= 16 and height >= 2 * rows >= 16:
        whole = cv2.resize(one.rgb()[top : top + height, left : left + width], (columns, rows), interpolation=cv2.INTER_AREA)
        grey, expected = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(int) for rgb in (part, whole))
        assert np.abs(grey - expected).mean() < 4
        np.testing.assert_allclose(part.mean(axis=(0, 1)), whole.mean(axis=(0, 1)), atol=8)


@pytest.mark.parametrize("turn", TURNS)
def test_a_picture_is_turned_as_its_display_matrix_says(turn):
    one, coded = frame("rgb24", turn), PICTURES["rgb24"].to_ndarray()
    a, b, c, d = turn
    shown = np.zeros_like(coded if a else coded.transpose(1, 0, 2))
    last_y, last_x = shown.shape[0] - 1, shown.shape[1] - 1
    for y, x in np.ndindex(coded.shape[:2]):
        shown[b * x + d * y + (last_y if b + d < 0 else 0), a * x + c * y + (last_x if a + c < 0 else 0)] = coded[y, x]
    np.testing.assert_array_equal(one.rgb(), shown)
    assert (one.width, one.height) == (shown.shape[1], shown.shape[0])


@pytest.mark.parametrize("outside", [(-1, 0, 5, 5), (0, -1, 5, 5), (126, 0, 5, 5), (0, 94, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0)])
def test_a_rectangle_that_leaves_the_picture_is_refused(outside):
    with pytest.raises(ValueError, match="leave the picture"):
        frame("yuv420p").region(*outside)


@pytest.mark.parametrize("kind", EXACT + DEEP)
def test_coarse_brightness_follows_the_picture_in_every_format(kind):
    grey = cv2.cvtColor(camera(), cv2.COLOR_RGB2GRAY).astype(float)
    rows = (np.arange(36) * 98 + 49) // 36
    columns = (np.arange(64) * 130 + 65) // 64
    coarse = frame(kind).coarse_luma.astype(float)
    assert coarse.shape == (36, 64)
    assert np.corrcoef(coarse.ravel(), grey[np.ix_(rows, columns)].ravel())[0, 1] > 0.97
