import json
import re
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from jaxtyping import TypeCheckError

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.settings import flatten
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.report.inputs import (
    ConfusionMatrix,
    DataSetScore,
    EncoderTraining,
    Epoch,
    ExpertUse,
    ReportInput,
    SmoothingCurve,
    SubmissionInfo,
    Timeline,
)
from abaw_ray.report.page import PageConfig, render, write_report
from abaw_ray.report.score_rows import score_rows
from abaw_ray.report.stage_two.inputs import Candidate, Search
from abaw_ray.report.timelines import TimelineConfig

SUMMARY = {
    "official_val": {
        "macro_f1": 0.6412,
        "macro_f1_unshared": 0.6187,
        "interval": [0.5811, 0.6905],
        "interval_unshared": [0.5522, 0.6611],
        "per_class": [0.71] * 8,
    },
    "cv": {"macro_f1_mean": 0.6183, "macro_f1_std": 0.0271, "folds": [0.5881, 0.6052, 0.6133, 0.6424, 0.6595]},
    "visual_only": {"macro_f1": 0.5417, "interval": [0.5099, 0.5701]},
    "audio_only": {"macro_f1": 0.3128},
    "baselines": {"pixels": {"macro_f1": 0.2789, "interval": None}, "pitch_energy": {"macro_f1": 0.1544, "interval": [0.1212, 0.1888]}},
    "chance_macro_f1": 0.0993,
    "stages": {"faces": {"seconds": 83.2, "rows": 23810, "items": 37, "failed": 1}, "encoder": {"seconds": 191.0, "rows": 6000}},
    "submission": "runs/demo/submission.txt",
}


def timeline(video="video1", frames=90, *, audio=True, seed=0, **given):
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.ones(8), size=frames).astype(np.float32)
    seen, heard = rng.random(frames) < 0.7, (rng.random(frames) < 0.6) & audio
    probability[~(seen | heard)] = np.nan
    predicted = np.where(seen | heard, np.nan_to_num(probability).argmax(axis=1), -1).astype(np.int8)
    fields = {"track": "main", "time": np.arange(frames) / 30, "label": rng.integers(-1, 8, frames).astype(np.int8)} | given
    return Timeline(video=video, predicted=predicted, probability=probability, seen=seen, heard=heard, **fields)


def encoder_training(**changes):
    fields = {
        "epochs": [Epoch(epoch=i, loss=2.0 / i, macro_f1={"AffectNet-8": 0.1 * i, "RAF-DB": 0.9 - 0.15 * abs(i - 3)}) for i in range(1, 5)],
        "selected_epoch": 3,
        "select": "best",
        "data_sets": [
            DataSetScore(name="AffectNet-8", images=4000, accuracy=0.3125, macro_f1=0.3, probe_macro_f1=0.2875),
            DataSetScore(name="RAF-DB", images=3068, accuracy=0.8812, macro_f1=0.9),
        ],
        "experts": ExpertUse(
            classes=["Neutral", "Anger"], per_class=np.array([[1.0, 0.63, 0.37], [0.9, 0.1, 1.0]]), total=np.array([0.95, 0.36, 0.69])
        ),
    }
    return EncoderTraining(**(fields | changes))


def report_input(**changes):
    counts = np.random.default_rng(1).integers(0, 900, (8, 8)) + 500 * np.eye(8, dtype=int)
    window = np.array([0.0, 1.0, 3.4, 8.0])
    fields = {
        "summary": SUMMARY,
        "run": "preset demo, seed 7",
        "confusion_matrices": [ConfusionMatrix(name="Official validation", counts=counts), ConfusionMatrix(name="Five folds", counts=4 * counts)],
        "smoothing": SmoothingCurve(
            window_s=window,
            score=0.5 + window / 100,
            folds=np.ones((5, 4)) * 0.5,
            selected_s=3.4,
            in_sample=0.6211,
            cross_fitted=0.6158,
            other_kinds={"gaussian": 0.5 + window / 90},
            class_bias={"with": 0.5932, "without": 0.5871},
        ),
        "encoder": encoder_training(),
        "timelines": [timeline(f"video{i}", seed=i, group="validation") for i in range(3)],
        "submission": SubmissionInfo(path="runs/demo/submission.txt", rows=10226, filled=214),
        "failures": [{"item": "broken.mp4", "stage": "faces", "reason": "not a video", "last_frame": None}],
        "settings": {"encoder": {"optim": {"lr": 3e-4}}, "scales": [1.0, 1.25]},
        "versions": {"ray": "2.60.0"},
    }
    return ReportInput(**(fields | changes))


def data_of(page):
    return json.loads(page.scripts[0])


def test_the_page_requests_nothing_and_its_policy_forbids_requests():
    text = render(report_input())
    page = Page(text)
    assert not [(tag, attrs) for tag, attrs in page.tags if tag in ("link", "img", "iframe", "object", "embed", "base")]
    assert not [attrs for _, attrs in page.tags if "src" in attrs]
    assert all(attrs["href"].startswith("#") for _, attrs in page.tags if "href" in attrs)
    assert not re.search(r"https?://|url\(|@import", text)
    (policy,) = [attrs["content"] for tag, attrs in page.tags if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_every_score_of_the_summary_is_on_the_page():
    text = Page(render(report_input())).text
    for score in ("0.641", "0.619", "0.581 to 0.691", "0.618", "± 0.027", "0.542", "0.313", "0.279", "0.154", "0.099"):
        assert score in text, score
    for fold in ("0.588", "0.605", "0.613", "0.642", "0.659"):
        assert fold in text, fold


def test_every_part_of_the_run_is_on_the_page():
    text = Page(render(report_input())).text
    expected = (
        "mean, 3.4 s",
        "no smoothing",
        "0.593",
        "0.587",
        "without a bias per class (used)",
        "0.621",
        "0.616",
        "selected",
        "23,810",
        "1 min 23 s",
        "3 min 11 s",
        "runs/demo/submission.txt",
        "10,226",
        "214",
    )
    for words in (*expected, "broken.mp4", "not a video", "encoder.optim.lr", "0.0003", "2.60.0", *EXPRESSIONS):
        assert words in text, words


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


def test_without_a_confusion_matrix_the_per_class_f1_of_the_summary_is_shown():
    assert "Surprise Official validation 0.710 –" in Page(render(report_input(confusion_matrices=[]))).text


@pytest.mark.parametrize("empty", [None, float("nan"), "nothing"])
def test_a_missing_score_is_shown_as_not_measured_and_not_as_zero(empty):
    summary = {"official_val": {"macro_f1": empty}, "cv": empty, "audio_only": {"macro_f1": empty}, "chance_macro_f1": empty}
    page = Page(render(ReportInput(summary=summary)))
    assert page.text.count("not measured") >= 7
    assert "0.000" not in page.text and "nan" not in page.text.lower()


def test_an_empty_summary_gives_a_page():
    page = Page(render(ReportInput(summary={})))
    assert "not measured" in page.text
    assert page.scripts == []


def test_a_run_without_audio_without_labels_and_without_gate_gives_a_page():
    page = Page(render(report_input(timelines=[timeline("silent", audio=False, label=None)])))
    (video,) = data_of(page)["videos"]
    assert video["label"] is None and video["gate"] is None
    assert "audio present in 0%" in video["facts"]
    assert "labelled" not in video["facts"]


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b <i>", "{{ 7 * 7 }}"])
def test_a_name_with_markup_is_escaped(name):
    failure = {"item": name, "stage": "faces", "reason": name, "last_frame": 3}
    text = render(report_input(timelines=[timeline(name, group=name)], failures=[failure], title=name, run=name, notes=[name], settings={name: name}))
    page = Page(text)
    assert [tag for tag, attrs in page.tags if tag in ("img", "i") and "onerror" in attrs] == []
    assert len(page.scripts) == 2, "the page has its data and its script, and no other"
    assert data_of(page)["videos"][0]["name"] == name
    assert " ".join(name.split()) in page.text


def test_the_data_is_strict_json_without_nan():
    def refuse(constant):
        raise AssertionError(constant)

    json.loads(Page(render(report_input())).scripts[0], parse_constant=refuse)


def test_the_script_uses_only_elements_that_exist():
    rows = [Candidate(number=1, trial=1, settings={}, curve=[0.1])]
    text = render(report_input(searches=[Search(name="fused", candidates=rows)]))
    script = Page(text).scripts[1]
    wanted = set(re.findall(r'(?:\belement|getElementById)\("([a-z]+)"\)', script))
    assert len(wanted) > 8
    assert wanted <= {attrs["id"] for _, attrs in Page(text).tags if "id" in attrs}


def test_a_large_run_gives_a_page_of_bounded_size_that_states_what_is_omitted():
    videos = [timeline(f"video{i}", 2500, seed=i) for i in range(80)]
    failures = [{"item": f"v{i}", "stage": "faces", "reason": "x" * 100, "last_frame": None} for i in range(500)]
    rows = [Candidate(number=i, trial=i // 8, settings={"lr": i}, curve=[0.1] * 20, in_sample=i / 2000) for i in range(1500)]
    text = render(report_input(timelines=videos, failures=failures, searches=[Search(name="fused", candidates=rows)]))
    assert len(text) < 2_500_000
    words = Page(text).text
    for note in ("60 of 80", "200 of 500", "the best 60 of 1500"):
        assert note in words, note


def test_the_same_run_gives_the_same_page():
    assert render(report_input()) == render(report_input())


def test_the_page_is_written_to_a_folder_or_a_storage(tmp_path: Path):
    address = write_report(tmp_path / "a", report_input())
    assert Path(address) == tmp_path / "a" / "report.html"
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    write_report(storage, report_input(), name="deep/page.html")
    assert storage.read_bytes("deep/page.html") == Path(address).read_bytes()


def test_settings_are_shown_by_the_paths_of_the_command_line():
    assert flatten({"a": {"b": {"c": 1}, "d": {}}, "e": [1]}) == {"a.b.c": 1, "a.d": {}, "e": [1]}


def test_sizes_below_one_are_refused():
    with pytest.raises(ConfigError, match=r"report.max_failures=0"):
        PageConfig(max_failures=0)
    with pytest.raises(ConfigError, match=r"max_columns=0"):
        TimelineConfig(max_columns=0)


def test_arrays_of_different_lengths_are_rejected():
    refusals = (ValueError, TypeCheckError)  # the package's error, or that of the annotation checks
    with pytest.raises(refusals, match="label"):
        timeline(label=np.zeros(3, np.int8))
    with pytest.raises(refusals, match="shape|counts"):
        ConfusionMatrix(name="x", counts=np.zeros((7, 7), int))


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
    search = {"in_sample": 0.712, "cross_fitted": 0.684, "interval": [0.61, 0.74], "optimism": 0.028}
    search |= {"interval_in_sample": [0.65, 0.76], "validation": {"macro_f1": 0.641, "interval": [0.55, 0.72]}}
    page = render(report_input(summary=SUMMARY | {"searches": {"fused": search}}))
    table = page.partition('id="optimism"')[2].partition("</table>")[0]
    for text in ("0.712", "0.684", "0.610 to 0.740", "+0.028", "0.641", "0.650 to 0.760", "0.550 to 0.720"):
        assert text in table
    assert "nor that the models of the other folds have trained on the fold that is held out" in page
    assert 'id="optimism"' not in render(report_input())


def test_repeated_folds_have_a_row_with_the_spread_between_assignments_only_where_there_are_some():
    repeats = {"macro_f1": [0.61, 0.63], "mean": 0.62, "std": 0.01}
    rows = {row.name: row for row in score_rows(SUMMARY | {"cv": SUMMARY["cv"] | {"repeats": repeats}})}
    assert (rows["Repeated folds, mean"].value, rows["Repeated folds, mean"].std) == (0.62, 0.01)
    assert "Repeated folds, mean" not in {row.name for row in score_rows(SUMMARY)}
