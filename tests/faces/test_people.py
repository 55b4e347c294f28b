import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.tracking.people import PeopleConfig, Summary, name_people, name_subjects

CONFIG = PeopleConfig(likeness=0.75, stand_in=0.25)
ANNA, BEN, CARL = np.eye(3)


def tracklet(id, first, last, *, side=20, x=100, colours=ANNA):
    rows = last - first + 1
    return Summary(id, first, last, rows, side * side * rows / (192 * 144), x * rows / 192, colours)


def ids(named):
    return {name: [t.id for t in tracklets] for name, tracklets in named.items()}


def subject(track, side):
    return {"track": track, "side": side}


def test_left_and_right_are_given_by_place_not_by_size_or_order():
    here = [tracklet(1, 1, 100, x=150, side=40), tracklet(2, 1, 100, x=40, side=20)]
    named = name_subjects(here, [subject("v_right", "right"), subject("v_left", "left")], CONFIG)
    assert ids(named) == {"v_right": [1], "v_left": [2]}


@pytest.mark.parametrize(("sibling", "main"), [("right", 2), ("left", 1)])
def test_a_name_without_a_side_is_on_the_other_side_of_its_sibling(sibling, main):
    here = [tracklet(1, 1, 100, x=150), tracklet(2, 1, 100, x=40)]
    named = name_subjects(here, [subject("v", ""), subject(f"v_{sibling}", sibling)], CONFIG)
    assert ids(named) == {"v": [main], f"v_{sibling}": [3 - main]}


def test_two_people_who_both_sit_left_of_the_middle_are_still_two_sides():
    here = [tracklet(1, 1, 100, x=20), tracklet(2, 1, 100, x=70)]
    assert ids(name_subjects(here, [subject("l", "left"), subject("r", "right")], CONFIG)) == {"l": [1], "r": [2]}


def test_each_side_takes_its_own_stretches_in_every_shot_and_never_the_neighbours():
    here = [tracklet(1, 1, 50, x=40), tracklet(2, 1, 50, x=150), tracklet(3, 60, 90, x=45), tracklet(4, 95, 99, x=140)]
    named = name_subjects(here, [subject("l", "left"), subject("r", "right")], CONFIG)
    assert ids(named) == {"l": [1, 3], "r": [2, 4]}


def test_a_single_subject_is_the_largest_and_its_other_stretches_but_nobody_small_or_at_the_same_time():
    here = [
        tracklet(1, 1, 100, side=40),
        tracklet(2, 50, 60, side=45),  # at the same time
        tracklet(3, 120, 150, side=38),  # after a cut
        tracklet(4, 160, 200, side=10),  # somebody in the background
    ]
    assert ids(name_subjects(here, [subject("v", "")], CONFIG)) == {"v": [1, 3]}


def test_a_subject_who_was_never_seen_is_named_all_the_same():
    assert ids(name_subjects([], [subject("l", "left"), subject("r", "right")], CONFIG)) == {"l": [], "r": []}
    alone = [tracklet(1, 1, 9, x=150)]
    assert ids(name_subjects(alone, [subject("l", "left"), subject("r", "right")], CONFIG)) == {"l": [], "r": [1]}


def test_the_main_subject_has_the_largest_summed_area_and_the_others_follow():
    here = [tracklet(1, 1, 10, side=60, colours=ANNA), tracklet(2, 1, 200, side=30, colours=BEN), tracklet(3, 1, 20, side=10, colours=CARL)]
    assert ids(name_people(here, CONFIG)) == {"main": [2], "person-2": [1], "person-3": [3]}


def test_without_anybody_there_is_a_main_subject_who_is_never_seen():
    assert ids(name_people([], CONFIG)) == {"main": []}


def test_one_person_is_joined_across_a_cut_by_likeness_and_another_is_not():
    here = [
        tracklet(1, 1, 100, colours=ANNA),
        tracklet(2, 101, 200, colours=BEN),
        tracklet(3, 201, 290, colours=0.9 * ANNA + 0.1 * CARL),
        tracklet(4, 150, 190, colours=ANNA),
        tracklet(5, 150, 180, colours=ANNA),
    ]
    assert ids(name_people(here, CONFIG)) == {"main": [1, 4, 3], "person-2": [2], "person-3": [5]}


@pytest.mark.parametrize("wrong", [{"likeness": 0}, {"stand_in": 2}])
def test_shares_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match="people"):
        PeopleConfig(**wrong)
