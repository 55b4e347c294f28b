"""The section about the sweep: all candidates, curves, importance, and what audio adds."""

import numpy as np
import pytest
from html_page import Page

from abaw_ray.report.inputs import ReportInput
from abaw_ray.report.page import render
from abaw_ray.report.stage_two import section
from abaw_ray.report.stage_two.inputs import Candidate, Search
from abaw_ray.report.stage_two.section import gain_rows, sweep_section


def candidate(number, *, score=None, **changes):
    curve = [0.2, 0.3 + number / 100, 0.25][: 2 if score is None else 3]
    scores = {"stopped": True} if score is None else {"in_sample": score, "cross_fitted": score - 0.02, "epochs": 2}
    settings = {"optim.lr": 10.0**-number / 3, "gate": "frame", "seed": 7}
    return Candidate(number=number, trial=1, settings=settings, curve=curve, **(scores | changes))


@pytest.fixture
def searches():
    fused = [candidate(1, score=0.5), candidate(2), candidate(3, score=0.6, chosen=True), candidate(4)]
    return [
        Search(name="fused", candidates=fused, importance={"optim.lr": 0.9, "dropout": 0.1}),
        Search(name="face only", candidates=[candidate(1, score=0.4, chosen=True)]),
    ]


def test_all_candidates_are_listed_the_best_of_each_search_first(searches):
    found = sweep_section(searches)
    assert [(row.search, row.candidate.number) for row in found.rows] == [("fused", 3), ("fused", 1), ("fused", 4), ("fused", 2), ("face only", 1)]
    assert found.columns == [("lr", "optim.lr")], "only settings in which candidates differ"
    assert found.rows[0].settings == ["0.000333"] and found.rows[0].best == pytest.approx(0.33)
    assert found.total == 5


def test_the_page_has_every_score_and_state(searches):
    text = Page(render(ReportInput(summary={}, searches=searches))).text
    for word in ("0.600", "0.580", "finished", "stopped after 2 epochs", "used: 2 epochs", "optim.lr", "0.90", "PED-ANOVA", "5 candidates"):
        assert word in text, word


def test_a_chart_has_the_curve_of_every_candidate_and_marks_the_chosen_one(searches):
    chart, other = sweep_section(searches).charts
    assert [style for style, _ in chart.paths] == ["quiet"] * 3 + ["main"] and chart.vertical_line[1] == "used: 2 epochs"
    assert len(other.paths) == 1


def test_a_large_sweep_is_limited_and_says_so(searches, monkeypatch):
    monkeypatch.setattr(section, "MAX_CURVES", 2)
    monkeypatch.setattr(section, "MAX_CANDIDATES", 3)
    found = sweep_section(searches)
    assert len(found.charts[0].paths) <= 3 and "the best 2 of 4" in found.charts[0].title
    assert found.charts[0].paths[-1][0] == "main", "the chosen candidate is always drawn"
    assert "The best 3 of 5 are listed" in Page(render(ReportInput(summary={}, searches=searches))).text


def test_searches_without_finalists_candidates_or_finite_scores_are_shown_as_they_are():
    assert sweep_section([]) is None and sweep_section([Search(name="fused", candidates=[])]) is None
    broken = Candidate(number=1, trial=1, settings={}, curve=[float("nan")], stopped=True)
    found = sweep_section([Search(name="fused", candidates=[broken, candidate(2)])])
    assert [row.best for row in found.rows] == [pytest.approx(0.32), None]
    assert "–" in Page(render(ReportInput(summary={}, searches=[Search(name="fused", candidates=[broken])]))).text


def test_the_gain_of_audio_is_shown_by_class_with_intervals():
    gain = np.linspace(-0.1, 0.25, 8)
    intervals = [[value - 0.05, value + 0.05] for value in gain]
    summary = {"audio_gain": {"per_class": gain.tolist(), "interval": intervals}}
    rows, limit = gain_rows(summary)
    assert limit == pytest.approx(0.3) and rows[7].at > 50 > rows[0].at
    assert all(row.left >= 0 and row.left + row.width <= 100 for row in rows)
    text = Page(render(ReportInput(summary=summary))).text
    assert "+0.250" in text and "+0.200 to +0.300" in text
    assert gain_rows({}) == ([], 0.0)
    assert "What audio adds" not in Page(render(ReportInput(summary={}))).text


def test_a_gain_without_an_interval_is_shown():
    rows, _ = gain_rows({"audio_gain": {"per_class": [0.0] * 8, "interval": None}})
    assert rows[0].interval is None and rows[0].width == 0
