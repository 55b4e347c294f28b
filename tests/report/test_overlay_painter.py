"""What is drawn on a frame: boxes in the colors of the expressions, legible labels, and the probabilities of the main person."""

import numpy as np
import pytest
from overlay_rows import analysis_rows, analysis_table, label_of

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.report.overlay import painter as painter_module
from abaw_ray.report.overlay.painter import CLASS_COLORS, Painter
from abaw_ray.report.overlay.people import read_people
from abaw_ray.report.tracks.canvas import MUTED, Canvas

SIZES = [(160, 120), (320, 240), (640, 360), (1280, 720), (720, 1280), (1280, 536)]


@pytest.fixture
def drawn(monkeypatch):
    """A function that draws people on a gray frame; returns the image and the texts with their boxes."""
    canvases = []

    class Recorded(Canvas):
        def __init__(self, *args):
            super().__init__(*args)
            canvases.append(self)

    monkeypatch.setattr(painter_module, "Canvas", Recorded)

    def draw(size, *people, frame=1, time=0.5, scale=(1.0, 1.0), gray=150):
        painter = Painter(read_people(analysis_table(*people)), size, scale)
        image = painter.draw(np.full((size[1], size[0], 3), gray, np.uint8), frame, time, scale)
        return painter, image.astype(int), canvases[-1].texts

    return draw


def people_at(size, count=3):
    """People side by side, the main one in the middle of the frame."""
    boxes = [(0.42, 0.3, 0.58, 0.6), (0.05, 0.2, 0.15, 0.4), (0.8, 0.02, 0.99, 0.3), (0.3, 0.7, 0.36, 0.8)][:count]
    names = ["main", *(f"person-{number}" for number in range(2, count + 1))]
    return [analysis_rows(name, [0.5], box=[side * size[at % 2] for at, side in enumerate(box)]) for name, box in zip(names, boxes, strict=True)]


@pytest.mark.parametrize("size", SIZES)
def test_every_box_has_the_color_of_its_expression(drawn, size):
    people = people_at(size)
    _, image, _ = drawn(size, *people)
    for (row,) in people:
        x, y = round(row["box_x0"]) + 1, round((row["box_y0"] + row["box_y1"]) / 2)
        assert np.abs(image[y, x] - CLASS_COLORS[label_of(1)]).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_texts_are_inside_the_frame_of_legible_size_and_do_not_overlap(drawn, size):
    painter, _, texts = drawn(size, *people_at(size, 4))
    assert painter.font >= 11
    for at, (text, box) in enumerate(texts):
        assert text and box[0] >= 0 and box[1] >= 0 and box[2] <= size[0] + 1 and box[3] <= size[1], text
        for other, taken in texts[:at]:
            assert box[2] <= taken[0] or taken[2] <= box[0] or box[3] <= taken[1] or taken[3] <= box[1], (text, other)
    shown = " ".join(text for text, _ in texts)
    assert f"main  {EXPRESSIONS[1]} 65%" in shown and all(f"person-{number}" in shown for number in (2, 3, 4) if size[0] > 200)


def test_the_panel_shows_each_probability_by_the_length_of_its_bar(drawn):
    _, image, texts = drawn((1280, 720), *people_at((1280, 720), 1))
    boxes = dict(texts)
    lengths = {}
    for name, color in zip(EXPRESSIONS, CLASS_COLORS, strict=True):
        row = image[round(boxes[name][1] + boxes[name][3]) // 2]
        lengths[name] = (np.abs(row - color).max(axis=1) <= 2).sum()
    longest = lengths[EXPRESSIONS[1]]
    assert longest > 80 and all(lengths[name] == pytest.approx(longest * 0.05 / 0.65, abs=1.5) for name in EXPRESSIONS if name != EXPRESSIONS[1])
    assert boxes["65%"] and len([text for text, _ in texts if text == "5%"]) == 7
    assert "0.50 s   #1" in boxes


def test_small_frames_have_a_strip_whose_parts_are_the_probabilities(drawn):
    painter, image, texts = drawn((320, 240), *people_at((320, 240), 1))
    assert painter.panel is None and f"{EXPRESSIONS[1]} 65%" in [text for text, _ in texts]
    row = image[240 - painter.row // 2 - 2]
    counts = [(np.abs(row - color).max(axis=1) <= 2).sum() for color in CLASS_COLORS]
    assert counts[1] > 80 and np.array(counts) / sum(counts) == pytest.approx([0.05, 0.65, *[0.05] * 6], abs=0.02)


def test_the_panel_is_where_it_covers_no_face_and_stays_there(drawn):
    size, seconds = (1280, 720), np.arange(5) / 10
    for x, y, corner in ((0.05, 0.6, "right"), (0.7, 0.6, "left"), (0.3, 0.1, "left")):
        box = (x * size[0], y * size[1], (x + 0.25) * size[0], (y + 0.35) * size[1])
        painter, *_ = drawn(size, analysis_rows("main", seconds, box=box))
        assert (painter.panel[0] < size[0] / 2) == (corner == "left") and painter.panel[1] > size[1] / 2


def test_people_without_a_prediction_or_a_face_say_so(drawn):
    size = (640, 360)
    box = (300, 100, 400, 220)
    _, image, texts = drawn(size, analysis_rows("main", [0.5], box=box, scored=False))
    assert "main  no prediction" in [text for text, _ in texts] and np.abs(image[160, 301] - MUTED).max() <= 1
    for heard, note in ((True, "(voice)"), (False, "(no face)")):
        _, image, texts = drawn(size, analysis_rows("main", [0.5], seen=False, heard=heard))
        assert f"main  {EXPRESSIONS[1]} 65%  {note}" in [text for text, _ in texts]
        assert (image[:150] == 150).all(), "no box"
    _, _, texts = drawn(size, analysis_rows("main", [0.5], without=("Other",)))
    assert "\N{EN DASH}" in [text for text, _ in texts]
    _, _, texts = drawn(size, analysis_rows("main", [0.5], box=box), frame=0)
    assert "main  no prediction" in [text for text, _ in texts], "no row"


def test_boxes_are_scaled_to_the_size_of_the_image(drawn):
    _, image, _ = drawn((640, 360), analysis_rows("main", [0.5], box=(600, 100, 800, 400)), scale=(0.5, 0.4))
    assert np.abs(image[100, 301] - CLASS_COLORS[1]).max() <= 1 and np.abs(image[41, 350] - CLASS_COLORS[1]).max() <= 1


def test_each_further_person_has_all_probabilities_below_the_box(drawn):
    size = (640, 360)
    people = [analysis_rows("main", [0.5], box=(50, 50, 90, 90)), analysis_rows("person-2", [0.5], box=(400, 60, 500, 200))]
    _, image, _ = drawn(size, *people)
    row = image[203, 400:500]
    counts = [(np.abs(row - color).max(axis=1) <= 2).sum() for color in CLASS_COLORS]
    assert counts == pytest.approx([5, 65, *[5] * 6], abs=1)
