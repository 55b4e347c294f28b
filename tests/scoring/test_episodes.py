import numpy as np
import pytest
from analysis_rows import LETTERS, analysis_rows, analysis_table
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.scoring.episodes import MIN_EPISODE_S, summarize_people

TENTHS = np.arange(60) / 10


def summary(labels, times=TENTHS, end=None, **options):
    return summarize_people(analysis_table(analysis_rows(labels, times, **options)), end)["main"]


def found(person):
    return [(e.expression[0], e.first_frame, e.last_frame, round(e.start, 6), round(e.end, 6)) for e in person.episodes]


def test_an_episode_is_a_run_of_frames_with_the_same_label():
    person = summary("NNNHH.HHH")
    assert found(person) == [("N", 1, 3, 0.0, 0.3), ("H", 4, 5, 0.3, 0.5), ("H", 7, 9, 0.6, 0.9)]
    assert person.counts["Happiness"] == 2
    assert person.episodes[0].confidence == pytest.approx(0.65)


def test_shorter_runs_than_the_minimum_are_no_episodes_and_rounding_does_not_matter():
    assert MIN_EPISODE_S == 0.2
    assert found(summary("NNNNHNNHHNN")) == [("N", 1, 4, 0.0, 0.4), ("N", 6, 7, 0.5, 0.7), ("H", 8, 9, 0.7, 0.9), ("N", 10, 11, 0.9, 1.1)]
    assert summary("NNNNHNNHHNN").seconds["Happiness"] == pytest.approx(0.3), "its time counts"


def test_shares_are_those_of_the_time_and_not_of_the_frames():
    person = summary("NNHHHH", np.array([0.0, 1.0, 2.0, 2.1, 2.2, 2.3]))  # the last frame gets the median duration
    assert person.seconds == pytest.approx({**dict.fromkeys(EXPRESSIONS, 0.0), "Neutral": 2.0, "Happiness": 0.4})
    assert person.shares["Neutral"] == pytest.approx(2 / 2.4)
    assert person.means["Happiness"] == pytest.approx((2.0 * 0.05 + 0.4 * 0.65) / 2.4)
    assert summary("N...", [0.0, 0.9, 1.0, 1.1]).seen == pytest.approx(0.9 / 1.2)


def test_the_confidence_of_an_episode_weights_its_frames_by_time():
    rows = analysis_rows("HH", [0.0, 0.9], confidence=0.5) + analysis_rows("H", [0.0, 0.9, 1.0], confidence=0.9, first=3)
    (episode,) = summarize_people(analysis_table(rows), end=1.1)["main"].episodes
    assert episode.confidence == pytest.approx((1.0 * 0.5 + 0.1 * 0.9) / 1.1)


def test_at_a_lower_rate_a_frame_lasts_until_the_next_one_and_the_last_to_the_end_of_the_video():
    rows = analysis_rows("N" * 60, TENTHS)
    person = summarize_people(analysis_table([rows[at] for at in (0, 7, 15, 40)]), end=4.1)["main"]
    assert found(person) == [("N", 1, 41, 0.0, 4.1)]
    assert sum(person.seconds.values()) == pytest.approx(4.1)


def test_a_gap_of_missing_rows_ends_an_episode_and_its_time_does_not_count():
    main, other = analysis_rows("N" * 10, TENTHS), analysis_rows("HHHHHHHH", TENTHS, "person-2", first=2)
    person = summarize_people(analysis_table(main, other[:2] + other[6:]))["person-2"]
    assert found(person) == [("H", 2, 3, 0.1, 0.3), ("H", 8, 9, 0.7, 0.9)]
    assert person.seconds["Happiness"] == pytest.approx(0.4)
    assert (person.first_time, person.last_time, person.frames) == pytest.approx((0.1, 0.8, 4))
    assert (person.seen, person.scored) == (1.0, 1.0)


def test_an_image_has_shares_and_no_episode():
    person = summary("H", [0.0], end=0.0)
    assert person.shares["Happiness"] == person.seen == person.scored == 1.0
    assert (person.episodes, person.counts["Happiness"], person.means["Happiness"]) == ([], 0, pytest.approx(0.65))


def test_an_expression_that_the_model_does_not_have_is_left_out():
    person = summary("NNHH", absent=["Other", "Fear"])
    assert list(person.seconds) == list(person.means) == [name for name in EXPRESSIONS if name not in ("Other", "Fear")]


def test_a_person_without_a_scored_frame_has_no_episode():
    person = summary("....")
    assert (person.episodes, person.shares, person.means, person.scored) == ([], {}, {}, 0.0)


@given(st.lists(st.tuples(st.sampled_from("NAH."), st.floats(0.001, 1.0)), min_size=1, max_size=40))
def test_shares_episodes_and_fractions_agree_with_their_definitions(frames):
    labels, steps = "".join(letter for letter, _ in frames), np.array([step for _, step in frames])
    times, end = 1.5 + np.cumsum([0.0, *steps[:-1]]), 1.5 + steps.sum()
    last = min(np.median(steps[:-1]), steps[-1]) if len(steps) > 1 else steps[-1] if steps[-1] < 0.04 else 0.04
    steps[-1], person = last, summary(labels, times, end)
    of = {letter: steps[[letter == other for other in labels]].sum() for letter in "NAH."}
    scored = steps.sum() - of["."]
    assert person.scored == pytest.approx(scored / steps.sum())
    assert person.shares == pytest.approx({} if labels.strip(".") == "" else {name: of.get(key, 0) / scored for key, name in LETTERS.items()})
    covered = [False] * len(labels)
    for episode in person.episodes:
        rows = range(episode.first_frame - 1, episode.last_frame)
        assert {LETTERS[labels[row]] for row in rows} == {episode.expression}
        assert episode.duration == pytest.approx(steps[list(rows)].sum()) and episode.duration > MIN_EPISODE_S - 1e-6
        for row in rows:
            covered[row] = True
        for beside in (rows[0] - 1, rows[-1] + 1):
            assert not 0 <= beside < len(labels) or labels[beside] != labels[rows[0]]
    assert all(covered[row] or letter == "." or steps[row] < MIN_EPISODE_S for row, letter in enumerate(labels))
