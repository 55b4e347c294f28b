import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.config import PeopleConfig
from abaw_ray.faces.identity.config import VoteConfig
from abaw_ray.faces.identity.embedder import SimilarityThresholds
from abaw_ray.faces.identity.votes import Vote
from abaw_ray.faces.tracking.people import count_mixed, name_people, name_subjects
from abaw_ray.faces.tracking.summary import TrackletSummary

CONFIG = PeopleConfig(min_area_ratio=0.25)
THRESHOLDS = SimilarityThresholds(same=0.6, different=0.3)
ANNA, BEN, CARL = np.eye(3)


def tracklet(id, first, last, *, side=20, x=100, face=None, votes=2):
    """A tracklet; ``face`` is the embedding of its votes."""
    rows = last - first + 1
    vector = None if face is None else (face / np.linalg.norm(face)).astype(np.float32)
    found = [] if vector is None else [Vote(first / 25 + k, 1.0, vector) for k in range(votes)]
    return TrackletSummary(id, first, last, rows, side * side * rows / (192 * 144), x * rows / 192, found)


def ids(named):
    return {name: [t.id for t in tracklets] for name, tracklets in named.items()}


def subject(track, side):
    return {"track": track, "side": side}


def test_left_and_right_are_assigned_by_position_not_by_size_or_order():
    tracklets = [tracklet(1, 1, 100, x=150, side=40), tracklet(2, 1, 100, x=40, side=20)]
    named = name_subjects(tracklets, [subject("v_right", "right"), subject("v_left", "left")], CONFIG)
    assert ids(named) == {"v_right": [1], "v_left": [2]}


@pytest.mark.parametrize(("sibling", "main"), [("right", 2), ("left", 1)])
def test_a_name_without_a_side_is_on_the_other_side_of_its_sibling(sibling, main):
    tracklets = [tracklet(1, 1, 100, x=150), tracklet(2, 1, 100, x=40)]
    named = name_subjects(tracklets, [subject("v", ""), subject(f"v_{sibling}", sibling)], CONFIG)
    assert ids(named) == {"v": [main], f"v_{sibling}": [3 - main]}


def test_two_people_left_of_the_center_are_assigned_to_two_sides():
    tracklets = [tracklet(1, 1, 100, x=20), tracklet(2, 1, 100, x=70)]
    assert ids(name_subjects(tracklets, [subject("l", "left"), subject("r", "right")], CONFIG)) == {"l": [1], "r": [2]}


def test_each_side_gets_its_own_tracklets_in_every_shot():
    tracklets = [tracklet(1, 1, 50, x=40), tracklet(2, 1, 50, x=150), tracklet(3, 60, 90, x=45), tracklet(4, 95, 99, x=140)]
    named = name_subjects(tracklets, [subject("l", "left"), subject("r", "right")], CONFIG)
    assert ids(named) == {"l": [1, 3], "r": [2, 4]}


def test_a_single_subject_is_the_largest_and_its_later_tracklets_but_none_small_or_simultaneous():
    tracklets = [
        tracklet(1, 1, 100, side=40),
        tracklet(2, 50, 60, side=45),  # at the same time
        tracklet(3, 120, 150, side=38),  # after a cut
        tracklet(4, 160, 200, side=10),  # a person in the background
    ]
    assert ids(name_subjects(tracklets, [subject("v", "")], CONFIG)) == {"v": [1, 3]}


def test_a_subject_without_tracklets_is_named_too():
    assert ids(name_subjects([], [subject("l", "left"), subject("r", "right")], CONFIG)) == {"l": [], "r": []}
    alone = [tracklet(1, 1, 9, x=150)]
    assert ids(name_subjects(alone, [subject("l", "left"), subject("r", "right")], CONFIG)) == {"l": [], "r": [1]}


def test_the_main_subject_has_the_largest_summed_area_and_the_others_follow():
    tracklets = [
        tracklet(1, 1, 10, side=60, face=ANNA),
        tracklet(2, 1, 200, side=30, face=BEN),
        tracklet(3, 1, 20, side=10, face=CARL),
    ]
    assert ids(name_people(tracklets, CONFIG, THRESHOLDS)) == {"main": [2], "person-2": [1], "person-3": [3]}


def test_without_tracklets_there_is_a_main_subject_without_rows():
    assert ids(name_people([], CONFIG)) == {"main": []}


def test_tracklets_of_one_face_are_joined_across_a_cut_and_others_are_not():
    tracklets = [
        tracklet(1, 1, 100, face=ANNA),
        tracklet(2, 101, 200, face=BEN),
        tracklet(3, 201, 290, face=0.9 * ANNA + 0.1 * CARL),
        tracklet(4, 150, 190, face=ANNA),
    ]
    assert ids(name_people(tracklets, CONFIG, THRESHOLDS)) == {"main": [1, 4, 3], "person-2": [2]}
    assert ids(name_people(tracklets, CONFIG)) == {"main": [1], "person-2": [2], "person-3": [3], "person-4": [4]}, "without an embedder"


def test_tracklets_that_coincide_are_never_joined():
    twins = [tracklet(1, 1, 100, face=ANNA), tracklet(2, 100, 180, face=ANNA), tracklet(3, 181, 200, face=CARL)]
    assert ids(name_people(twins, CONFIG, THRESHOLDS)) == {"main": [1], "person-2": [2], "person-3": [3]}


def test_a_tracklet_must_resemble_every_tracklet_of_a_person():
    between = ANNA + 0.9 * BEN
    chain = [tracklet(1, 1, 100, face=ANNA), tracklet(2, 101, 190, face=between), tracklet(3, 191, 270, face=BEN)]
    assert ids(name_people(chain, CONFIG, THRESHOLDS)) == {"main": [1, 2], "person-2": [3]}


def test_a_tracklet_that_resembles_somebody_seen_at_the_same_time_more_joins_nobody():
    tracklets = [tracklet(1, 1, 200, face=ANNA), tracklet(2, 201, 390, face=ANNA + 0.5 * BEN), tracklet(3, 201, 380, face=ANNA + 0.6 * BEN)]
    assert ids(name_people(tracklets, CONFIG, THRESHOLDS)) == {"main": [1, 2], "person-2": [3]}


def test_too_few_votes_join_nothing():
    tracklets = [tracklet(1, 1, 100, face=ANNA), tracklet(2, 101, 190, face=ANNA, votes=1), tracklet(3, 201, 280)]
    assert ids(name_people(tracklets, CONFIG, THRESHOLDS)) == {"main": [1], "person-2": [2], "person-3": [3]}


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60), st.integers(0, 4), st.integers(0, 3)), max_size=25), st.integers(0, 9))
def test_no_person_has_two_faces_or_two_places_at_a_time(found, seed):
    faces = np.linalg.qr(np.random.default_rng(seed).normal(size=(8, 5)))[0].T
    noise = np.random.default_rng(seed).normal(0, 0.1, (len(found), 8))
    tracklets = [
        tracklet(k, first, first + length, face=faces[person] + noise[k], votes=votes) for k, (first, length, person, votes) in enumerate(found)
    ]
    named = name_people(tracklets, CONFIG, THRESHOLDS)
    assert sorted(t.id for person in named.values() for t in person) == list(range(len(found)))
    for person in named.values():
        assert len({found[t.id][2] for t in person}) <= 1
        assert all(a.last_frame < b.first_frame for a, b in itertools.pairwise(person))


def test_subjects_with_two_clearly_different_faces_are_counted():
    named = {"left": [tracklet(1, 1, 50, face=ANNA), tracklet(2, 51, 90, face=BEN)], "right": [tracklet(3, 1, 50, face=CARL), tracklet(4, 51, 90)]}
    assert count_mixed(named, CONFIG, THRESHOLDS) == 1
    assert count_mixed(named, CONFIG, None) == 0


@pytest.mark.parametrize("wrong", [{"min_area_ratio": 2}, {"min_area_ratio": -1}])
def test_values_outside_0_to_1_are_refused(wrong):
    with pytest.raises(ConfigError, match="people"):
        PeopleConfig(**wrong)


def test_contradictory_numbers_of_votes_are_refused():
    with pytest.raises(ConfigError, match="min_votes=9 must be at least 1 and at most max_votes=8"):
        VoteConfig(min_votes=9)
