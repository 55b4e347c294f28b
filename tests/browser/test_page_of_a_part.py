"""A page of a part of a video: boxes match the picture inside of the part, and outside of it the page says that nothing is analyzed."""

from functools import partial

import coded_video
import numpy as np
import pyarrow.compute as pc
import pytest
from coded_video import page_of, read_number, read_settled, screenshot, timeline_point, write_numbered
from playwright.sync_api import Page, expect

from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.media.config import EncodingConfig
from abaw_ray.media.playback.isolated import IsolatedVideoWriter
from abaw_ray.media.playback.proxy import write_proxy
from abaw_ray.report.video.page import write_video_page

pytestmark = pytest.mark.chromium
CONSTANT = np.arange(90) / 25
VARIABLE = 0.3 + np.cumsum(np.random.default_rng(0).uniform(1 / 60, 1 / 8, 90))
VIDEOS = {
    "constant.mp4": (CONSTANT, None, False),
    "late.mp4": (0.852 + CONSTANT, None, False),
    "late_with_audio_from_0.mp4": (0.852 + CONSTANT, 0.0, False),
    "late.mkv": (0.852 + CONSTANT, None, False),
    "variable.mp4": (VARIABLE, None, False),
    "turned_late.mov": (0.6 + CONSTANT, None, True),
    "proxy_of_late.mp4": (0.852 + CONSTANT, None, False),
    "proxy_of_slightly_late.mp4": (0.015 + CONSTANT, 0.0, False),
}
FIRST, LAST = 31, 60
"""The analyzed frames."""


def part_of(path, **fields):
    """The page of frames ``FIRST`` to ``LAST``, with the times of the whole file."""
    page = page_of(path)
    times, frames = page.table["time"].to_numpy(), page.table["frame"]
    table = page.table.filter(pc.and_(pc.greater_equal(frames, FIRST), pc.less_equal(frames, LAST)))
    bounds = {"analyzed_from": times[FIRST - 2 : FIRST].mean(), "analyzed_to": times[LAST - 1 : LAST + 1].mean()}
    return page_of(path, **({"table": table, "video_start": times[0]} | bounds | fields))


@pytest.fixture(params=VIDEOS)
def shown(request, tmp_path, show) -> Page:
    """The page of a part of each video; for ``proxy_of``, with a proxy up to the end of the part."""
    times, audio, turned = VIDEOS[request.param]
    path = tmp_path / request.param
    write_numbered(path, times, audio, turned=turned)
    page = part_of(path)
    if request.param.startswith("proxy"):
        writer = IsolatedVideoWriter(write_proxy, ChildLimits(seconds=60, memory_mb=900))
        try:
            writer(str(path), tmp_path / "p.mp4", EncodingConfig(crf=10), LAST, start=page.video_start, end=page.analyzed_to)
        finally:
            writer.close()
        page = part_of(path, video="p.mp4")
    write_video_page(tmp_path, page)
    opened = show(tmp_path / "index.html")
    settle(opened)
    return opened


settle = partial(coded_video.settle, paint_ms=300)
"""After two seeks in a row, a frame is reported some tenths of a second before it is painted."""


def test_the_page_opens_at_the_first_analyzed_frame_and_its_timeline_has_the_part_only(shown):
    assert read_settled(shown) == (FIRST, pytest.approx(FIRST, abs=0.4))
    expect(shown.locator("[data-show=frame]")).to_have_text(f"frame {FIRST}")
    assert shown.evaluate("[timeline.from, timeline.to]") == shown.evaluate("[data.times[0], data.end]")
    expect(shown.locator("#outside")).to_be_hidden()
    expect(shown.locator("#whole")).to_have_text("analyzed part")


def test_a_click_on_the_timeline_shows_the_frame_of_that_time_with_its_box(shown):
    times = shown.evaluate("[...data.times]")
    for share in (0.7, 0.2):
        shown.mouse.click(*timeline_point(shown, share))
        settle(shown)
        number, box = read_settled(shown)
        assert times[number - FIRST] == pytest.approx(times[0] + share * (times[-1] - times[0]), abs=0.2)
        assert box == pytest.approx(number, abs=0.4)
        assert shown.text_content("[data-show=frame]") == f"frame {number}"


def test_outside_of_the_part_there_is_no_box_and_the_page_says_so(shown):
    proxy = shown.evaluate("video.src").endswith("/p.mp4")
    shift = shown.evaluate("clock.shift")
    for time in ("(data.from + data.videoStart) / 2", *(() if proxy else ("data.to + 0.4",))):
        shown.evaluate(f"video.currentTime = {time} - {shift}")
        settle(shown)
        assert not FIRST <= read_number(shown) <= LAST
        assert shown.evaluate("data.isRow(clock.shown)") is False
        assert not (np.abs(screenshot(shown, "#stage") - (192, 57, 43)).max(axis=2) < 30).any(), "no box"
        expect(shown.locator("#outside")).to_be_visible()
        expect(shown.locator("[data-show=label]")).to_have_text("not analyzed")
        expect(shown.locator("#playhead")).to_be_hidden()
        expect(shown.locator("#timeline")).to_have_attribute("aria-valuetext", shown.text_content("[data-show=time]") + ", not analyzed")
        shown.keyboard.press("Home")
        settle(shown)
        assert read_settled(shown) == (FIRST, pytest.approx(FIRST, abs=0.4))
        expect(shown.locator("#outside")).to_be_hidden()


def test_at_the_ends_of_the_part_frame_by_frame_only_its_own_frames_have_boxes(shown):
    shown.keyboard.press("ArrowLeft")
    settle(shown)
    assert read_number(shown) == FIRST, "keys stay in the analyzed part"
    variable = shown.title().startswith("variable")
    for number in range(LAST - 2, LAST + 1):
        shown.keyboard.press("End")
        shown.evaluate(f"clock.seek({number - FIRST})")
        settle(shown)
        found, box = read_settled(shown)
        assert box == pytest.approx(found, abs=0.4)
        assert found == number or variable


@pytest.mark.parametrize("shown", ["late.mkv", "variable.mp4"], indirect=True)
def test_playback_goes_on_after_the_part_and_says_that_it_is_not_analyzed(shown):
    shown.evaluate("clock.seek(data.count - 3)")
    settle(shown)
    shown.keyboard.press(" ")
    shown.wait_for_function("() => clock.shown === data.count")
    expect(shown.locator("#outside")).to_be_visible()
    shown.keyboard.press(" ")
    shown.wait_for_function("() => clock.paused")
    shown.keyboard.press("ArrowLeft")
    settle(shown)
    assert read_settled(shown)[0] in (LAST - 1, LAST)
