import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.faces.identity.vote_collector import change_time
from abaw_ray.faces.identity.votes import Vote, mean_similarity, runs, select

rng = np.random.default_rng(0)
PEOPLE = np.linalg.qr(rng.normal(size=(16, 6)))[0].T


def vote(time, person, quality=1.0, noise=0.0, seed=0):
    vector = PEOPLE[person] + np.random.default_rng([seed, round(time * 1000)]).normal(0, noise, 16) if noise else PEOPLE[person]
    return Vote(time, quality, (vector / np.linalg.norm(vector)).astype(np.float32))


def votes_of(people, noise=0.0):
    return [vote(2.0 * k, person, noise=noise) for k, person in enumerate(people)]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_the_similarity_of_two_sets_is_the_mean_over_all_pairs(first, second):
    a, b = votes_of(first, 0.2), [vote(100.0 + k, person, noise=0.2) for k, person in enumerate(second)]
    slow = np.mean([float(one.embedding @ other.embedding) for one in a for other in b])
    assert mean_similarity(a, b) == pytest.approx(slow, abs=1e-6) == mean_similarity(b, a)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), max_size=40), st.integers(1, 8))
def test_a_selection_is_bounded_ordered_spread_and_of_the_best(times, count):
    all_votes = [vote(time, 0, quality) for time, quality in times]
    kept = select(all_votes, count)
    assert len(kept) == min(len(times), count) or (len(times) > count and 1 <= len(kept) <= count)
    assert [one.time for one in kept] == sorted(one.time for one in kept)
    assert not times or max(one.quality for one in kept) == max(quality for _, quality in times)
    if len(times) > count > 1 and max(times)[0] > min(times)[0]:
        start, stop = min(time for time, _ in times), max(time for time, _ in times)
        assert kept[0].time <= start + (stop - start) / count + 1e-9 and kept[-1].time >= stop - (stop - start) / count - 1e-9


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_the_person_changes_where_the_votes_do_and_nowhere_else(people):
    expected = [k for k in range(1, len(people)) if people[k] != people[k - 1]]
    assert runs(votes_of(people), different=0.25) == expected
    assert runs(votes_of(people, noise=0.05), different=0.25) == expected


def test_one_unusual_vote_that_resembles_the_others_in_the_mean_does_not_divide_a_tracklet():
    unusual = Vote(5.0, 1.0, (0.5 * PEOPLE[0] + np.sqrt(0.75) * PEOPLE[1]).astype(np.float32))
    assert runs([vote(1.0, 0), vote(3.0, 0), unusual, vote(7.0, 0)], different=0.25) == []


def thumbnails(values, first=10, missing=()):
    """Rows of plain thumbnails; ``missing`` frames have none."""
    return [(first + k, (first + k) / 25, np.full((16, 16, 3), value, np.uint8)) for k, value in enumerate(values) if first + k not in missing]


@pytest.mark.parametrize("cut", [1, 7, 19])
def test_a_change_between_two_frames_is_found_exactly(cut):
    noise = np.random.default_rng(cut).integers(0, 12, 20)
    rows = thumbnails([int(60 + n if k < cut else 150 + n) for k, n in enumerate(noise)])
    assert change_time(rows) == rows[cut][1]


def test_a_gradual_change_is_divided_in_its_middle():
    rows = thumbnails([60] * 10 + list(range(60, 160, 5)) + [160] * 10)
    assert abs(change_time(rows) - rows[20][1]) <= 1 / 25 + 1e-9


def test_where_the_face_was_missing_the_person_changes_after_the_longest_gap():
    rows = thumbnails([60] * 5 + [150] * 25, missing={17, 22, 23, 24})
    assert change_time(rows) == 1.0
