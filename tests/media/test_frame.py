"""A crop of a frame equals the same rectangle of the whole frame, in every pixel format and orientation."""

import av
import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from abaw_ray.media.frame import Converter, Frame

ORIENTATIONS = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]
EXACT = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "nv12", "gray", "rgb24", "gbrp", "yuva420p", "yuyv422", "rgba"]
DEEP = ["yuv420p10le", "yuv422p10le", "yuv444p12le", "p010le", "gray10le"]
"""More than eight bits: libswscale dithers them, depending on the position in the frame."""


def camera(width=130, height=98, seed=0):
    """A smooth image with colors and a rectangle of sharp edges."""
    rng = np.random.default_rng(seed)
    rgb = cv2.resize(rng.integers(0, 255, (9, 13, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.rectangle(rgb, (31, 17), (90, 60), (250, 10, 30), -1)
    return rgb


FRAMES = {kind: av.VideoFrame.from_ndarray(camera(), "rgb24").reformat(format=kind) for kind in EXACT + DEEP}


def make_frame(kind, orientation=(1, 0, 0, 1)):
    frame = Frame(1, 0.0, FRAMES[kind], Converter())
    frame.__dict__["orientation"] = orientation
    return frame


rectangles = st.tuples(*[st.floats(0, 1)] * 4)


def pixels(rectangle, width, height):
    """A rectangle of at least one pixel inside the frame."""
    left, top = int(rectangle[0] * (width - 1)), int(rectangle[1] * (height - 1))
    return left, top, 1 + int(rectangle[2] * (width - left - 1)), 1 + int(rectangle[3] * (height - top - 1))


@settings(max_examples=200)
@given(rectangles, st.sampled_from(EXACT + DEEP), st.sampled_from(ORIENTATIONS))
def test_a_crop_equals_the_same_rectangle_of_the_whole_frame(rectangle, kind, orientation):
    frame = make_frame(kind, orientation)
    left, top, width, height = pixels(rectangle, frame.width, frame.height)
    crop, whole = frame.crop(left, top, width, height), frame.rgb()[top : top + height, left : left + width]
    assert crop.shape == (height, width, 3)
    error = np.abs(crop.astype(int) - whole).max()
    assert error == 0 if kind in EXACT else error <= 10


@settings(max_examples=100)
@example((0.1640625, 0.0, 0.1640625, 0.15625), "yuv420p", (-1, 0, 0, -1), 8, 8)
@given(rectangles, st.sampled_from(EXACT + DEEP), st.sampled_from(ORIENTATIONS), st.integers(1, 40), st.integers(1, 40))
def test_a_resized_crop_has_the_given_size_the_same_brightness_and_about_the_same_colors(rectangle, kind, orientation, columns, rows):
    frame = make_frame(kind, orientation)
    left, top, width, height = pixels(rectangle, frame.width, frame.height)
    crop = frame.crop(left, top, width, height, (columns, rows))
    assert crop.shape == (rows, columns, 3)
    if width >= 2 * columns >= 16 and height >= 2 * rows >= 16:
        whole = cv2.resize(frame.rgb()[top : top + height, left : left + width], (columns, rows), interpolation=cv2.INTER_AREA)
        gray, expected = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(int) for rgb in (crop, whole))
        assert np.abs(gray - expected).mean() < 4
        # Chroma may be shifted by a pixel of the frame: in noise 16 pixels wide, a sixteenth of the samples differ.
        np.testing.assert_allclose(crop.mean(axis=(0, 1)), whole.mean(axis=(0, 1)), atol=16)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_frame_is_rotated_by_its_display_matrix(orientation):
    frame, coded = make_frame("rgb24", orientation), FRAMES["rgb24"].to_ndarray()
    a, b, c, d = orientation
    shown = np.zeros_like(coded if a else coded.transpose(1, 0, 2))
    last_y, last_x = shown.shape[0] - 1, shown.shape[1] - 1
    for y, x in np.ndindex(coded.shape[:2]):
        shown[b * x + d * y + (last_y if b + d < 0 else 0), a * x + c * y + (last_x if a + c < 0 else 0)] = coded[y, x]
    np.testing.assert_array_equal(frame.rgb(), shown)
    assert (frame.width, frame.height) == (shown.shape[1], shown.shape[0])


@pytest.mark.parametrize("outside", [(-1, 0, 5, 5), (0, -1, 5, 5), (126, 0, 5, 5), (0, 94, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0)])
def test_a_crop_that_leaves_the_frame_is_refused(outside):
    with pytest.raises(ValueError, match="extend beyond the frame"):
        make_frame("yuv420p").crop(*outside)


@pytest.mark.parametrize("kind", EXACT + DEEP)
def test_coarse_luma_follows_the_image_in_every_format(kind):
    gray = cv2.cvtColor(camera(), cv2.COLOR_RGB2GRAY).astype(float)
    rows = (np.arange(36) * 98 + 49) // 36
    columns = (np.arange(64) * 130 + 65) // 64
    coarse = make_frame(kind).coarse_luma.astype(float)
    assert coarse.shape == (36, 64)
    assert np.corrcoef(coarse.ravel(), gray[np.ix_(rows, columns)].ravel())[0, 1] > 0.97
