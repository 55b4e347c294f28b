import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.config import PeopleConfig
from abaw_ray.faces.tracking.people import TrackletSummary, name_people, name_subjects

CONFIG = PeopleConfig(min_histogram_similarity=0.75, min_area_ratio=0.25)
ANNA, BEN, CARL = np.eye(3)


def tracklet(id, first, last, *, side=20, x=100, histogram=ANNA):
    rows = last - first + 1
    return TrackletSummary(id, first, last, rows, side * side * rows / (192 * 144), x * rows / 192, histogram)


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
        tracklet(1, 1, 10, side=60, histogram=ANNA),
        tracklet(2, 1, 200, side=30, histogram=BEN),
        tracklet(3, 1, 20, side=10, histogram=CARL),
    ]
    assert ids(name_people(tracklets, CONFIG)) == {"main": [2], "person-2": [1], "person-3": [3]}


def test_without_tracklets_there_is_a_main_subject_without_rows():
    assert ids(name_people([], CONFIG)) == {"main": []}


def test_tracklets_of_similar_histograms_are_joined_across_a_cut_and_others_are_not():
    tracklets = [
        tracklet(1, 1, 100, histogram=ANNA),
        tracklet(2, 101, 200, histogram=BEN),
        tracklet(3, 201, 290, histogram=0.9 * ANNA + 0.1 * CARL),
        tracklet(4, 150, 190, histogram=ANNA),
        tracklet(5, 150, 180, histogram=ANNA),
    ]
    assert ids(name_people(tracklets, CONFIG)) == {"main": [1, 4, 3], "person-2": [2], "person-3": [5]}


@pytest.mark.parametrize("wrong", [{"min_histogram_similarity": 0}, {"min_area_ratio": 2}])
def test_values_outside_0_to_1_are_refused(wrong):
    with pytest.raises(ConfigError, match="people"):
        PeopleConfig(**wrong)
