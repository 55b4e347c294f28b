"""Tracks of a video: boxes between detections, gaps, newcomers, cuts, and the people that the tracks are assigned to."""

import numpy as np
import pytest
from face_rows import has_every_frame

from abaw_ray.faces.boxes import iou
from abaw_ray.faces.config import DetectorConfig, FacesConfig

HAAR = DetectorConfig(kind="haar", width=192)


def box_of(x, y, side):
    return np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]])


def test_a_moving_face_has_a_box_in_every_frame_also_between_detections(crop, render):
    path = [(40 + 1.2 * k, 60 + 10 * np.sin(k / 12), 30 + 0.1 * k) for k in range(80)]
    rows = crop([render(position) for position in path])["main"]
    overlaps = [iou(np.array([row["box"]]), box_of(*position))[0, 0] for row, position in zip(rows, path, strict=True)]
    assert min(overlaps) > 0.8
    sources = {row["source"] for row in rows}
    assert sources == {"detected", "followed", "interpolated"}
    assert all((row["score"] is None) == (row["source"] == "interpolated") for row in rows)
    assert rows[-1]["source"] == "followed", "the last frame passes through the detector, so that nothing is extrapolated"


def test_a_short_gap_is_interpolated_and_a_long_one_is_not(crop, render):
    def seen(k):
        return not 40 <= k < 47 and not 80 <= k < 120  # absent for 0.28 s, then for 1.6 s

    rows = crop([render((60 + 0.3 * k, 70, 30)) if seen(k) else render() for k in range(160)])["main"]
    assert has_every_frame(rows, 160)
    assert all(row["seen"] and row["source"] == "interpolated" for row in rows[40:47])
    assert not any(row["seen"] for row in rows[80:120])
    assert not any(row["chip"] or row["box"] for row in rows[80:120]), "a missing face is not a black chip"
    assert all(row["seen"] for row in rows[:80]) and all(row["seen"] for row in rows[120:]), (
        "seen up to the last frame before the gap and from the first one after it"
    )


@pytest.mark.parametrize("absent", [10, 12, 13, 14, 15, 16, 17, 20])
@pytest.mark.parametrize("first", [38, 41, 43])
def test_gaps_up_to_the_maximum_length_are_interpolated_and_longer_ones_are_not(crop, render, first, absent):
    rows = crop([render() if first <= k < first + absent else render((60, 70, 30)) for k in range(90)])["main"]
    gap = rows[first : first + absent]
    interpolated = (absent + 1) / 25 <= 0.5  # from the last observation to the next
    assert all(row["seen"] == interpolated for row in gap)
    assert all(row["seen"] for row in rows[:first] + rows[first + absent :])


def test_frames_without_a_face_at_the_start_and_the_end_have_rows(crop, render):
    rows = crop([render()] * 30 + [render((90, 70, 30))] * 40 + [render()] * 30)["main"]
    assert has_every_frame(rows, 100)
    assert not any(row["seen"] for row in rows[:30] + rows[70:])
    assert all(row["seen"] for row in rows[30:70]), "detected by a search half a second later, and tracked back to the first frame"


@pytest.mark.parametrize("first", [27, 31, 38, 44, 50, 51])
@pytest.mark.parametrize("with_other", [False, True])
def test_a_moving_newcomer_has_rows_from_its_first_frame_on(crop, render, first, with_other):
    def image(k):
        known = [(40, 100, 40)] if with_other else []
        return render(*known, *([(110 + 0.7 * (k - first), 40, 24)] if k >= first else []))

    tracks = crop([image(k) for k in range(90)])
    rows = {row["frame"]: row for row in tracks["person-2" if with_other else "main"] if row["seen"]}
    assert list(rows) == list(range(first + 1, 91))
    for frame, row in rows.items():
        assert iou(np.array([row["box"]]), box_of(110 + 0.7 * (frame - 1 - first), 40, 24))[0, 0] > 0.7
    assert not with_other or all(row["seen"] for row in tracks["main"])


def test_a_newcomer_shortly_before_the_end_of_a_shot_is_tracked(crop, render):
    first = [render((45, 70, 30), *([(150, 70, 24)] if k >= 55 else [])) for k in range(85)]  # a search at 2 s, none up to the end at 3.36 s
    tracks = crop(first + [render((75, 75, 30), room=(200, 190, 120))] * 40)
    assert [row["frame"] for rows in tracks.values() for row in rows if row["seen"] and row["box"][0] > 130] == list(range(56, 86))


def test_frames_too_large_for_the_buffer_are_searched_sooner(crop, render, monkeypatch):
    monkeypatch.setattr("abaw_ray.faces.tracking.segment_tracker._MB", 26_000)  # half of 64 such units hold twenty of these small frames: 0.8 s
    config = FacesConfig(detector=HAAR, buffer_mb=64)
    tracks = crop([render((45, 70, 30), *([(150, 70, 24)] if k >= 56 else [])) for k in range(99)], config=config)
    assert [row["frame"] for row in tracks["person-2"]] == list(range(57, 100))


def test_a_sudden_motion_after_a_static_phase_is_tracked(crop, render):
    def height(k):
        return 90 - 26 * float(np.clip((k - 62) / 5, 0, 1))  # in a fifth of a second, between two detections

    rows = crop([render((90, height(k), 40)) for k in range(100)])["main"]
    overlaps = [iou(np.array([row["box"]]), box_of(90, height(k), 40))[0, 0] for k, row in enumerate(rows)]
    assert all(row["seen"] for row in rows) and min(overlaps) > 0.6
    detected = [row["frame"] for row in rows if row["source"] != "interpolated"]
    assert np.diff([frame for frame in detected if frame < 60]).max() >= 9, "a detection every 0.4 s while the face is static"
    assert any(62 < frame < 71 for frame in detected), "and one halfway, once a detection shows motion"


def test_two_people_have_separate_rows_and_the_larger_is_the_main_subject(crop, render):
    frames = 75
    tracks = crop([render((40 + 0.3 * k, 70, 24), (150 - 0.3 * k, 70, 36)) for k in range(frames)])
    assert list(tracks) == ["main", "person-2"]
    for k, (large, small) in enumerate(zip(tracks["main"], tracks["person-2"], strict=True)):
        assert iou(np.array([large["box"]]), box_of(150 - 0.3 * k, 70, 36))[0, 0] > 0.7
        assert iou(np.array([small["box"]]), box_of(40 + 0.3 * k, 70, 24))[0, 0] > 0.7


def test_subjects_of_a_data_set_are_named_by_their_side_and_have_a_row_for_every_frame(crop, render):
    def image(k):
        return render((45, 70, 24), (140, 70, 36)) if k < 50 else render((45, 70, 24))

    subjects = [{"track": "12-30_right", "side": "right"}, {"track": "12-30", "side": ""}]
    tracks = crop([image(k) for k in range(100)], subjects=subjects)
    assert list(tracks) == ["12-30_right", "12-30"]
    assert all(has_every_frame(rows, 100) for rows in tracks.values())
    assert all(row["seen"] and row["box"][2] < 80 for row in tracks["12-30"])
    right = [row["seen"] for row in tracks["12-30_right"]]
    assert all(right[:50]) and not any(right[50:]), "seen up to the last frame before leaving"


def test_another_person_has_rows_from_the_first_to_the_last_observation_only(crop, render):
    tracks = crop([render((45, 70, 30), *([(150, 70, 24)] if 30 <= k < 70 else [])) for k in range(100)])
    other = [row["frame"] for row in tracks["person-2"]]
    assert len(tracks["main"]) == 100
    assert other == list(range(31, 71))


def test_no_track_continues_across_a_cut_to_another_person(crop, render):
    first = [render((60, 70, 36))] * 47
    second = [render((75, 75, 30), room=(200, 190, 120))] * 53
    tracks = crop(first + second)
    assert [row["frame"] for row in tracks["main"] if row["seen"]] == list(range(1, 48))
    assert [row["frame"] for row in tracks["person-2"]] == list(range(48, 101))
    assert all(row["box"][2] - row["box"][0] == pytest.approx(36, abs=2) for row in tracks["main"] if row["seen"])
    assert tracks["main"][46]["source"] == "followed" and tracks["person-2"][0]["source"] == "detected"


def test_the_single_subject_of_a_data_set_continues_after_a_cut(crop, render):
    images = [render((60, 70, 36))] * 47 + [render((120, 75, 30), room=(200, 190, 120))] * 53
    rows = crop(images, subjects=[{"track": "7", "side": ""}])["7"]
    assert has_every_frame(rows, 100) and all(row["seen"] for row in rows)
    assert [row["shot"] for row in rows] == [0] * 47 + [1] * 53


def test_a_low_score_continues_a_track_but_a_brief_face_is_rejected(crop, render):
    uncertain = [render((60, 70, 30, 0.05 if k < 25 else 0.5)) for k in range(75)]
    assert all(row["seen"] for row in crop(uncertain)["main"])
    weak = [render((60, 70, 30, 0.5))] * 50
    assert not any(row["seen"] for row in crop(weak, name="weak.mp4")["main"])
    for length in (1, 4):
        brief = [render((60, 70, 30)) if k < length else render() for k in range(75)]
        assert not any(row["seen"] for row in crop(brief, name=f"brief-{length}.mp4")["main"])


def test_a_small_buffer_loses_interpolated_gaps_but_no_frame(crop, render, monkeypatch):
    monkeypatch.setattr("abaw_ray.faces.tracking.segment_tracker._MB", 3000)  # 64 such units hold five of these small frames
    config = FacesConfig(detector=HAAR, buffer_mb=64)
    rows = crop([render((60, 70, 30)) if not 40 <= k < 47 else render() for k in range(80)], config=config)["main"]
    assert has_every_frame(rows, 80)
    assert sum(row["seen"] for row in rows) >= 60
