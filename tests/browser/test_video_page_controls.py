"""Timeline, keys, people and screen readers on the page of a video."""

import pytest
from coded_video import frame_of, plot_pixel, read_number, timeline_point
from playwright.sync_api import expect

pytestmark = pytest.mark.chromium


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
