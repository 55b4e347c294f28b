import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, DataError, ItemError
from abaw_ray.faces.boxes import iou
from abaw_ray.faces.chips import crop_chip, crop_scale, decode_jpeg
from abaw_ray.faces.config import ChipConfig, DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.detection.detect import Face
from abaw_ray.media.square_crop import square_around
from abaw_ray.media.video import decode
from abaw_ray.media.write import write_video

HAAR = DetectorConfig(kind="haar", width=192)


def box_of(x, y, side):
    return np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]])


def all_frames(rows, count):
    """Whether there is one row for each of 1..count, ascending in time."""
    return [row["frame"] for row in rows] == list(range(1, count + 1)) and (np.diff([row["time"] for row in rows]) > 0).all()


def test_the_tables_are_face_tables_and_no_frame_is_dropped(crop, render, tmp_path, detector):
    tracks = crop([render((90, 70, 30))] * 300)
    assert list(tracks) == [schema.MAIN_TRACK] and all_frames(tracks["main"], 300)
    assert all(row["seen"] for row in tracks["main"])
    table = next(CropFaces(FacesConfig(detector=HAAR), detector)({"video": "v", "uri": str(tmp_path / "v.mp4"), "subjects": []}))
    assert table.schema == schema.FACE and len(table) <= 256


def test_times_are_those_of_the_frames_at_a_variable_rate(crop, render, tmp_path):
    times = np.cumsum(np.random.default_rng(0).uniform(1 / 60, 1 / 6, 60))
    rows = crop([render((90, 70, 30))] * 60, times)["main"]
    np.testing.assert_allclose([row["time"] for row in rows], times, atol=1e-4)
    assert [row["time"] for row in rows] == [frame.time for frame in decode(str(tmp_path / "v.mp4"))]


def test_a_moving_face_has_a_box_in_every_frame_also_between_two_detections(crop, render):
    path = [(40 + 1.2 * k, 60 + 10 * np.sin(k / 12), 30 + 0.1 * k) for k in range(80)]
    rows = crop([render(position) for position in path])["main"]
    overlaps = [iou(np.array([row["box"]]), box_of(*position))[0, 0] for row, position in zip(rows, path, strict=True)]
    assert min(overlaps) > 0.8
    sources = {row["source"] for row in rows}
    assert sources == {"detected", "followed", "interpolated"}
    assert all((row["score"] is None) == (row["source"] == "interpolated") for row in rows)
    assert rows[-1]["source"] == "followed", "the last frame goes through the detector, nothing is extrapolated"


def test_a_chip_equals_a_direct_crop_of_its_frame_at_each_scale(crop, render, tmp_path):
    rows = crop([cv2.GaussianBlur(render((10 + 3 * k, 70, 48)), (0, 0), 3) for k in range(50)])["main"]
    config = ChipConfig()
    for row, frame in list(zip(rows, decode(str(tmp_path / "v.mp4")), strict=True))[::7]:
        chip, box = decode_jpeg(row["chip"]), np.array(row["box"], dtype=float)
        whole = crop_chip(frame.rgb(), box, config)
        assert (row["chip_scale"], row["inside"]) == pytest.approx((whole.scale, whole.inside))
        for scale in config.scales:
            one = ChipConfig(scales=(scale,))
            direct = crop_scale(crop_chip(frame.rgb(), box, one).image, scale, one)
            error = np.abs(crop_scale(chip, scale, config).astype(int) - direct).mean()
            assert error < 4, f"frame {row['frame']}, scale {scale}: mean error {error:.1f} grey levels"


def test_a_chip_is_cropped_from_the_box_as_the_table_stores_it(tmp_path, render):
    fine = np.array([20.0, 30.0, 60.0, 70.5 + 1e-9])  # float32 stores 70.5, and half a pixel is rounded to even
    config = FacesConfig(detector=DetectorConfig(kind="haar", width=192), chips=ChipConfig(scales=(1.0,)))
    assert square_around(fine, 1.0) != square_around(fine.astype(np.float32), 1.0)
    write_video(tmp_path / "v.mp4", [render()] * 5, np.arange(5) / 25, None)
    tables = CropFaces(config, lambda rgb, min_size: [Face(fine, 0.9)])({"video": "v", "uri": str(tmp_path / "v.mp4"), "subjects": []})
    rows = pa.concat_tables(tables)
    for row, frame in zip(rows.to_pylist(), decode(str(tmp_path / "v.mp4")), strict=True):
        again = crop_chip(frame, np.array(row["box"]), config.chips)
        assert decode_jpeg(row["chip"]).shape == again.image.shape and row["chip_scale"] == pytest.approx(again.scale)
        assert np.abs(decode_jpeg(row["chip"]).astype(int) - again.image).mean() < 2


def test_a_face_at_the_edge_is_padded_with_black_and_inside_is_its_share(crop, render):
    row = crop([render((2, 70, 40))] * 10)["main"][0]
    chip = decode_jpeg(row["chip"]).astype(int)
    outside = round(chip.shape[1] * (1 - row["inside"]))
    assert 0.4 < row["inside"] < 0.8
    assert chip[:, : outside - 8].max() < 30 < chip[:, outside + 8 :].mean()


def test_chips_are_rgb(crop, render):
    chip = decode_jpeg(crop([render((90, 70, 40))] * 5)["main"][0]["chip"])
    middle = chip[len(chip) // 2 - 4 : len(chip) // 2 + 4, len(chip) // 2 - 4 : len(chip) // 2 + 4].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, [220, 10, 30], atol=15)


def test_a_short_gap_is_interpolated_and_a_long_one_is_not_seen(crop, render):
    def seen(k):
        return not 40 <= k < 47 and not 80 <= k < 120  # absent for 0.28 s, then for 1.6 s

    rows = crop([render((60 + 0.3 * k, 70, 30)) if seen(k) else render() for k in range(160)])["main"]
    assert all_frames(rows, 160)
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
    assert all_frames(rows, 100)
    assert not any(row["seen"] for row in rows[:30] + rows[70:])
    assert all(row["seen"] for row in rows[30:70]), "detected by a search half a second later, and tracked back to the first frame"


@pytest.mark.parametrize("first", [27, 31, 38, 44, 50, 51])
@pytest.mark.parametrize("with_other", [False, True])
def test_a_newcomer_has_rows_from_the_first_frame_on_also_while_moving(crop, render, first, with_other):
    def image(k):
        known = [(40, 100, 40)] if with_other else []
        return render(*known, *([(110 + 0.7 * (k - first), 40, 24)] if k >= first else []))

    tracks = crop([image(k) for k in range(90)])
    rows = {row["frame"]: row for row in tracks["person-2" if with_other else "main"] if row["seen"]}
    assert list(rows) == list(range(first + 1, 91))
    for frame, row in rows.items():
        assert iou(np.array([row["box"]]), box_of(110 + 0.7 * (frame - 1 - first), 40, 24))[0, 0] > 0.7
    assert not with_other or all(row["seen"] for row in tracks["main"])


def test_a_newcomer_at_the_end_of_a_shot_is_not_missed(crop, render):
    first = [render((45, 70, 30), *([(150, 70, 24)] if k >= 55 else [])) for k in range(85)]  # a search at 2 s, none up to the end at 3.36 s
    tracks = crop(first + [render((75, 75, 30), room=(200, 190, 120))] * 40)
    assert [row["frame"] for rows in tracks.values() for row in rows if row["seen"] and row["box"][0] > 130] == list(range(56, 86))


def test_frames_too_large_for_the_buffer_are_searched_sooner(crop, render, monkeypatch):
    monkeypatch.setattr("abaw_ray.faces.tracking.segment_tracker._MB", 26_000)  # half of 64 of them hold twenty of these small frames: 0.8 s
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


def test_a_video_without_a_face_has_one_row_per_frame(crop, render):
    tracks = crop([render()] * 300)
    assert list(tracks) == ["main"] and all_frames(tracks["main"], 300)
    assert not any(row["seen"] for row in tracks["main"])


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
    assert all(all_frames(rows, 100) for rows in tracks.values())
    assert all(row["seen"] and row["box"][2] < 80 for row in tracks["12-30"])
    right = [row["seen"] for row in tracks["12-30_right"]]
    assert all(right[:50]) and not any(right[50:]), "gone for good, and seen up to the last frame"


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
    assert all_frames(rows, 100) and all(row["seen"] for row in rows)


def test_a_low_score_continues_a_track_but_a_brief_face_is_rejected(crop, render):
    uncertain = [render((60, 70, 30, 0.05 if k < 25 else 0.5)) for k in range(75)]
    assert all(row["seen"] for row in crop(uncertain)["main"])
    weak = [render((60, 70, 30, 0.5))] * 50
    assert not any(row["seen"] for row in crop(weak, name="weak.mp4")["main"])
    for length in (1, 4):
        brief = [render((60, 70, 30)) if k < length else render() for k in range(75)]
        assert not any(row["seen"] for row in crop(brief, name=f"brief-{length}.mp4")["main"])


def test_a_small_buffer_loses_interpolated_gaps_but_no_frame(crop, render, monkeypatch):
    monkeypatch.setattr("abaw_ray.faces.tracking.segment_tracker._MB", 3000)  # 64 of them hold five of these small frames
    config = FacesConfig(detector=HAAR, buffer_mb=64)
    rows = crop([render((60, 70, 30)) if not 40 <= k < 47 else render() for k in range(80)], config=config)["main"]
    assert all_frames(rows, 80)
    assert sum(row["seen"] for row in rows) >= 60


def test_a_damaged_file_gives_the_rows_of_its_good_frames_and_then_an_error(tmp_path, render, detector):
    path = tmp_path / "v.mkv"
    write_video(path, [render((60 + k, 70, 30)) for k in range(60)], np.arange(60) / 25, None, preset="ultrafast")
    with av.open(str(path)) as container:
        broken = bytes([packet for packet in container.demux(video=0) if packet.size][40])
    data = path.read_bytes()
    path.write_bytes(data.replace(broken, b"\xff" * len(broken)))
    tables, error = [], None
    try:
        for table in CropFaces(FacesConfig(detector=HAAR), detector)({"video": "v", "uri": str(path), "subjects": []}):
            tables.append(table)
    except ItemError as caught:
        error = caught
    rows = pa.concat_tables(tables).to_pylist()
    assert error is not None and error.last_frame == len(rows) == 40 and all_frames(rows, 40)
    assert all(row["seen"] for row in rows)


def test_a_file_that_is_not_a_video_and_a_missing_one_give_different_errors(tmp_path, detector):
    (tmp_path / "text.mp4").write_text("not a video")
    crop = CropFaces(FacesConfig(detector=HAAR), detector)
    with pytest.raises(ItemError, match="not a video"):
        next(crop({"video": "v", "uri": str(tmp_path / "text.mp4"), "subjects": []}))
    with pytest.raises(DataError, match="no such file"):
        next(crop({"video": "v", "uri": str(tmp_path / "nowhere.mp4"), "subjects": []}))


def test_missing_yunet_weights_are_an_error_without_a_fallback():
    with pytest.raises(ConfigError, match="or use --detector haar"):
        CropFaces(FacesConfig(detector=DetectorConfig(weights="/nowhere/yunet.onnx")))
