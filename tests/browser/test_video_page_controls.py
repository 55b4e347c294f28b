"""Timeline, keys, people, layout and failures of the page of a video."""

import http.server
import threading
from functools import partial

import numpy as np
import pytest
from analysis_rows import analysis_rows, analysis_table, long_table
from coded_video import box_of, page_of, read_number, screenshot, timeline_point, write_numbered
from playwright.sync_api import Page, expect

from abaw_ray.report.video.inputs import AudioLevel
from abaw_ray.report.video.page import write_video_page

pytestmark = pytest.mark.chromium
TIMES = np.arange(60) / 25
LABELS = "A" * 20 + "." * 10 + "H" * 30


def fields():
    rows = analysis_rows(LABELS, TIMES, box=box_of)
    other = analysis_rows("S" * 30, TIMES, "person-2", first=21, box=lambda frame: (200, 20, 260, 80), confidence=0.9)
    level = AudioLevel(time=np.arange(24) / 10, level=np.linspace(-50, -10, 24))
    return {"table": analysis_table(rows, other), "audio": level, "notes": ["Trained on drawn faces."], "csv": "v.csv", "index": "list.html"}


@pytest.fixture
def folder(tmp_path):
    write_numbered(tmp_path / "v.mp4", TIMES, 0.0)
    write_video_page(tmp_path, page_of(tmp_path / "v.mp4", **fields()))
    return tmp_path


@pytest.fixture
def page(folder, show) -> Page:
    opened = show(folder / "index.html")
    opened.wait_for_function("() => clock.reported")
    return opened


def frame_of(page: Page) -> int:
    page.wait_for_function("() => clock.target === null && !(clock.video && clock.video.seeking)")
    return int(page.text_content("[data-show=frame]").removeprefix("frame "))


def plot_pixel(page: Page, share: float, track: int) -> list[int]:
    """Color of the timeline at a share of the visible time, in the middle of a track."""
    script = """(track) => {
      const tracks = tracksOf(person, data), free = timeline.plot.clientHeight - AXIS_HEIGHT - TRACK_GAP * tracks.length;
      const fixed = tracks.reduce((sum, one) => sum + one.share, 0), heights = tracks.map((one) => Math.round(free * (one.share || 1 - fixed)));
      return heights.slice(0, track).reduce((a, b) => a + b + TRACK_GAP, 0) + heights[track] / 2;
    }"""
    image = screenshot(page, "#plot")
    return image[int(page.evaluate(script, track)), int(88 + share * (image.shape[1] - 88))].tolist()


def test_a_click_on_the_timeline_moves_the_video_and_a_drag_scrubs(page):
    page.mouse.click(*timeline_point(page, 30.5 / 60))
    assert frame_of(page) == 31
    assert read_number(page) == 31
    page.mouse.move(*timeline_point(page, 0.1))
    page.mouse.down()
    seen = []
    for share in (0.2, 0.4, 0.6, 48.5 / 60):
        page.mouse.move(*timeline_point(page, share), steps=3)
        seen.append(int(page.text_content("[data-show=frame]").removeprefix("frame ")))
    page.mouse.up()
    assert seen == sorted(seen) and len(set(seen)) == 4
    assert frame_of(page) == 49
    assert read_number(page) == 49


def test_every_key_does_what_the_page_says(page):
    def after(*keys):
        for key in keys:
            page.keyboard.press(key)
        return frame_of(page)

    assert after("End") == 60
    assert after("ArrowLeft") == 59
    assert after("Shift+ArrowLeft") == 34
    assert after("Home") == 1
    assert after("ArrowRight", "ArrowRight", "ArrowRight") == 4
    assert after("PageDown") == 60
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    page.wait_for_function("() => clock.shown > 5")
    page.keyboard.press("k")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.keyboard.press("b")
    assert page.input_value("#show") == "none"
    page.keyboard.press("m")
    expect(page.locator("#mute")).to_have_attribute("aria-label", "Unmute")
    page.keyboard.press("+")
    assert page.evaluate("timeline.zoomed")
    page.keyboard.press("0")
    assert not page.evaluate("timeline.zoomed")


def test_the_space_key_on_a_button_presses_the_button_only(page):
    page.focus("#forward")
    page.keyboard.press(" ")
    assert frame_of(page) == 2
    assert page.evaluate("video.paused")


def test_every_control_is_reached_by_the_tab_key_and_shows_the_focus(page):
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => { const e = document.activeElement, style = getComputedStyle(e);
               return [e.id || e.dataset.select || e.dataset.seek || e.tagName, style.outlineStyle !== "none" && style.outlineWidth !== "0px"]; }"""
        )
        reached.append(found[0])
        assert found[0] == "BODY" or found[1], f"{found[0]} shows no focus"
    for name in ("back", "play", "forward", "speed", "show", "mute", "full", "timeline", "zoomin", "0", "1", "31", "SUMMARY"):
        assert name in reached, name


def test_another_person_has_other_numbers_tables_and_timeline(page):
    page.mouse.click(*timeline_point(page, 45.5 / 60))
    assert frame_of(page) == 46
    expect(page.locator("[data-show=label]")).to_have_text("Happiness")
    before = plot_pixel(page, 0.9, 0)
    page.keyboard.press("2")
    expect(page.locator("[data-show=label]")).to_have_text("Sadness")
    expect(page.locator("[data-show=confidence]")).to_have_text("90 %")
    expect(page.locator("[data-select='1']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-person='person-2'] h2").first).to_be_visible()
    expect(page.locator("[data-person='main'] h2").first).to_be_hidden()
    expect(page.locator("#status")).to_have_text("person-2: Sadness 90 %")
    assert plot_pixel(page, 0.9, 0) != before
    page.click("[data-select='0']")
    expect(page.locator("[data-show=label]")).to_have_text("Happiness")
    page.keyboard.press("7")  # nobody
    expect(page.locator("[data-show=label]")).to_have_text("Happiness")


def test_an_episode_in_the_table_moves_the_video_and_is_marked(page):
    page.click("[data-seek='31']:visible")
    assert frame_of(page) == 31
    expect(page.locator("tr[aria-current]")).to_contain_text("Happiness")


def test_time_without_a_score_is_blank(page):
    blank = plot_pixel(page, 25.5 / 60, 0)
    assert blank == plot_pixel(page, 25.5 / 60, 1) == plot_pixel(page, 25.5 / 60, 2) == [0xF1, 0xF3, 0xF4]
    assert plot_pixel(page, 0.1, 0) == [0xC0, 0x39, 0x2B]
    page.mouse.click(*timeline_point(page, 25.5 / 60))
    frame_of(page)
    expect(page.locator("[data-show=label]")).to_have_text("not scored")
    expect(page.locator("#timeline")).to_have_attribute("aria-valuetext", "0:01.00, frame 26, main: not scored")


def test_gate_and_audio_level_have_tracks(page):
    assert page.evaluate("tracksOf(person, data).map((track) => track.key)") == ["label", "probability", "seen", "heard", "gate", "audio"]
    assert plot_pixel(page, 0.9, 4) != plot_pixel(page, 25.5 / 60, 4)
    assert plot_pixel(page, 0.9, 5) != [0xF1, 0xF3, 0xF4]


def test_zooming_the_overview_shows_the_part_that_is_marked(page):
    page.locator("#overview").scroll_into_view_if_needed()
    box = page.locator("#overview").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 8, steps=4)
    page.mouse.up()
    assert page.evaluate("[timeline.from, timeline.to]") == pytest.approx([1.2, 1.8], abs=0.02)
    page.mouse.click(*timeline_point(page, 30.5 / 60))
    assert frame_of(page) == 38
    page.keyboard.press("Home")
    assert page.evaluate("timeline.from") == pytest.approx(0, abs=0.05), "the visible part follows the position"
    page.click("#whole")
    assert page.evaluate("[timeline.from, timeline.to]") == pytest.approx([0, 2.4])


def test_the_slider_has_values_for_screen_readers_and_playback_does_not_flood_them(page):
    slider = page.locator("#timeline")
    for name, value in {"role": "slider", "aria-valuemin": "0.00", "aria-valuemax": "2.40", "aria-valuenow": "0.00"}.items():
        expect(slider).to_have_attribute(name, value)
    expect(slider).to_have_attribute("aria-valuetext", "0:00.00, frame 1, main: Anger 65 %")
    script = """() => {
      window.changes = 0;
      const observer = new MutationObserver((list) => { window.changes += list.length; });
      for (const e of document.querySelectorAll("[role=status], [role=slider]")) observer.observe(e, { attributes: true, childList: true });
    }"""
    page.evaluate(script)
    page.evaluate("video.play()")
    page.wait_for_function("() => clock.shown > 20")
    assert page.evaluate("window.changes") <= 2
    page.evaluate("video.pause()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(folder, show, scheme):
    phone = {"viewport": {"width": 375, "height": 812}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
    page = show(folder / "index.html", color_scheme=scheme, **phone)
    page.wait_for_function("() => clock.reported")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    outside = """() => [...document.querySelectorAll("body *:not(.hidden):not(.hidden *)")]
      .filter((e) => e.getClientRects().length && e.getBoundingClientRect().right > 376 && !e.closest(".scroll"))
      .map((e) => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(outside) == []
    page.touchscreen.tap(*timeline_point(page, 30.5 / 60, gutter=76))
    assert frame_of(page) == 31


def test_the_page_is_dark_from_the_start_where_the_system_is(folder, show):
    colors = [
        show(folder / "index.html", color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor") for scheme in ("light", "dark")
    ]
    assert colors == ["rgb(247, 248, 248)", "rgb(16, 20, 23)"]
    head = (folder / "index.html").read_text().split("<body>")[0]
    assert '<meta name="color-scheme" content="light dark">' in head and "prefers-color-scheme: dark" in head


def test_a_change_of_the_color_scheme_redraws_the_timeline(page):
    light = plot_pixel(page, 25.5 / 60, 1)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(100)
    assert plot_pixel(page, 25.5 / 60, 1) == [0x20, 0x27, 0x2C] != light


def test_a_missing_video_leaves_a_page_that_works(folder, show):
    (folder / "v.mp4").unlink()
    page = show(folder / "index.html", expected=("ERR_FILE_NOT_FOUND",))
    expect(page.locator("#message")).to_contain_text("the file is missing")
    page.mouse.click(*timeline_point(page, 30.5 / 60))
    assert frame_of(page) == 31
    page.keyboard.press("ArrowRight")
    assert frame_of(page) == 32
    assert page.evaluate("layer.canvas.getContext('2d').getImageData(0, 0, layer.canvas.width, layer.canvas.height).data.some((v) => v)"), (
        "boxes are drawn"
    )
    expect(page.locator("#play")).to_be_disabled()


def test_without_a_playable_video_boxes_and_timeline_work(tmp_path, show):
    write_numbered(tmp_path / "v.mp4", TIMES)
    write_video_page(tmp_path, page_of(tmp_path / "v.mp4", **fields() | {"video": None}))
    page = show(tmp_path / "index.html")
    expect(page.locator("#message")).to_contain_text("no video that a browser can play")
    page.keyboard.press("End")
    assert frame_of(page) == 60


def test_an_embedded_video_plays_and_has_its_boxes(folder, show):
    write_video_page(folder, page_of(folder / "v.mp4", **fields() | {"video": (folder / "v.mp4").read_bytes()}), name="embedded.html")
    (folder / "v.mp4").unlink()
    page = show(folder / "embedded.html")
    page.wait_for_function("() => clock.reported")
    page.mouse.click(*timeline_point(page, 45.5 / 60))
    assert frame_of(page) == 46
    assert read_number(page) == 46


def test_names_with_special_characters_are_found(tmp_path, show):
    name = "take #1, 50% <b>&amp; ä?.mp4"
    write_numbered(tmp_path / name, TIMES)
    write_video_page(tmp_path, page_of(tmp_path / name))
    page = show(tmp_path / "index.html")
    page.wait_for_function("() => clock.reported")
    assert page.text_content("h1") == name == page.title()


def test_the_page_works_from_a_web_server_and_its_policy_forbids_other_requests(folder, show):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = show(f"http://127.0.0.1:{server.server_port}/index.html", expected=("Content Security Policy", "favicon"))
        page.wait_for_function("() => clock.reported")
        refused = page.evaluate("fetch(location.href).then(() => 'loaded', (error) => String(error))")
        server.shutdown()
    assert refused.startswith("TypeError")


def test_54000_frames_of_three_people_open_and_answer_a_click(tmp_path, show):
    rows = analysis_rows("NNNNNHHHHHAAAAA" * 40, np.arange(600) / 30, box=lambda frame: (20, 20, 80, 90))
    table = long_table(analysis_table(rows), 90, ["main", "person-2", "person-3"])
    write_numbered(tmp_path / "v.mp4", TIMES)
    write_video_page(tmp_path, page_of(tmp_path / "v.mp4", table=table, video=None))
    page = show(tmp_path / "index.html")
    opened = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    drawn = page.evaluate("(() => { const start = performance.now(); timeline.draw(); return performance.now() - start; })()")
    click = "(() => { const start = performance.now(); clock.seek(27000); return performance.now() - start; })()"
    print(f"54,000 frames x 3 people: open {opened:.0f} ms, redraw {drawn:.0f} ms, click {page.evaluate(click):.1f} ms")
    page.mouse.click(*timeline_point(page, 45.5 / 60))
    assert int(page.text_content("[data-show=frame]").removeprefix("frame ").replace(",", "")) == pytest.approx(40_951, abs=40)
    page.keyboard.press("3")
    expect(page.locator("[data-select='2']")).to_have_attribute("aria-pressed", "true")
