"""The page of a report: its parts, its policy, its script and its limits."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from jaxtyping import TypeCheckError
from report_content import report_input, timeline

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.settings import flatten
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.report.inputs import ConfusionMatrix, ReportInput
from abaw_ray.report.page import PageConfig, render, write_report
from abaw_ray.report.stage_two.inputs import Candidate, Search
from abaw_ray.report.timelines import TimelineConfig


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


def test_every_part_of_the_run_is_on_the_page():
    text = Page(render(report_input())).text
    expected = (
        "mean, 3.4 s",
        "no smoothing",
        "0.593",
        "0.587",
        "without a bias per class (used)",
        "+0.006 -0.012 to +0.023",
        "0.621 0.551 to 0.691",
        "0.616 0.543 to 0.673",
        "+0.005 -0.002 to +0.013",
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
