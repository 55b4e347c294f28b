"""FACE tables of a video: one row per frame with its time, chips that equal crops of the frames, and errors of damaged or missing files."""

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest
from face_rows import has_every_frame

from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, DataError, ItemError
from abaw_ray.faces.chips import crop_chip, crop_scale, decode_jpeg
from abaw_ray.faces.config import ChipConfig, DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.detection.detect import Face
from abaw_ray.media.square_crop import square_around
from abaw_ray.media.video import decode
from abaw_ray.media.write import write_video

HAAR = DetectorConfig(kind="haar", width=192)


def test_tables_have_the_face_schema_and_a_row_for_every_frame(crop, render, tmp_path, detector):
    tracks = crop([render((90, 70, 30))] * 300)
    assert list(tracks) == [schema.MAIN_TRACK] and has_every_frame(tracks["main"], 300)
    assert all(row["seen"] for row in tracks["main"])
    table = next(CropFaces(FacesConfig(detector=HAAR), detector)({"video": "v", "uri": str(tmp_path / "v.mp4"), "subjects": []}))
    assert table.schema == schema.FACE and len(table) <= 256


def test_times_are_those_of_the_frames_at_a_variable_rate(crop, render, tmp_path):
    times = np.cumsum(np.random.default_rng(0).uniform(1 / 60, 1 / 6, 60))
    rows = crop([render((90, 70, 30))] * 60, times)["main"]
    np.testing.assert_allclose([row["time"] for row in rows], times, atol=1e-4)
    assert [row["time"] for row in rows] == [frame.time for frame in decode(str(tmp_path / "v.mp4"))]


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
            assert error < 4, f"frame {row['frame']}, scale {scale}: mean error {error:.1f} gray levels"


def test_a_chip_is_cropped_from_the_box_as_the_table_stores_it(tmp_path, render):
    fine = np.array([20.0, 30.0, 60.0, 70.5 + 1e-9])  # float32 stores 70.5, and half a pixel is rounded to even
    config = FacesConfig(detector=HAAR, chips=ChipConfig(scales=(1.0,)))
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


def test_chips_are_in_rgb_order(crop, render):
    chip = decode_jpeg(crop([render((90, 70, 40))] * 5)["main"][0]["chip"])
    middle = chip[len(chip) // 2 - 4 : len(chip) // 2 + 4, len(chip) // 2 - 4 : len(chip) // 2 + 4].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, [220, 10, 30], atol=15)


def test_a_video_without_a_face_has_one_row_per_frame(crop, render):
    tracks = crop([render()] * 300)
    assert list(tracks) == ["main"] and has_every_frame(tracks["main"], 300)
    assert not any(row["seen"] for row in tracks["main"])


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
    assert error is not None and error.last_frame == len(rows) == 40 and has_every_frame(rows, 40)
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
