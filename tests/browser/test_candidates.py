"""The table of candidates in the report of a training run: sorting and filters."""

import pytest
from playwright.sync_api import expect

from abaw_ray.report.inputs import ReportInput
from abaw_ray.report.page import write_report
from abaw_ray.report.stage_two.inputs import Candidate, Search

pytestmark = pytest.mark.chromium


def candidate(number, score, head):
    settings = {"head": head, "optim.lr": number / 1000}
    scores = {"in_sample": score, "cross_fitted": score and score - 0.1, "epochs": score and 2, "stopped": score is None}
    return Candidate(number=number, trial=1, settings=settings, curve=[0.1, 0.2 + number / 100], chosen=number == 2, **scores)


@pytest.fixture
def page(tmp_path, show):
    fused = [candidate(1, 0.5, "frame"), candidate(2, 0.7, "conv"), candidate(3, None, "frame"), candidate(10, 0.6, "conv")]
    searches = [Search(name="fused", candidates=fused), Search(name="face only", candidates=[candidate(4, 0.4, "frame")])]
    write_report(tmp_path, ReportInput(summary={}, searches=searches))
    return show(tmp_path / "report.html")


def column(page, index):
    return page.evaluate(f"[...document.querySelectorAll('#candidates tbody tr')].filter(r => !r.hidden).map(r => r.cells[{index}].textContent)")


def header(page, name):
    return page.locator("#candidates thead th", has=page.get_by_role("button", name=name, exact=True))


def test_a_click_sorts_numbers_as_numbers_and_missing_values_last(page):
    page.get_by_role("button", name="In-sample").click()
    assert column(page, 5) == ["0.700", "0.600", "0.500", "0.400", "–"]
    expect(header(page, "In-sample")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="In-sample").click()
    assert column(page, 5) == ["0.400", "0.500", "0.600", "0.700", "–"]
    page.get_by_role("button", name="Candidate", exact=True).focus()
    page.keyboard.press("Enter")
    assert [text.split()[0] for text in column(page, 1)] == ["1", "2", "3", "4", "10"]
    assert page.locator("#candidates th[aria-sort]").count() == 1


def test_filters_by_model_state_and_text_combine(page):
    page.select_option("#searchfilter", "fused")
    expect(page.locator("#candidatecount")).to_have_text("4 of 5 candidates")
    page.fill("#textfilter", "conv")
    assert [text.split()[0] for text in column(page, 1)] == ["2", "10"]
    page.fill("#textfilter", "")
    page.select_option("#statefilter", "stopped")
    assert column(page, 3) == ["stopped after 2 epochs"]
    page.select_option("#searchfilter", "")
    page.select_option("#statefilter", "")
    expect(page.locator("#candidatecount")).to_have_text("5 candidates")


def test_the_table_scrolls_within_a_phone(tmp_path, show):
    rows = [candidate(number, 0.5, "a long name of a head that does not fit") for number in range(1, 40)]
    write_report(tmp_path, ReportInput(summary={}, searches=[Search(name="fused", candidates=rows)]))
    page = show(tmp_path / "report.html")
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
