"""The frame number that the picture shows is that of the row whose box is drawn over it."""

import numpy as np
import pytest
from coded_video import page_of, read_screen, settle, timeline_point, write_numbered
from playwright.sync_api import Page

from abaw_ray.report.video.page import write_video_page

pytestmark = pytest.mark.chromium
CONSTANT = np.arange(60) / 25
VARIABLE = 0.3 + np.cumsum(np.random.default_rng(0).uniform(1 / 60, 1 / 8, 60))
LATE = 0.852 + CONSTANT
VIDEOS = {
    "constant.mp4": (CONSTANT, None, False),
    "late.mp4": (LATE, None, False),
    "late.mov": (LATE, None, False),
    "late.mkv": (LATE, None, False),
    "late_with_audio_from_0.mp4": (LATE, 0.0, False),
    "late_with_later_audio.mov": (LATE, 1.2, False),
    "late_with_early_audio.mkv": (LATE, 0.4, False),
    "audio_after_frames.mp4": (CONSTANT, 0.5, False),
    "variable.mp4": (VARIABLE, None, False),
    "variable.mkv": (VARIABLE, None, False),
    "turned.mp4": (CONSTANT, None, True),
    "turned_variable_late.mov": (VARIABLE + 0.6, None, True),
}


@pytest.fixture(params=VIDEOS)
def shown(request, tmp_path, show) -> Page:
    """The page of each video, opened at its first frame."""
    times, audio, turned = VIDEOS[request.param]
    write_numbered(tmp_path / request.param, times, audio, turned=turned)
    write_video_page(tmp_path, page_of(tmp_path / request.param))
    page = show(tmp_path / "index.html")
    settle(page)
    return page


def test_the_page_opens_at_the_first_frame_with_its_box(shown):
    number, box = read_screen(shown)
    assert number == 1 and box == pytest.approx(1, abs=0.4)
    assert shown.text_content("[data-show=frame]") == "frame 1"


def test_after_a_click_on_the_timeline_the_box_is_that_of_the_shown_frame(shown):
    times = shown.evaluate("[...data.times]")
    for share in (0.3, 0.8, 0.12):
        shown.mouse.click(*timeline_point(shown, share))
        settle(shown)
        number, box = read_screen(shown)
        wanted = times[0] + share * (times[-1] - times[0])
        assert times[number - 1] == pytest.approx(wanted, abs=0.2)
        assert box == pytest.approx(number, abs=0.4)
        assert shown.text_content("[data-show=frame]") == f"frame {number}"


def test_arrow_keys_show_every_frame_in_turn(shown):
    found = []
    for _ in range(8):
        shown.keyboard.press("ArrowRight")
        settle(shown)
        number, box = read_screen(shown)
        assert box == pytest.approx(number, abs=0.4)
        found.append(number)
    assert found == list(range(2, 10))
    shown.keyboard.press("End")
    settle(shown)
    number, box = read_screen(shown)
    assert box == pytest.approx(number, abs=0.4)
    assert number >= 58  # Chromium does not seek to the very last frames if they are shorter than the mean


@pytest.mark.parametrize("shown", ["constant.mp4", "late.mkv", "variable.mp4", "turned_variable_late.mov"], indirect=True)
def test_during_playback_the_box_moves_with_the_picture(shown):
    shown.evaluate("video.playbackRate = 0.5")
    shown.keyboard.press(" ")
    shown.wait_for_function("() => clock.shown > 2")
    distances = []
    for _ in range(12):
        shown.wait_for_timeout(60)
        number, box = read_screen(shown)
        distances.append(round(box - number))
    print("box minus picture, in frames:", distances)
    assert sum(abs(distance) <= 1 for distance in distances) >= 9  # a busy machine draws a box late now and then


def test_frames_that_chromium_does_not_show_leave_the_boxes_of_the_others_in_place(tmp_path, show):
    write_numbered(tmp_path / "v.mkv", CONSTANT, 0.5)  # in an MKV, Chromium does not seek to times before the audio
    write_video_page(tmp_path, page_of(tmp_path / "v.mkv"))
    page = show(tmp_path / "index.html")
    settle(page)
    first, box = read_screen(page)
    assert first > 1 and box == pytest.approx(first, abs=0.4)
    for key in ("ArrowLeft", "Home", "End"):
        page.keyboard.press(key)
        settle(page)
        number, box = read_screen(page)
        assert box == pytest.approx(number, abs=0.4)
        assert page.text_content("[data-show=frame]") == f"frame {number}"
    assert number == 60


def test_a_browser_that_starts_a_late_video_at_0_is_recognized(tmp_path, show):
    write_numbered(tmp_path / "early.mp4", CONSTANT)
    page = page_of(tmp_path / "early.mp4")
    late = page.table.set_column(3, page.table.schema.field("time"), [[time + 0.852 for time in page.table["time"].to_pylist()]])
    write_video_page(tmp_path, page_of(tmp_path / "early.mp4", table=late))  # the table has other times than the browser
    opened = show(tmp_path / "index.html")
    settle(opened)
    opened.keyboard.press("PageDown")
    settle(opened)
    assert read_screen(opened) == (60, pytest.approx(60, abs=0.4))


def test_a_browser_that_does_not_report_frames_shows_the_box_of_the_current_time(tmp_path, show):
    write_numbered(tmp_path / "late.mp4", LATE)
    write_video_page(tmp_path, page_of(tmp_path / "late.mp4"))
    text = (tmp_path / "index.html").read_text()
    (tmp_path / "old.html").write_text(
        text.replace("Content-Security-Policy", "X-Policy").replace("requestVideoFrameCallback", "missingInOldBrowsers")
    )
    page = show(tmp_path / "old.html")
    page.wait_for_function("() => clock.video.readyState >= 2")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => clock.target === null && !clock.video.seeking")
    assert read_screen(page) == (6, pytest.approx(6, abs=0.4))
    page.keyboard.press(" ")
    page.wait_for_timeout(600)
    number, box = read_screen(page)
    assert number > 6 and box == pytest.approx(number, abs=2.4)
