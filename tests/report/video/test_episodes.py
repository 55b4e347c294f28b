import numpy as np
import pytest
from analysis_rows import analysis_rows, analysis_table
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.report.video.episodes import select_episodes, summarize_person


def summary(labels, times=None, **options):
    times = np.arange(len(labels)) / 10 if times is None else times
    return summarize_person(analysis_table(analysis_rows(labels, times, **options)))


def test_an_episode_is_a_run_of_frames_with_the_same_label():
    episodes = summary("NNNHH.HHH").episodes
    found = [(e.expression, e.first, e.last, round(e.start, 6), round(e.end, 6)) for e in episodes]
    assert found == [("Neutral", 1, 3, 0.0, 0.3), ("Happiness", 4, 5, 0.3, 0.5), ("Happiness", 7, 9, 0.6, 0.9)]
    assert episodes[0].confidence == pytest.approx(0.65)
    assert summary("NNNHH.HHH").counts["Happiness"] == 2


def test_shares_are_those_of_the_time_and_not_of_the_frames():
    times = np.array([0.0, 1.0, 2.0, 2.1, 2.2, 2.3])  # the last frame gets the median duration
    assert summary("NNHHHH", times).seconds == pytest.approx({**dict.fromkeys(EXPRESSIONS, 0.0), "Neutral": 2.0, "Happiness": 0.4})
    assert summary("NNHHHH", times).shares["Neutral"] == pytest.approx(2 / 2.4)


@given(st.text("NAH.", min_size=2, max_size=40))
def test_shares_sum_to_one_and_episodes_cover_the_scored_time(labels):
    found = summary(labels)
    scored = sum(letter != "." for letter in labels)
    assert sum(found.shares.values()) == pytest.approx(1 if scored else 0)
    assert sum(episode.duration for episode in found.episodes) == pytest.approx(scored / 10)
    assert sum(episode.last - episode.first + 1 for episode in found.episodes) == scored
    assert found.scored == pytest.approx(scored / len(labels))


def test_an_expression_that_the_model_does_not_have_is_left_out():
    found = summary("NNHH", absent=["Other", "Fear"])
    assert list(found.seconds) == [name for name in EXPRESSIONS if name not in ("Other", "Fear")]


def test_rows_that_are_missing_between_two_frames_end_an_episode():
    rows = analysis_rows("NNNNNN", np.arange(6) / 10)
    episodes = summarize_person(analysis_table(rows[:2] + rows[4:])).episodes
    assert [(episode.first, episode.last) for episode in episodes] == [(1, 2), (5, 6)]


def test_a_person_without_a_scored_frame_has_no_episode():
    found = summary("....")
    assert (found.episodes, found.shares, found.scored) == ([], {}, 0.0)


def test_the_longest_episodes_are_selected_in_order_of_time():
    episodes = summary("NNNNNHAAAAAAAASSSNNNN").episodes
    assert [e.expression for e in select_episodes(episodes, 0.3, 10)] == ["Neutral", "Anger", "Sadness", "Neutral"]
    assert [e.first for e in select_episodes(episodes, 0.3, 2)] == [1, 7]
