import numpy as np
import pytest
from test_track import track_of

from abaw_ray.report.tracks.canvas import FAINT, STATE_COLORS, Canvas
from abaw_ray.report.tracks.timeline_bar import Axis, draw_axis, draw_gaps, draw_timeline_bar, format_gap, state_shares
from abaw_ray.report.tracks.track import STATES, Gap, find_gaps, frame_ends


def slow_state_shares(track, axis, pixel, samples=400):
    """The definition: sample the time range of a pixel."""
    step = (axis.stop - axis.start) / round(axis.right - axis.left)
    found = np.zeros(len(STATES))
    for moment in axis.start + step * (pixel + (np.arange(samples) + 0.5) / samples):
        rows = np.flatnonzero((track.time <= moment) & (moment < frame_ends(track.time)))
        if len(rows):
            found[track.state[rows[0]]] += 1 / samples
    return found


@pytest.mark.parametrize("frames", [6, 90, 900])
def test_the_shares_of_a_pixel_agree_with_their_definition(frames):
    rng = np.random.default_rng(frames)
    times = np.cumsum(rng.uniform(0.01, 0.1, frames + 20))
    track = track_of("".join(rng.choice(list(".DFI"), frames)), times, first=11)
    axis = Axis(left=10, right=70, start=float(times[0]), stop=float(times[-1]))
    shares = state_shares(track, axis)
    assert shares.shape == (60, len(STATES))
    for pixel in range(0, 60, 7):
        np.testing.assert_allclose(shares[pixel], slow_state_shares(track, axis, pixel), atol=0.02)


def test_a_gap_of_one_frame_among_ten_thousand_is_visible():
    states = ["I"] * 10_000
    states[5_000] = "."
    track = track_of("".join(states), np.arange(10_000) / 30)
    canvas = Canvas(220, 40)
    draw_timeline_bar(canvas, track, Axis(left=10, right=210, start=0.0, stop=10_000 / 30), 5, 30)
    pixels = np.asarray(canvas.image)
    amber = (pixels == STATE_COLORS["interpolated"]).all(axis=2)
    assert amber[5:35, 10:210].mean() > 0.99
    assert (~amber[5:35, 10:210]).any(axis=0).sum() == 1, "one column shows it"
    assert (~amber[5:8, 110]).all()


def test_time_before_the_first_row_is_pale_and_not_a_gap():
    canvas = Canvas(120, 20)
    draw_timeline_bar(canvas, track_of("DDDDD", np.arange(10) / 10, first=6), Axis(left=10, right=110, start=0.0, stop=1.0), 5, 10)
    pixels = np.asarray(canvas.image)[6:14]
    assert (pixels[:, 11:59] == FAINT).all() and (pixels[:, 61:109] == STATE_COLORS["detected"]).all()


def overlaps(texts):
    return [(a, b) for at, (a, x) in enumerate(texts) for b, y in texts[at + 1 :] if x[0] < y[2] and y[0] < x[2] and x[1] < y[3] and y[1] < x[3]]


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_many_gaps_do_not_overlap_or_leave_the_bar_and_omitted_ones_are_counted(seed):
    rng = np.random.default_rng(seed)
    states = "".join(rng.choice(list("I."), p=[0.9, 0.1]) * int(rng.integers(1, 30)) for _ in range(200))
    track = track_of(states, np.arange(len(states)) / 25)
    axis = Axis(left=20, right=580, start=0.0, stop=len(states) / 25)
    canvas = Canvas(600, 300)
    draw_axis(canvas, axis, 5)
    below = draw_gaps(canvas, find_gaps(track), axis, 60)
    assert overlaps(canvas.texts) == []
    assert all(box[0] >= 20 and box[2] <= 581 and box[3] <= below for _, box in canvas.texts)
    *labels, rest = [text for text, box in canvas.texts if box[1] > 60]
    assert rest.startswith(f"and {len(find_gaps(track)) - len(labels)} more gaps")
    longest = max(find_gaps(track), key=lambda gap: gap.stop - gap.start)
    assert format_gap(longest) in labels


def test_a_bar_without_gaps_has_no_gap_labels():
    canvas = Canvas(600, 100)
    assert draw_gaps(canvas, [], Axis(left=0, right=600, start=0.0, stop=1.0), 40) == 40
    assert canvas.texts == []


@pytest.mark.parametrize(
    ("gap", "text"), [((2.4, 6.4), "2.40–6.40 s"), ((58.5, 61.0), "58.50 s–1:01.00"), ((3599.0, 3725.25), "59:59.00–1:02:05.25")]
)
def test_a_gap_is_labeled_with_its_start_and_end(gap, text):
    assert format_gap(Gap(1, 2, *gap)) == text


@pytest.mark.parametrize("span", [0.35, 2.4, 61.0, 3700.0, 40_000.0])
def test_tick_labels_do_not_overlap(span):
    canvas, axis = Canvas(900, 60), Axis(left=50, right=850, start=0.3, stop=0.3 + span)
    draw_axis(canvas, axis, 5)
    assert len(canvas.texts) >= 2 and overlaps(canvas.texts) == []
    assert all(box[0] >= 49 and box[2] <= 851 for _, box in canvas.texts)
