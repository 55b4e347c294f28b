import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.predict.frame_selection import nearest_to_grid
from abaw_ray.predict.output.names import output_names


def test_outputs_are_named_after_the_videos_and_mirror_their_folders():
    assert output_names(["a/clip.mp4", "b/clip.mp4", "c.d.webm"]) == {"a/clip.mp4": "a/clip", "b/clip.mp4": "b/clip", "c.d.webm": "c.d"}


@pytest.mark.parametrize(
    ("videos", "expected"),
    [
        (["clip.mp4", "clip.mov"], ["clip.mp4", "clip.mov"]),
        (["Clip.mp4", "clip.mov"], ["Clip.mp4", "clip.mov"]),
        (["index.mp4", "summary.mkv"], ["index.mp4", "summary.mkv"]),
        (["a/index.mp4"], ["a/index"]),
        (["/data/a.mp4", "../b.mp4"], ["data/a", "b"]),
    ],
)
def test_names_that_collide_keep_their_suffix(videos, expected):
    assert list(output_names(videos).values()) == expected


@given(st.lists(st.from_regex(r"/?[ab]{1,2}(/[ab.]{1,2})?(\.mp4)?\.(mp4|mov|MP4)", fullmatch=True), unique=True, max_size=8))
def test_no_two_videos_share_an_output(videos):
    names = output_names(videos)
    assert len({name.lower() for name in names.values()}) == len(videos)


@pytest.mark.parametrize("long", ["x" * 251, "ü" * 125])
def test_names_that_are_too_long_with_the_suffix_of_an_overlay_are_cut_and_stay_distinct(long):
    names = output_names([f"{long}.mp4", f"{long}1.mp4", f"{long}/clip.mp4", f"{'y' * 220}.mp4"])
    assert len(set(names.values())) == 4 and names[f"{'y' * 220}.mp4"] == "y" * 220
    assert all(len(f"{part}.overlay.mp4.tmp-12345678".encode()) <= 255 for name in names.values() for part in name.split("/"))
    assert names[f"{long}.mp4"][:90] == long[:90] and names[f"{long}/clip.mp4"].endswith("/clip")


def slow_nearest(times, fps):
    selected, step = set(), 0
    while times[0] + step / fps <= times[-1] + 0.5 / fps:
        selected.add(int(np.argmin(np.abs(times - (times[0] + step / fps)))))
        step += 1
    return selected


@given(st.lists(st.floats(0.004, 0.3), min_size=1, max_size=60), st.sampled_from([0.5, 1.0, 5.0, 24.0, 200.0]))
def test_selected_frames_are_the_nearest_to_the_grid(steps, fps):
    times = np.cumsum(steps)
    assert set(np.flatnonzero(nearest_to_grid(times, fps))) == slow_nearest(times, fps)


def test_rate_zero_selects_all_frames():
    assert nearest_to_grid(np.array([0.0, 0.1, 5.0]), 0).all()
    assert nearest_to_grid(np.zeros(0), 5).shape == (0,)
