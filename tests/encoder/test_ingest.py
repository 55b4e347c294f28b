import cv2
import numpy as np
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, StorageError
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.stills import StillImage
from abaw_ray.encoder.config import IngestConfig
from abaw_ray.encoder.ingest import NO_DETECTOR, IngestImages, crop_face
from abaw_ray.faces.detection.detect import Face
from abaw_ray.media.square_crop import crop_square

POINTS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.36, 0.75], [0.64, 0.75]])


def finder(*box, calls=None):
    """A detector of still images that finds this box, or nothing."""

    def find(rgb, near):
        if calls is not None:
            calls.append((rgb, near))
        corners = np.array(box, dtype=float)
        return Face(corners, 0.9, corners[:2] + POINTS * (corners[2:] - corners[:2])) if box else None

    return find


def still(path, expression="Anger", box=None, name=None, split="train"):
    return StillImage(name=name or path.name, path=str(path), expression=expression, box=box, split=split, source="synthetic")


def write(path, image, *options):
    assert cv2.imwrite(str(path), image, *options)
    return path


def decoded(row):
    return cv2.imdecode(np.frombuffer(row["jpeg"], np.uint8), cv2.IMREAD_COLOR)


def noise(height, width):
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)  # black is outside only


@pytest.mark.parametrize("box", [(60, 60, 80, 84), (50, 70, 66, 80), (70.4, 61.5, 91.2, 79.9)])
def test_a_face_amid_its_picture_is_stored_at_the_full_scale_with_its_box_and_landmarks(box):
    picture, box = noise(160, 150), np.array(box, dtype=float)
    points = box[:2] + POINTS * (box[2:] - box[:2])
    stored = crop_face(picture, box, points, IngestConfig())
    np.testing.assert_array_equal(stored.image, crop_square(picture, box, 2.0, 448).image)
    longer = max(box[2:] - box[:2])
    assert stored.scale == pytest.approx(2.0, abs=1 / longer) and stored.inside == 1 and stored.no_face is None
    x0, y0, x1, y1 = stored.box
    assert len(stored.image) / max(x1 - x0, y1 - y0) == pytest.approx(stored.scale)
    assert np.allclose([(x0 + x1) / 2, (y0 + y1) / 2], len(stored.image) / 2, atol=0.76)
    nose = np.array(stored.landmarks).reshape(5, 2)[2]
    np.testing.assert_allclose(nose - [x0, y0], points[2] - box[:2])


@pytest.mark.parametrize(("box", "inside"), [((0, 60, 40, 100), 0.75), ((0, 0, 40, 40), 0.5625), ((150, 60, 190, 100), 0.75)])
def test_black_on_one_side_or_in_a_corner_is_kept_because_videos_show_it_too(box, inside):
    stored = crop_face(noise(160, 190), np.array(box, dtype=float), None, IngestConfig())
    assert stored.scale == 2.0 and stored.inside == pytest.approx(inside)
    assert (stored.image == 0).all(axis=2).mean() == pytest.approx(1 - inside)


def test_black_on_opposite_sides_is_kept_as_in_a_close_up():
    stored = crop_face(noise(200, 60), np.array([10.0, 80, 50, 120]), None, IngestConfig())
    assert stored.scale == 2.0 and (stored.image[:, :10] == 0).all() and (stored.image[:, 70:] == 0).all() and stored.image[:, 10:70].all()


@pytest.mark.parametrize(("box", "scale"), [((15, 15, 85, 85), 100 / 70), ((10, 15, 80, 85), 100 / 70), ((15, 10, 85, 90), 100 / 80)])
def test_a_tight_crop_is_stored_to_its_ends_and_never_black_all_around(box, scale):
    stored = crop_face(noise(100, 100), np.array(box, dtype=float), None, IngestConfig())
    assert stored.scale == pytest.approx(scale, abs=0.02)
    assert stored.image.all() and 0.9 < stored.inside <= 1


def test_a_wide_strip_beside_a_tight_crop_is_black_because_its_reflection_would_show_the_face_twice():
    stored = crop_face(noise(100, 80), np.array([0.0, 15, 40, 85]), None, IngestConfig())
    assert (stored.image[:, :20] == 0).all() and stored.inside == pytest.approx(0.7, abs=0.02)


def test_a_square_that_is_too_large_is_downscaled_by_averaging_with_its_box():
    picture = noise(400, 400)
    stored = crop_face(picture, np.array([100.0, 100, 300, 300]), None, IngestConfig(max_side=100))
    np.testing.assert_array_equal(stored.image, cv2.resize(picture, (100, 100), interpolation=cv2.INTER_AREA))
    assert stored.box == [25, 25, 75, 75] and stored.scale == 2


def test_the_detectors_box_defines_the_scale_and_the_data_sets_box_tells_it_where_to_look(tmp_path):
    path, calls = write(tmp_path / "a.png", noise(200, 200)), []
    ingest = IngestImages(IngestConfig(quality=100), finder(80, 80, 120, 130, calls=calls))
    row = ingest([still(path, box=(70, 70, 130, 150))]).table.to_pylist()[0]
    np.testing.assert_array_equal(calls[0][1], [70, 70, 130, 150])
    assert decoded(row).shape == (100, 100, 3) and row["scale"] == 2.0 and row["no_face"] is None
    assert row["box"] == [30, 25, 70, 75] and row["landmarks"][4:6] == pytest.approx([50, 52.5])


def test_the_detector_sees_the_image_in_rgb(tmp_path):
    blue, calls = np.zeros((50, 50, 3), np.uint8), []
    blue[..., 0] = 250  # OpenCV writes blue, green, red
    IngestImages(IngestConfig(), finder(calls=calls))([still(write(tmp_path / "a.png", blue))])
    assert calls[0][0][25, 25].tolist() == [0, 0, 250] and calls[0][1] is None


def test_an_image_without_a_face_is_a_row_with_the_reason(tmp_path):
    path = write(tmp_path / "a.png", noise(90, 100))
    ingest = IngestImages(IngestConfig(scale=2.0, aligned_scale=1.25), finder())
    whole, boxed = ingest([still(path), still(path, box=(30, 30, 60, 70))]).table.to_pylist()
    assert (whole["scale"], whole["box"], whole["landmarks"], whole["no_face"]) == (1.25, None, None, "no face found")
    assert decoded(whole).shape == (100, 100, 3) and whole["inside"] == pytest.approx(0.9)
    assert (boxed["scale"], boxed["box"], boxed["no_face"]) == (2.0, None, "no face found at the data set's box")
    assert decoded(boxed).shape == (80, 80, 3)


def test_without_a_detector_every_image_says_so(tmp_path):
    path = write(tmp_path / "a.png", noise(90, 100))
    table = IngestImages(IngestConfig(), None)([still(path), still(path, box=(30, 30, 60, 70))]).table
    assert table["no_face"].to_pylist() == [NO_DETECTOR] * 2


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (70, 10, 90, 30), (10, -30, 20, -1), (float("nan"), 0, 10, 10)])
def test_a_box_without_area_or_outside_of_the_image_is_a_failure(tmp_path, box):
    path = write(tmp_path / "a.png", np.zeros((48, 64, 3), np.uint8))
    done = IngestImages(IngestConfig(), finder(0, 0, 9, 9))([still(path, box=box)])
    assert done.table.num_rows == 0 and "64 x 48" in done.failures[0]["reason"] and str(path) in done.failures[0]["reason"]


def test_labels_are_indices_of_class_names_and_rows_keep_the_order_of_the_images(tmp_path):
    path = write(tmp_path / "a.jpg", np.full((50, 50, 3), 99, np.uint8))
    config = IngestConfig(classes=("Happiness", "Neutral", "Anger"))
    images = [
        still(path, "Anger", name="1"),
        still(path, "Contempt", name="2"),
        still(path, "Happiness", name="3", split="val"),
        still(path, "Neutral", name="4"),
    ]
    done = IngestImages(config, finder())(images)
    assert done.table.schema.equals(schema.IMAGE)
    assert done.table.select(["image", "label", "split"]).to_pylist() == [
        {"image": "1", "label": 2, "split": "train"},
        {"image": "3", "label": 0, "split": "val"},
        {"image": "4", "label": 1, "split": "train"},
    ]
    assert (done.skipped, done.failures) == (1, [])


def test_an_unusable_image_is_a_failure_and_the_others_are_stored(tmp_path):
    good = write(tmp_path / "good.jpg", np.full((50, 50, 3), 99, np.uint8))
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.png").write_bytes(cv2.imencode(".png", np.zeros((50, 50, 3), np.uint8))[1].tobytes()[:20])
    names = ["text.jpg", "empty.jpg", "cut.png", "gone.jpg"]
    ingest = IngestImages(IngestConfig(), finder())
    done = ingest([*(still(tmp_path / name) for name in names), still(good), still(good, box=(60, 0, 90, 20), name="far")])
    assert done.table["image"].to_pylist() == ["good.jpg"]
    assert [row["item"] for row in done.failures] == [*names, "far"]
    assert all(str(tmp_path) in row["reason"] and row["stage"] == "images" for row in done.failures)
    assert "no such file" in done.failures[3]["reason"]
    assert "60.0, 0.0, 90.0, 20.0" in done.failures[4]["reason"]


def test_an_unreachable_store_is_a_storage_error_and_not_a_failure_of_an_image(tmp_path, monkeypatch):
    def unreachable(*_):
        raise StorageError("s3://bucket: connection refused")

    monkeypatch.setattr(Storage, "read_bytes", unreachable)
    with pytest.raises(StorageError, match="refused"):
        IngestImages(IngestConfig(), finder())([still(tmp_path / "a.jpg")])


def test_gray_and_transparent_images_become_three_channels(tmp_path):
    gray = write(tmp_path / "gray.png", np.full((40, 40), 120, np.uint8))
    clear = write(tmp_path / "clear.png", np.full((40, 40, 4), 120, np.uint8))
    for row in IngestImages(IngestConfig(), finder())([still(gray), still(clear)]).table.to_pylist():
        stored = cv2.imdecode(np.frombuffer(row["jpeg"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert stored.shape == (40, 40, 3)
        assert np.abs(stored.astype(int) - 120).max() < 3


def test_an_empty_shard_gives_an_empty_table():
    done = IngestImages(IngestConfig(), finder())([])
    assert done.table.schema.equals(schema.IMAGE)
    assert done.table.num_rows == 0


def test_ingest_settings_out_of_range_are_refused():
    for change in ({"classes": ("a", "a")}, {"scale": 0.5}, {"quality": 0}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            IngestConfig(**change)
