import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.config import TrackConfig
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.tracking.tracker import Observation, Tracker, Tracklet


def face(x, y=50, side=20, score=0.9, brightness=None):
    return Face(np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dtype=float), score, brightness=brightness)


def detect(tracker, time, *faces, same_person=None):
    """One detection at 25 frames per second; returns the ids of the tracklets updated, from left to right."""
    updated = tracker.update(1 + round(time * 25), time, list(faces), same_person)
    return [tracklet.id for tracklet in sorted(updated, key=lambda tracklet: tracklet.last.face.box[0])]


@pytest.fixture
def tracker():
    return Tracker(TrackConfig(max_gap_s=0.5, reid_timeout_s=5.0, max_people=3, min_hits=2), min_score=0.6)


def test_two_moving_people_keep_their_ids(tracker):
    for step in range(10):
        assert detect(tracker, 0.2 * step, face(50 + 5 * step), face(150 - 4 * step)) == [1, 2]


def test_two_people_side_by_side_are_not_swapped_where_greedy_matching_would(tracker):
    detect(tracker, 0.0, face(100, side=20), face(112, side=20))
    detect(tracker, 0.2, face(110, side=20), face(122, side=20))  # the first is now almost at the position of the second
    assert [t.last.face.box[0] for t in sorted(tracker.active, key=lambda t: t.id)] == [100, 112]


def test_a_short_gap_is_interpolated_and_a_long_one_is_not(tracker):
    detect(tracker, 0.0, face(50))
    detect(tracker, 0.2)
    detect(tracker, 0.4, face(54))
    assert tracker.active[0].interpolate_from.frame == 1 and tracker.active[0].last.frame == 11
    detect(tracker, 0.6)
    detect(tracker, 0.8)
    detect(tracker, 1.0)
    assert tracker.active == []
    assert detect(tracker, 1.2, face(56)) == [1], "the same person, re-identified at the same place"
    assert tracker.active[0].interpolate_from is None, "but the gap is not interpolated"


@pytest.mark.parametrize(("back", "interpolated"), [(0.48, True), (0.52, False)])
def test_a_gap_that_proves_too_long_when_it_ends_is_not_interpolated(tracker, back, interpolated):
    detect(tracker, 0.0, face(50))
    detect(tracker, 0.2)
    detect(tracker, 0.4)
    assert detect(tracker, back, face(50)) == [1]
    assert (tracker.active[0].interpolate_from is not None) == interpolated


def test_at_a_low_frame_rate_no_person_is_lost_between_successive_frames(tracker):
    assert [detect(tracker, time, face(50)) for time in (0.0, 1.0, 2.0)] == [[1]] * 3
    assert tracker.active[0].interpolate_from.frame == 26


def test_a_face_elsewhere_much_later_or_of_another_size_is_a_new_person(tracker):
    detect(tracker, 0.0, face(50))
    detect(tracker, 1.0)
    assert detect(tracker, 1.2, face(120)) == [2]
    detect(tracker, 2.4)
    assert detect(tracker, 2.6, face(50, side=60)) == [3]
    detect(tracker, 12.0)
    assert detect(tracker, 12.2, face(50)) == [4]


@pytest.mark.parametrize(("verdict", "ids"), [(True, [1]), (False, [2]), (None, [1])])
def test_a_lost_person_is_resumed_if_the_embedding_agrees_and_without_one_by_place(tracker, verdict, ids):
    detect(tracker, 0.0, face(50))
    detect(tracker, 1.0)
    assert detect(tracker, 1.2, face(54), same_person=lambda tracklet, face: verdict) == ids


def test_a_face_that_may_be_one_of_two_people_resumes_neither_without_an_embedding(tracker):
    for others in ([face(50), face(62)], [face(50)]):
        tracker.end_shot()
        first = tracker.last_id + 1
        detect(tracker, 0.0, *others)
        detect(tracker, 1.0)
        found = [face(55)] if len(others) == 2 else [face(52), face(200)]
        assert min(detect(tracker, 1.2, *found)) >= first + len(others), "two lost people for one face, or two faces for one lost person"


def test_the_embedding_decides_between_two_lost_people(tracker):
    detect(tracker, 0.0, face(50), face(62))
    detect(tracker, 1.0)
    assert detect(tracker, 1.2, face(52), face(60), same_person=lambda tracklet, face: (tracklet == 1) == (face.box[0] > 45)) == [2, 1]


def test_a_lit_face_that_leaves_is_not_continued_by_a_dark_one_behind(tracker):
    assert detect(tracker, 0.0, face(50, brightness=110.0)) == [1]
    assert detect(tracker, 0.2, face(54, brightness=80.0)) == [1]
    assert detect(tracker, 0.4, face(56, brightness=20.0)) == [2]


def test_a_face_of_a_low_score_must_overlap_more(tracker):
    detect(tracker, 0.0, face(50))
    assert detect(tracker, 0.2, face(62, score=0.5)) == []
    assert detect(tracker, 0.4, face(58, score=0.5)) == [1]


def test_a_tracklet_that_has_just_been_extended_continues_with_the_one_that_started_in_this_frame(tracker):
    detect(tracker, 0.0, face(50))
    assert detect(tracker, 0.2, face(90)) == [2], "too far from the last detection"
    first, second = tracker.active
    assert tracker.continue_with_new(first) is None
    first.add(Observation(3, 0.1, face(82)), interpolate=True, hit=False)
    assert tracker.continue_with_new(first) is second and tracker.active == [first] and first.last.frame == 6


def test_between_two_observations_a_box_is_interpolated():
    tracklet = Tracklet(1, 0, Observation(1, 1.0, face(50)))
    tracklet.add(Observation(5, 2.0, face(90)), interpolate=True)
    assert [tracklet.box_at(time)[0] for time in (0.5, 1.0, 1.5, 2.0, 3.0)] == [80, 40, 60, 80, 80]


def test_no_tracklet_continues_across_a_cut(tracker):
    assert detect(tracker, 0.0, face(50)) == [1]
    tracker.end_shot()
    assert detect(tracker, 0.04, face(50)) == [2]
    assert tracker.active[0].interpolate_from is None and tracker.active[0].shot == 1


def test_a_low_score_continues_a_tracklet_but_does_not_start_one(tracker):
    assert detect(tracker, 0.0, face(50, score=0.5)) == []
    assert detect(tracker, 0.2, face(50, score=0.7)) == [1]
    assert detect(tracker, 0.4, face(50, score=0.4)) == [1]
    detect(tracker, 1.0)
    detect(tracker, 1.2)
    assert detect(tracker, 1.4, face(50, score=0.4)) == [], "a lost tracklet needs the higher score again"


def test_a_tracklet_with_too_few_hits_is_rejected_unless_the_shot_had_no_second_detection(tracker):
    detect(tracker, 0.0, face(50), face(150))
    detect(tracker, 0.2, face(50))
    detect(tracker, 0.4, face(50))
    tracker.end_shot()
    detect(tracker, 0.44, face(90))
    tracker.end_shot()
    assert tracker.rejected == {2}


def test_in_a_crowd_the_largest_are_tracked_and_a_larger_face_replaces_the_smallest(tracker):
    crowd = [face(20 + 40 * k, side=10 + k) for k in range(6)]
    detect(tracker, 0.0, *crowd)
    assert sorted(t.last.face.box[2] - t.last.face.box[0] for t in tracker.active) == [13, 14, 15]
    detect(tracker, 0.2, *crowd[3:], face(400, side=80))
    assert sorted(t.last.face.box[2] - t.last.face.box[0] for t in tracker.active) == [14, 15, 80]


@pytest.mark.parametrize(
    "wrong", [{"follow_interval_s": 0}, {"follow_interval_s": 0.6}, {"max_gap_s": 0.1}, {"min_hits": 0}, {"lost_search_interval_s": 0}]
)
def test_contradictory_intervals_are_refused(wrong):
    with pytest.raises(ConfigError, match="tracks"):
        TrackConfig(**wrong)
