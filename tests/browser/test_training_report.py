"""The report of a training run: its timelines answer."""

import numpy as np
import pytest
from playwright.sync_api import expect

from abaw_ray.report.inputs import ReportInput, Timeline
from abaw_ray.report.page import write_report

pytestmark = pytest.mark.chromium


def timeline(name: str, seed: int) -> Timeline:
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.ones(8), size=3000).astype(np.float32)
    seen = np.arange(3000) % 500 > 60
    probability[~seen] = np.nan
    predicted = np.where(seen, np.nan_to_num(probability).argmax(axis=1), -1).astype(np.int8)
    label = rng.integers(-1, 8, 3000).astype(np.int8)
    fields = {"time": np.arange(3000) / 30, "seen": seen, "heard": seen, "gate": np.where(seen, 0.5, np.nan), "label": label}
    return Timeline(video=name, track="main", predicted=predicted, probability=probability, **fields)


@pytest.fixture
def page(tmp_path, show):
    write_report(tmp_path, ReportInput(summary={"official_val": {"macro_f1": 0.6}}, timelines=[timeline("one", 1), timeline("two", 2)]))
    return show(tmp_path / "report.html")


def test_the_pointer_reads_the_timeline(page):
    page.locator("#timeline").scroll_into_view_if_needed()
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + 96 + 0.5 * (box["width"] - 96), box["y"] + 100)
    expect(page.locator("#readout")).to_contain_text("50.")
    expect(page.locator("#readout")).to_contain_text("predicted")


def test_another_video_is_selected_and_a_drag_zooms(page):
    page.click("#next")
    expect(page.locator("#timeline")).to_have_attribute("aria-label", "Timeline of two")
    pixels = "document.getElementById('timeline').toDataURL()"
    before = page.evaluate(pixels)
    page.locator("#timeline").scroll_into_view_if_needed()
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 100, steps=4)
    page.mouse.up()
    zoomed = page.evaluate(pixels)
    assert zoomed != before
    page.focus("#timeline")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(pixels) != zoomed
    page.click("#whole")
    page.mouse.move(5, 5)
    assert page.evaluate(pixels) == before


def test_a_phone_shows_the_report_without_scrolling_sideways(tmp_path, show):
    write_report(tmp_path, ReportInput(summary={}, timelines=[timeline("one", 1)]))
    page = show(tmp_path / "report.html", viewport={"width": 375, "height": 812}, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_a_phone_shows_all_scores_of_a_search_without_scrolling_its_table(tmp_path, show):
    interval = [0.5811, 0.6905]
    search = {"in_sample": 0.6493, "cross_fitted": 0.6183, "optimism": 0.031, "interval": interval}
    search |= {"interval_in_sample": interval, "interval_optimism": [-0.0104, 0.0521]}
    write_report(tmp_path, ReportInput(summary={"searches": {"fused": search | {"validation": {"macro_f1": 0.6412, "interval": interval}}}}))
    page = show(tmp_path / "report.html", viewport={"width": 375, "height": 812}, is_mobile=True)
    width, shown = page.evaluate("(({scrollWidth, clientWidth}) => [scrollWidth, clientWidth])(document.getElementById('optimism').parentElement)")
    assert width == shown
    labels = "[...document.querySelectorAll('#optimism td')].map((cell) => getComputedStyle(cell, '::before').content)"
    assert page.evaluate(labels) == ['"In-sample"', '"Cross-fitted"', '"Optimism"', '"Validation_Set"']
