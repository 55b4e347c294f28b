"""The page, the summary, the list of videos and the episodes of an analysis have the same numbers."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from analysis_rows import analysis_rows, analysis_table
from html_page import Page
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.predict.analysis_data import AnalysisData, ModelInfo, VideoInfo
from abaw_ray.predict.output.page import PageVideo, index_row, video_page
from abaw_ray.predict.output.summary import EPISODES, SUMMARY, list_episodes, summarize
from abaw_ray.report.video.index import render_index
from abaw_ray.report.video.inputs import VideoIndex
from abaw_ray.report.video.page import render_video_page

MODEL = ModelInfo(name="m", identity="0", license="MIT")
LABELS = st.lists(st.sampled_from("NNNHHA."), min_size=1, max_size=25).map("".join)


def analysis_of(*people, duration=0.0):
    table = analysis_table(*people)
    start, size = table["time"][0].as_py(), {"width": 160, "height": 120}
    info = VideoInfo(name="v.mp4", uri="v.mp4", **size, frames=len(people[0]), start_s=start, duration_s=duration, end_s=start + duration)
    return AnalysisData(table=table, video=info, model=MODEL)


def page_tables(analysis):
    """By person: percentages of time scored and seen; share, seconds and number of episodes by expression; rows of episodes."""
    text = render_video_page(video_page(analysis, video=PageVideo(), csv=None, index=None))
    found = {}
    for part in text.split('<div class="tables" data-person="')[1:]:
        words = " ".join(Page(part).text.split())
        shares = {}
        for name in EXPRESSIONS:
            if line := re.search(rf"{name} ([\d.]+) % (\S+ \S+) (\d+)", words):
                shares[name] = (float(line[1]), int(line[3]))
        percent = tuple(int(number) for number in re.search(r"time; (\d+) % of the time of .*?, (\d+) % shows", words).groups())
        found[part.split('"')[0]] = (*percent, shares, [int(number) for number in re.findall(r'data-seek="(\d+)"', part)])
    return found


def check(analysis):
    """Compare the four outputs."""
    summary, episodes, tables = summarize(analysis), list_episodes(analysis), page_tables(analysis)
    assert summary.schema.equals(SUMMARY) and episodes.schema.equals(EPISODES)
    assert list(tables) == summary["person"].to_pylist()
    for row in summary.to_pylist():
        scored, seen, shares, starts = tables[row["person"]]
        own = [episode for episode in episodes.to_pylist() if episode["person"] == row["person"]]
        assert (scored, seen) == (pytest.approx(100 * row["share_scored"], abs=0.51), pytest.approx(100 * row["share_seen"], abs=0.51))
        assert list(shares) == [name for name in EXPRESSIONS if row[f"share_{name.lower()}"] is not None]
        for name, (share, count) in shares.items():
            assert share == pytest.approx(100 * row[f"share_{name.lower()}"], abs=0.051)
            assert count == row[f"episodes_{name.lower()}"] == sum(episode["expression"] == name for episode in own)
        assert starts == [episode["first_frame"] for episode in own]
        assert all(a["end"] <= b["start"] for a, b in pairwise(own))
    index = index_row("v.mp4", summary, page=None, duration_s=analysis.video.duration_s, thumbnail=None, failure=None)
    main = summary.to_pylist()[0]
    assert (index.seen, index.people) == (main["share_seen"], len(summary))
    assert index.shares == {name: main[f"share_{name.lower()}"] for name in EXPRESSIONS if main[f"share_{name.lower()}"] is not None}
    return summary, episodes


@given(LABELS, LABELS, st.lists(st.floats(0.002, 1.0), min_size=60, max_size=60), st.integers(1, 5), st.sets(st.integers(0, 24)), st.booleans())
def test_page_summary_list_and_episodes_agree_on_any_table(labels, other, steps, rate, missing, known_end):
    times = 0.4 + np.cumsum(steps)
    main = analysis_rows(labels, times)[::rate]
    frames = {row["frame"] for row in main}
    rows = [row for at, row in enumerate(analysis_rows(other, times, "person-2", first=2)) if row["frame"] in frames and at not in missing]
    check(analysis_of(main, rows, duration=times[len(labels)] - main[0]["time"] if known_end else 0.0))


def test_a_face_that_is_seen_for_half_of_the_frames_but_most_of_the_time_is_seen_most_of_the_time():
    summary, _ = check(analysis_of(analysis_rows("NN..", [0.0, 0.4, 0.8, 0.9]), duration=1.2))
    assert summary["share_seen"][0].as_py() == pytest.approx(0.8 / 1.2, abs=1e-6)


def test_an_image_is_seen_and_has_an_expression_no_duration_and_no_episode():
    analysis = analysis_of(analysis_rows("H", [0.0]))
    summary, episodes = check(analysis)
    row = summary.to_pylist()[0]
    assert (row["share_seen"], row["share_happiness"], row["dominant"], row["episodes_happiness"], len(episodes)) == (1, 1, "Happiness", 0, 0)
    index = index_row("v.png", summary, page=None, duration_s=0.0, thumbnail=None, failure=None)
    assert json.loads(Page(render_index(VideoIndex(rows=[index]))).scripts[0])["duration"] == [None]


def test_without_a_scored_frame_there_are_no_shares():
    summary, episodes = check(analysis_of(analysis_rows("...", [0.0, 0.1, 0.2])))
    assert (summary["dominant"].to_pylist(), summary["share_neutral"].null_count, len(episodes)) == ([None], 1, 0)


def test_episodes_have_the_times_of_their_frames_and_end_with_the_video():
    analysis = analysis_of(analysis_rows("NNNNNHHHHH", np.arange(10) / 10), duration=1.0)
    analysis = replace(analysis, table=analysis.table.take([0, 2, 4, 6, 9]))
    _, episodes = check(analysis)
    rows = [(row["expression"], row["start"], row["end"], row["first_frame"], row["last_frame"]) for row in episodes.to_pylist()]
    assert rows == [("Neutral", 0.0, 0.6, 1, 5), ("Happiness", 0.6, pytest.approx(1.0), 7, 10)]
    assert episodes["confidence"].to_pylist() == pytest.approx([0.65, 0.65])
