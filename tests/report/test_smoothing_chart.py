"""The chart of scores by smoothing window."""

import numpy as np
import pytest
from html_page import Page

from abaw_ray.report.inputs import ReportInput, SmoothingCurve
from abaw_ray.report.page import render


def smoothing(window_s=(0.0, 0.5, 1.0, 8.0), selected_s=1.0, **given):
    window = np.array(window_s)
    return SmoothingCurve(window_s=window, score=0.5 + window / 100, selected_s=selected_s, **given)


def text_of(curve):
    return Page(render(ReportInput(summary={}, smoothing=curve))).text


def test_no_smoothing_is_a_line_on_the_logarithmic_axis_and_the_selected_width_is_marked():
    text = text_of(smoothing(other_kinds={"gaussian": np.full(4, 0.5)}))
    for part in ("selected: 1 s", "no smoothing", "gaussian", "logarithmic", "selected: mean: macro-F1 0.510 at window width (s), logarithmic 1"):
        assert part in text, part


@pytest.mark.parametrize(("window_s", "selected_s"), [((0.0, 2.0), 0.0), ((2.0,), 2.0), ((0.5, 2.0), 2.0)])
def test_grids_with_one_width_or_without_the_unsmoothed_one_are_drawn(window_s, selected_s):
    assert "Macro-F1 of all folds pooled" in text_of(smoothing(window_s, selected_s))


def test_a_grid_of_no_smoothing_alone_has_no_chart():
    assert "Macro-F1 of all folds pooled" not in text_of(smoothing((0.0,), 0.0))
