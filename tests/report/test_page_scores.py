"""Scores on the page of a report: with intervals, by class and of the encoder, and what is shown where one is missing."""

import numpy as np
import pytest
from html_page import Page
from report_content import SUMMARY, encoder_training, report_input

from abaw_ray.report.inputs import ConfusionMatrix, ReportInput
from abaw_ray.report.page import render
from abaw_ray.report.score_rows import score_rows


def test_every_score_of_the_summary_is_on_the_page():
    text = Page(render(report_input())).text
    for score in ("0.641", "0.619", "0.581 to 0.691", "0.618", "± 0.027", "0.542", "0.313", "0.279", "0.154", "0.099"):
        assert score in text, score
    for fold in ("0.588", "0.605", "0.613", "0.642", "0.659"):
        assert fold in text, fold


def test_the_scores_of_stage_i_are_listed_by_data_set():
    text = Page(render(report_input())).text
    assert "AffectNet-8 4,000 0.312 0.300 0.287" in text
    assert "RAF-DB 3,068 0.881 0.900 not measured" in text
    assert "that of epoch 3 of 4 , which has the highest mean macro-F1" in text or "that of epoch 3 of 4, which has the highest mean macro-F1" in text
    assert "used: epoch 3" in text


def test_the_use_of_the_experts_is_listed_by_class():
    text = Page(render(report_input())).text
    assert "expert 1 expert 2 expert 3 all classes 95 36 69 Neutral 100 63 37 Anger 90 10 100" in text
    assert "expert 1" not in Page(render(report_input(encoder=encoder_training(experts=None)))).text


def test_an_encoder_without_probe_selection_and_scores_has_its_charts_only():
    bare = encoder_training(data_sets=[], experts=None, select="", selected_epoch=None)
    text = Page(render(report_input(encoder=bare))).text
    assert "Training loss" in text and "Linear probe" not in text and "used: epoch" not in text
    last = Page(render(report_input(encoder=encoder_training(select="last")))).text
    assert "optimistic" not in last.split("Encoder training")[-1]


def test_without_epochs_there_is_no_section_on_the_encoder():
    for encoder in (None, encoder_training(epochs=[])):
        assert "Encoder training" not in Page(render(report_input(encoder=encoder))).text


def test_per_class_f1_is_computed_from_the_confusion_matrix():
    counts = np.diag([10, 20, 30, 40, 50, 60, 70, 0])
    counts[0, 1] = 10
    text = Page(render(report_input(confusion_matrices=[ConfusionMatrix(name="Official validation", counts=counts)]))).text
    assert "Neutral Official validation 0.667 20" in text  # 10 of 20 found, none falsely: 2 * 10 / (20 + 10)
    assert "Anger Official validation 0.800 20" in text  # all 20 found, 10 falsely: 2 * 20 / (20 + 30)
    assert "Other Official validation 0.000 0" in text
    intervals = np.array([[0.1 * row, 0.1 * row + 0.25] for row in range(8)])
    matrix = ConfusionMatrix(name="Official validation", counts=counts, f1_intervals=intervals)
    text = Page(render(report_input(confusion_matrices=[matrix]))).text
    assert "Neutral Official validation 0.667 0.000 to 0.250 20" in text and "Anger Official validation 0.800 0.100 to 0.350 20" in text


def test_without_a_confusion_matrix_the_per_class_f1_of_the_summary_is_shown():
    assert "Surprise Official validation 0.710 –" in Page(render(report_input(confusion_matrices=[]))).text


@pytest.mark.parametrize("empty", [None, float("nan"), "nothing"])
def test_a_missing_score_is_shown_as_not_measured_and_not_as_zero(empty):
    summary = {"official_val": {"macro_f1": empty}, "cv": empty, "audio_only": {"macro_f1": empty}, "chance_macro_f1": empty}
    page = Page(render(ReportInput(summary=summary)))
    assert page.text.count("not measured") >= 7
    assert "0.000" not in page.text and "nan" not in page.text.lower()


def test_every_score_with_an_interval_shows_it_and_one_without_shows_none():
    page = render(report_input())
    for low, high in (("0.581", "0.691"), ("0.552", "0.661"), ("0.510", "0.570"), ("0.121", "0.189")):
        assert f"{low} to {high}" in page
    rows = {row.name: row for row in score_rows(SUMMARY)}
    assert rows["Raw pixels"].interval is None and rows["Official validation, new recordings only"].interval == (0.5522, 0.6611)


def test_differences_are_listed_with_signs_and_paired_intervals_and_not_at_all_where_none_was_measured():
    differences = {"visual": {"macro_f1": 0.0995, "interval": [0.0412, 0.1501]}, "speech": {"macro_f1": -0.02, "interval": None}}
    page = render(report_input(summary=SUMMARY | {"differences": differences}))
    table = page.partition('id="differences"')[2].partition("</table>")[0]
    assert "minus face only" in table and "+0.100" in table and "+0.041 to +0.150" in table and "-0.020" in table
    assert "without smoothing" not in table
    assert 'id="differences"' not in render(report_input())


def test_the_optimism_of_each_search_is_beside_its_scores_and_that_of_validation():
    search = {"in_sample": 0.712, "cross_fitted": 0.684, "interval": [0.61, 0.74], "optimism": 0.028, "interval_optimism": [-0.004, 0.0512]}
    search |= {"interval_in_sample": [0.65, 0.76], "validation": {"macro_f1": 0.641, "interval": [0.55, 0.72]}}
    folds = {"macro_f1": 0.5562, "interval": [0.5, 0.6], "macro_f1_in_sample": 0.5777, "interval_in_sample": [0.51, 0.62], "optimism": 0.0222}
    page = render(report_input(summary=SUMMARY | {"searches": {"fused": search}, "cv": SUMMARY["cv"] | folds}))
    table = page.partition('id="optimism"')[2].partition("</table>")[0]
    for text in (
        "0.712",
        "0.684",
        "0.610 to 0.740",
        "+0.028",
        "-0.004 to +0.051",
        "0.641",
        "0.578",
        "0.510 to 0.620",
        "+0.022",
        "0.556",
        "0.500 to 0.600",
        "–",
        "0.650 to 0.760",
        "0.550 to 0.720",
    ):
        assert text in table
    assert "nor that the models of the other folds have trained on the fold that is held out" in page
    assert 'id="optimism"' not in render(report_input())


def test_repeated_folds_have_a_row_with_the_spread_between_assignments_only_where_there_are_some():
    repeats = {"macro_f1": [0.61, 0.63], "mean": 0.62, "std": 0.01}
    rows = {row.name: row for row in score_rows(SUMMARY | {"cv": SUMMARY["cv"] | {"repeats": repeats}})}
    assert (rows["Repeated folds, mean"].value, rows["Repeated folds, mean"].std) == (0.62, 0.01)
    assert "Repeated folds, mean" not in {row.name for row in score_rows(SUMMARY)}
