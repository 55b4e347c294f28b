"""The page of a video on a phone and in dark colors."""

import pytest
from coded_video import frame_of, plot_pixel, timeline_point

pytestmark = pytest.mark.chromium


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
