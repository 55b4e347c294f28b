import numpy as np
import pytest

from abaw_ray.report.tracks.canvas import Canvas, font, format_time, truncate_middle


@pytest.mark.parametrize("width", [0, 5, 40, 90, 1000])
def test_a_text_that_is_too_long_keeps_both_its_ends_and_fits(width):
    name = "135-24-1920x1080_right"
    text = truncate_middle(name, width, 14)
    assert font(14).getlength(text) <= width
    if width == 1000:
        assert text == name
    elif width >= 40:
        start, end = text.split("…")
        assert name.startswith(start) and name.endswith(end) and start


def test_a_paragraph_breaks_between_words_and_never_leaves_its_width():
    canvas = Canvas(200, 200)
    below = canvas.paragraph(10, 5, "several words that need some lines and averyveryverylongwordthatnobodycanbreak", 14, width=150)
    assert len(canvas.texts) == 3
    assert all(box[2] <= 161 and box[3] <= below for _, box in canvas.texts)
    assert " ".join(text for text, _ in canvas.texts[:2]).startswith("several words")


def test_an_image_keeps_its_aspect_ratio_and_its_colors():
    canvas = Canvas(100, 60)
    assert canvas.paste(np.full((20, 40, 3), (200, 10, 30), np.uint8), (0, 0, 100, 60)) == (0, 5, 100, 55)
    pixels = np.asarray(canvas.image)
    assert (pixels[30, 50] == (200, 10, 30)).all() and (pixels[2] == 255).all()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00 s"), (59.996, "1:00.00"), (7.254, "7.25 s"), (127.25, "2:07.25"), (3727.25, "1:02:07.25"), (-0.5, "-0.50 s")],
)
def test_a_time_is_written_as_a_clock_shows_it(seconds, text):
    assert format_time(seconds) == text


def test_a_time_without_digits_has_no_point():
    assert [format_time(second, 0) for second in (5, 65, 3605)] == ["5 s", "1:05", "1:00:05"]
