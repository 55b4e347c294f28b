"""Official crops of Aff-Wild2: a row for every frame of the video, from files that exist for some of them."""

import cv2
import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.faces.config import ChipConfig, DetectorConfig, FacesConfig
from abaw_ray.faces.detection.still_detector import StillDetector
from abaw_ray.faces.isolated import IsolatedFaceWriter
from abaw_ray.faces.official_crops import OfficialCrops
from abaw_ray.media.write import write_video

TIMES = np.array([0.0, 0.04, 0.1, 0.13, 0.2, 0.26])
CONFIG = FacesConfig(detector=DetectorConfig(kind="haar"), chips=ChipConfig(scales=(1.0, 1.2), size=56))


@pytest.fixture
def video(tmp_path):
    """A video of two subjects: the left one has crops of the frames 2, 3 and 6 and of one that the video does not have, the right one has none."""
    write_video(tmp_path / "7.mp4", [np.full((64, 96, 3), 90, np.uint8)] * len(TIMES), TIMES, None, preset="ultrafast")
    folder = tmp_path / "cropped_aligned/7_left"
    folder.mkdir(parents=True)
    for number in (2, 3, 6, 7):
        write_crop(folder / f"{number:05d}.jpg", square=number != 3)
    (folder / "notes.txt").write_text("not a crop")
    subjects = [{"track": "7_left", "side": "left"}, {"track": "7_right", "side": "right"}]
    return {"video": "7", "uri": str(tmp_path / "7.mp4"), "subjects": subjects, "crops": {"7_left": str(folder), "7_right": ""}}


def write_crop(path, *, square):
    image = np.full((112, 112, 3), 110, np.uint8)
    if square:
        image[26:96, 16:86] = (30, 10, 220)  # BGR: red
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])


@pytest.fixture
def rows(detector):
    """A function that reads the crops of a video: rows by subject and frame, and the notes."""

    def run(video, config=CONFIG):
        notes: dict[str, int] = {}
        tables = list(OfficialCrops(config, StillDetector(detector, config.detector))(video, notes))
        table = pa.concat_tables(tables)
        assert table.schema == schema.FACE
        return {(row["track"], row["frame"]): row for row in table.to_pylist()}, notes

    return run


def test_every_frame_of_every_subject_has_a_row_at_the_time_of_the_video(rows, video):
    found, notes = rows(video)
    assert list(found) == [(track, frame) for track in ("7_left", "7_right") for frame in range(1, 7)]
    np.testing.assert_allclose([row["time"] for row in found.values()], [*TIMES, *TIMES], atol=1e-4)
    assert [key for key, row in found.items() if row["seen"]] == [("7_left", 2), ("7_left", 3), ("7_left", 6)]
    assert notes == {"crops": 3, "crops_without_face": 1, "crops_past_end": 1}


def test_a_cut_of_the_video_begins_a_shot_in_the_rows_of_every_subject(rows, video, tmp_path):
    rng = np.random.default_rng(0)
    scenes = [cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (96, 64), interpolation=cv2.INTER_LINEAR) for _ in range(2)]
    write_video(tmp_path / "cut.mp4", [scenes[0]] * 4 + [scenes[1]] * 2, TIMES, None, preset="ultrafast")
    found, _ = rows(video | {"uri": str(tmp_path / "cut.mp4")})
    assert [row["shot"] for row in found.values()] == [0, 0, 0, 0, 1, 1] * 2
    assert {row["shot"] for row in rows(video)[0].values()} == {0}


def test_the_chip_is_cut_around_the_detected_face_and_black_outside_of_the_crop(rows, video):
    row = rows(video)[0]["7_left", 2]
    assert row["source"] == "detected" and row["score"] > 0.5
    np.testing.assert_allclose(row["box"], [16, 26, 86, 96], atol=3)
    chip = decode_jpeg(row["chip"])
    assert abs(len(chip) / row["chip_scale"] - 84) <= 4 and row["inside"] == 1.0
    red, margin = (chip[..., 0] > 150) & (chip[..., 2] < 90), len(chip) // 6
    assert red[margin:-margin, margin:-margin].all() and not red[:3].any()
    wide = rows(video, FacesConfig(detector=CONFIG.detector, chips=ChipConfig(scales=(1.0, 2.0), size=56)))[0]["7_left", 2]
    black = decode_jpeg(wide["chip"])[len(decode_jpeg(wide["chip"])) // 2, :4]
    assert 0.4 < wide["inside"] < 0.9 and black.max() < 20


def test_a_crop_without_a_detected_face_has_the_assumed_box(rows, video):
    row = rows(video)[0]["7_left", 3]
    assert (row["source"], row["score"], row["landmarks"]) == ("given", None, None)
    np.testing.assert_allclose(row["box"], [11.2, 11.2, 100.8, 100.8])
    tight = rows(video, FacesConfig(detector=CONFIG.detector, crop_scale=1.0, chips=CONFIG.chips))[0]["7_left", 3]
    np.testing.assert_allclose(tight["box"], [0, 0, 112, 112])


def test_a_damaged_crop_is_not_seen_and_is_named_after_all_rows(detector, video):
    path = f"{video['crops']['7_left']}/00002.jpg"
    with open(path, "wb") as file:
        file.write(b"no image")
    tables: list[pa.Table] = []
    read = OfficialCrops(CONFIG, StillDetector(detector, CONFIG.detector))(video, {})
    with pytest.raises(ItemError, match=rf"1 crops cannot be decoded, first {path}; their frames are not seen"):
        tables.extend(read)  # keeps what was read before the error
    assert pa.concat_tables(tables)["seen"].to_pylist() == [False, False, True, False, False, True, *[False] * 6]


def test_a_video_that_breaks_off_has_the_rows_of_its_good_frames(rows, video, tmp_path):
    missing = video | {"uri": str(tmp_path / "none.mp4")}
    with pytest.raises(MissingError):
        rows(missing)
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(ItemError):
        rows(video | {"uri": str(tmp_path / "text.mp4")})


def test_the_rows_are_written_by_a_child_process(video, tmp_path):
    writer = IsolatedFaceWriter(CONFIG, ChildLimits())
    try:
        result = writer.write_crops(video, tmp_path / "rows.parquet")
    finally:
        writer.close()
    assert (result.rows, result.faces, result.frames, result.error) == (12, 3, 6, None)
    assert result.notes["crops"] == 3 and result.notes["crops_past_end"] == 1


def test_an_impossible_scale_is_refused():
    with pytest.raises(ConfigError, match="crop_scale=0 must be above 0"):
        FacesConfig(crop_scale=0)
