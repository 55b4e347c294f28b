import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.config import TrackConfig
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.tracking.tracker import Tracker


def face(x, y=50, side=20, score=0.9):
    return Face(np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dtype=float), score)


def detect(tracker, time, *faces):
    """One detection at 25 frames per second; returns the ids of the tracklets updated, from left to right."""
    updated = tracker.update(1 + round(time * 25), time, list(faces))
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
