import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.tracking.tracks import TrackConfig, Tracker


def face(x, y=50, side=20, score=0.9):
    return Face(np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dtype=float), score)


def look(tracker, time, *faces):
    """One look at 25 frames a second; ids of who was seen, in order of the faces' places."""
    seen = tracker.update(1 + round(time * 25), time, list(faces))
    return [tracklet.id for tracklet in sorted(seen, key=lambda tracklet: tracklet.last.face.box[0])]


@pytest.fixture
def tracker():
    return Tracker(TrackConfig(max_gap=0.5, remember=5.0, max_people=3, min_hits=2), min_score=0.6)


def test_two_people_keep_their_identity_while_they_move(tracker):
    for step in range(10):
        assert look(tracker, 0.2 * step, face(50 + 5 * step), face(150 - 4 * step)) == [1, 2]


def test_two_people_side_by_side_are_not_exchanged_when_a_greedy_choice_would(tracker):
    look(tracker, 0.0, face(100, side=20), face(112, side=20))
    look(tracker, 0.2, face(110, side=20), face(122, side=20))  # the first now stands almost where the second stood
    assert [t.last.face.box[0] for t in sorted(tracker.active, key=lambda t: t.id)] == [100, 112]


def test_a_short_gap_is_bridged_and_a_long_one_is_not(tracker):
    look(tracker, 0.0, face(50))
    look(tracker, 0.2)
    look(tracker, 0.4, face(54))
    assert tracker.active[0].bridge.frame == 1 and tracker.active[0].last.frame == 11
    look(tracker, 0.6)
    look(tracker, 0.8)
    look(tracker, 1.0)
    assert tracker.active == []
    assert look(tracker, 1.2, face(56)) == [1], "the same person, back at the same place"
    assert tracker.active[0].bridge is None, "but nothing is made up for the time between"


@pytest.mark.parametrize(("back", "bridged"), [(0.48, True), (0.52, False)])
def test_a_gap_that_is_found_to_be_too_long_when_it_ends_is_not_bridged(tracker, back, bridged):
    look(tracker, 0.0, face(50))
    look(tracker, 0.2)
    look(tracker, 0.4)
    assert look(tracker, back, face(50)) == [1]
    assert (tracker.active[0].bridge is not None) == bridged


def test_at_few_frames_a_second_nobody_is_lost_between_two_of_them(tracker):
    assert [look(tracker, time, face(50)) for time in (0.0, 1.0, 2.0)] == [[1]] * 3
    assert tracker.active[0].bridge.frame == 26


def test_who_comes_back_elsewhere_much_later_or_of_another_size_is_somebody_else(tracker):
    look(tracker, 0.0, face(50))
    look(tracker, 1.0)
    assert look(tracker, 1.2, face(120)) == [2]
    look(tracker, 2.4)
    assert look(tracker, 2.6, face(50, side=60)) == [3]
    look(tracker, 12.0)
    assert look(tracker, 12.2, face(50)) == [4]


def test_nobody_goes_on_across_a_cut(tracker):
    assert look(tracker, 0.0, face(50)) == [1]
    tracker.cut()
    assert look(tracker, 0.04, face(50)) == [2]
    assert tracker.active[0].bridge is None and tracker.active[0].shot == 1


def test_a_weak_face_goes_on_but_does_not_begin(tracker):
    assert look(tracker, 0.0, face(50, score=0.5)) == []
    assert look(tracker, 0.2, face(50, score=0.7)) == [1]
    assert look(tracker, 0.4, face(50, score=0.4)) == [1]
    look(tracker, 1.0)
    look(tracker, 1.2)
    assert look(tracker, 1.4, face(50, score=0.4)) == [], "once lost, it must be strong again"


def test_what_was_found_too_rarely_is_not_believed_unless_there_was_no_second_look(tracker):
    look(tracker, 0.0, face(50), face(150))
    look(tracker, 0.2, face(50))
    look(tracker, 0.4, face(50))
    tracker.cut()
    look(tracker, 0.44, face(90))
    tracker.cut()
    assert tracker.rejected() == {2}


def test_of_a_crowd_the_largest_are_followed_and_a_larger_one_takes_the_place_of_the_smallest(tracker):
    crowd = [face(20 + 40 * k, side=10 + k) for k in range(6)]
    look(tracker, 0.0, *crowd)
    assert sorted(t.last.face.box[2] - t.last.face.box[0] for t in tracker.active) == [13, 14, 15]
    look(tracker, 0.2, *crowd[3:], face(400, side=80))
    assert sorted(t.last.face.box[2] - t.last.face.box[0] for t in tracker.active) == [14, 15, 80]


@pytest.mark.parametrize("wrong", [{"follow_every": 0}, {"follow_every": 0.6}, {"max_gap": 0.1}, {"min_hits": 0}, {"seek_every": 0}])
def test_schedules_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ConfigError, match="tracks"):
        TrackConfig(**wrong)
