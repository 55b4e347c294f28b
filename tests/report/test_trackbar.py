import numpy as np
import pytest
from test_trackrows import track_of

from abaw_ray.report.tracks.bar import Axis, draw_axis, draw_bar, draw_gaps, gap_text, shares
from abaw_ray.report.tracks.canvas import FAINT, STATE_COLOURS, Canvas
from abaw_ray.report.tracks.rows import STATES, Gap, ends, gaps_of


def slow_shares(track, axis, pixel, samples=400):
    """Look at many moments of a pixel's time."""
    step = (axis.stop - axis.start) / round(axis.right - axis.left)
    found = np.zeros(len(STATES))
    for moment in axis.start + step * (pixel + (np.arange(samples) + 0.5) / samples):
        rows = np.flatnonzero((track.time <= moment) & (moment < ends(track.time)))
        if len(rows):
            found[track.state[rows[0]]] += 1 / samples
    return found


@pytest.mark.parametrize("frames", [6, 90, 900])
def test_a_pixel_is_divided_as_its_time_is(frames):
    rng = np.random.default_rng(frames)
    times = np.cumsum(rng.uniform(0.01, 0.1, frames + 20))
    track = track_of("".join(rng.choice(list(".DFI"), frames)), times, first=11)
    axis = Axis(left=10, right=70, start=float(times[0]), stop=float(times[-1]))
    divided = shares(track, axis)
    assert divided.shape == (60, len(STATES))
    for pixel in range(0, 60, 7):
        np.testing.assert_allclose(divided[pixel], slow_shares(track, axis, pixel), atol=0.02)


def test_a_gap_of_one_frame_among_ten_thousand_can_be_seen():
    states = ["I"] * 10_000
    states[5_000] = "."
    track = track_of("".join(states), np.arange(10_000) / 30)
    canvas = Canvas(220, 40)
    draw_bar(canvas, track, Axis(left=10, right=210, start=0.0, stop=10_000 / 30), 5, 30)
    pixels = np.asarray(canvas.image)
    amber = (pixels == STATE_COLOURS["interpolated"]).all(axis=2)
    assert amber[5:35, 10:210].mean() > 0.99
    assert (~amber[5:35, 10:210]).any(axis=0).sum() == 1, "one column shows it"
    assert (~amber[5:8, 110]).all()


def test_a_track_that_is_not_there_yet_is_pale_and_not_a_gap():
    canvas = Canvas(120, 20)
    draw_bar(canvas, track_of("DDDDD", np.arange(10) / 10, first=6), Axis(left=10, right=110, start=0.0, stop=1.0), 5, 10)
    pixels = np.asarray(canvas.image)[6:14]
    assert (pixels[:, 11:59] == FAINT).all() and (pixels[:, 61:109] == STATE_COLOURS["detected"]).all()


def overlaps(texts):
    return [(a, b) for at, (a, x) in enumerate(texts) for b, y in texts[at + 1 :] if x[0] < y[2] and y[0] < x[2] and x[1] < y[3] and y[1] < x[3]]


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_many_gaps_neither_meet_nor_leave_the_bar_and_those_left_out_are_counted(seed):
    rng = np.random.default_rng(seed)
    states = "".join(rng.choice(list("I."), p=[0.9, 0.1]) * int(rng.integers(1, 30)) for _ in range(200))
    track = track_of(states, np.arange(len(states)) / 25)
    axis = Axis(left=20, right=580, start=0.0, stop=len(states) / 25)
    canvas = Canvas(600, 300)
    draw_axis(canvas, axis, 5)
    below = draw_gaps(canvas, gaps_of(track), axis, 60)
    assert overlaps(canvas.texts) == []
    assert all(box[0] >= 20 and box[2] <= 581 and box[3] <= below for _, box in canvas.texts)
    *labels, rest = [text for text, box in canvas.texts if box[1] > 60]
    assert rest.startswith(f"and {len(gaps_of(track)) - len(labels)} more gaps")
    longest = max(gaps_of(track), key=lambda gap: gap.stop - gap.start)
    assert gap_text(longest) in labels


def test_a_bar_without_gaps_says_nothing_of_them():
    canvas = Canvas(600, 100)
    assert draw_gaps(canvas, [], Axis(left=0, right=600, start=0.0, stop=1.0), 40) == 40
    assert canvas.texts == []


@pytest.mark.parametrize(
    ("gap", "text"), [((2.4, 6.4), "2.40–6.40 s"), ((58.5, 61.0), "58.50 s–1:01.00"), ((3599.0, 3725.25), "59:59.00–1:02:05.25")]
)
def test_a_gap_is_named_by_its_begin_and_end(gap, text):
    assert gap_text(Gap(1, 2, *gap)) == text


@pytest.mark.parametrize("span", [0.35, 2.4, 61.0, 3700.0, 40_000.0])
def test_ticks_stand_at_their_times_and_their_texts_do_not_meet(span):
    canvas, axis = Canvas(900, 60), Axis(left=50, right=850, start=0.3, stop=0.3 + span)
    draw_axis(canvas, axis, 5)
    assert len(canvas.texts) >= 2 and overlaps(canvas.texts) == []
    assert all(box[0] >= 49 and box[2] <= 851 for _, box in canvas.texts)
