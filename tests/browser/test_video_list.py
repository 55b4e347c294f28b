"""Search, order, pages and layout of the list of videos."""

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from abaw_ray.report.video.index import write_index
from abaw_ray.report.video.inputs import IndexRow, VideoIndex

pytestmark = pytest.mark.chromium
JPEG = cv2.imencode(".jpg", np.full((54, 96, 3), 120, np.uint8))[1].tobytes()


def rows(count: int = 250) -> list[IndexRow]:
    """Every tenth row failed; durations descend; the expression alternates."""
    found = []
    for i in range(count):
        if i % 10 == 9:
            found.append(IndexRow(title=f"broken {i:03d}.avi", failure="not a media file"))
        else:
            shares = {"Happiness" if i % 2 else "Sadness": 0.75, "Neutral": 0.25}
            found.append(
                IndexRow(
                    title=f"video {i:03d}.mp4",
                    page=f"pages/{i:03d}.html",
                    thumbnail=JPEG if i % 3 else "thumb.jpg",
                    duration_s=1000.0 - i,
                    people=1 + i % 3,
                    seen=i / count,
                    shares=shares,
                )
            )
    return found


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "thumb.jpg").write_bytes(JPEG)
    (tmp_path / "pages").mkdir()
    for i in range(250):
        (tmp_path / f"pages/{i:03d}.html").write_text(f"<!DOCTYPE html><title>{i}</title>")
    write_index(tmp_path, VideoIndex(rows=rows(), notes=["research only"]))
    return tmp_path


@pytest.fixture
def page(folder, show) -> Page:
    return show(folder / "index.html")


def titles(page: Page) -> list[str]:
    return page.locator("#rows th .title > div > :first-child").all_text_contents()


def test_rows_have_values_links_thumbnails_and_failures(page):
    first, broken = page.locator("#rows tr").nth(0), page.locator("#rows tr").nth(9)
    expect(first).to_contain_text("video 000.mp4")
    expect(first.locator("td")).to_have_text(["16:40", "1", "0 %", "Sadness 75 %, Neutral 25 %"])
    expect(broken).to_contain_text("not a media file")
    expect(broken.locator("a")).to_have_count(0)
    for image in page.locator("#rows img").all()[:6]:
        assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 96


def test_a_column_sorts_in_both_directions_with_missing_values_last(page):
    page.click("th[data-sort=duration] button")
    assert titles(page)[0] == "video 000.mp4"
    expect(page.locator("th[data-sort=duration]")).to_have_attribute("aria-sort", "descending")
    page.click("th[data-sort=duration] button")
    assert titles(page)[0] == "video 248.mp4"
    page.click("#last")
    assert titles(page)[-1] == "broken 249.avi"
    page.click("th[data-sort=expression] button")
    expect(page.locator("#rows tr").first).to_contain_text("Happiness")
    page.select_option("#sort", "title")
    assert titles(page)[0] == "broken 009.avi"


def test_search_covers_names_expressions_and_failures(page):
    page.fill("#search", "video 24 happiness")
    expect(page.locator("#range")).to_have_text("1 to 4 of 4")
    assert titles(page) == ["video 241.mp4", "video 243.mp4", "video 245.mp4", "video 247.mp4"]
    page.fill("#search", "media file")
    expect(page.locator("#range")).to_have_text("1 to 25 of 25")
    page.fill("#search", "nothing like this")
    expect(page.locator("#range")).to_have_text("no video matches")
    page.fill("#search", "")
    page.check("#failed")
    expect(page.locator("#range")).to_have_text("1 to 25 of 25")


def test_keys_alone_search_sort_turn_pages_and_open_a_video(page):
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("mp4")
    expect(page.locator("#range")).to_have_text("1 to 100 of 225")
    page.focus("th[data-sort=title] button")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert titles(page)[0] == "video 248.mp4"
    page.focus("#next")
    page.keyboard.press(" ")
    expect(page.locator("#status")).to_have_text("101 to 200 of 225")
    page.focus("#rows a >> nth=0")
    page.keyboard.press("Enter")
    page.wait_for_url("**/pages/*.html")


def test_the_way_back_from_a_video_leads_to_the_same_rows(page):
    page.fill("#search", "video")
    page.click("th[data-sort=people] button")
    page.click("#next")
    before = titles(page)
    assert len(before) == 100
    page.click("#rows a >> nth=50")
    page.wait_for_url("**/pages/*.html")
    page.go_back()
    expect(page.locator("#search")).to_have_value("video")
    assert titles(page) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_list_without_scrolling_sideways(folder, show, scheme):
    page = show(folder / "index.html", viewport={"width": 375, "height": 812}, device_scale_factor=2, is_mobile=True, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.select_option("#sort", "duration")
    page.click("#direction")
    assert titles(page)[0] == "video 000.mp4"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 23)"
    assert dark == (scheme == "dark")


def test_100000_videos_open_sort_and_are_searched(tmp_path, show):
    (tmp_path / "thumb.jpg").write_bytes(JPEG)
    write_index(tmp_path, VideoIndex(rows=rows() * 400))
    page = show(tmp_path / "index.html")
    opened = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    expect(page.locator("#range")).to_have_text("1 to 100 of 100,000")
    measure = "(() => { const start = performance.now(); sortBy('seen', true); return performance.now() - start; })()"
    print(f"100,000 videos: open {opened:.0f} ms, sort {page.evaluate(measure):.0f} ms")
    page.fill("#search", "video 247")
    expect(page.locator("#range")).to_have_text("1 to 100 of 400")
    assert page.locator("#rows tr").count() == 100
