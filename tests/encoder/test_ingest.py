import cv2
import numpy as np
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, StorageError
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.stills import StillImage
from abaw_ray.encoder.config import IngestConfig
from abaw_ray.encoder.ingest import IngestImages, crop_face


def still(path, expression="Anger", box=None, name=None, split="train"):
    return StillImage(name=name or path.name, path=str(path), expression=expression, box=box, split=split, source="synthetic")


def write(path, image, *options):
    assert cv2.imwrite(str(path), image, *options)
    return path


def slow_square(image, box, scale):
    side = round(max(box[2] - box[0], box[3] - box[1]) * scale)
    left, top = round((box[0] + box[2]) / 2 - side / 2), round((box[1] + box[3]) / 2 - side / 2)
    out = np.zeros((side, side, 3), np.uint8)
    for y in range(side):
        for x in range(side):
            if 0 <= top + y < image.shape[0] and 0 <= left + x < image.shape[1]:
                out[y, x] = image[top + y, left + x]
    return out


@pytest.mark.parametrize("box", [(20, 15, 40, 35), (0, 0, 30, 24), (45, 30, 64, 48), (-5, -8, 12, 10), (10.4, 11.5, 31.2, 29.9)])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_square_agrees_with_its_definition_and_is_black_outside(box, scale):
    image = np.random.default_rng(0).integers(1, 256, (48, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop_face(image, box, scale, 448), slow_square(image, box, scale))


def test_a_square_that_is_too_large_is_downscaled_by_averaging():
    image = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    square = crop_face(image, (100, 100, 300, 300), 2.0, 100)
    np.testing.assert_array_equal(square, cv2.resize(image, (100, 100), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (70, 10, 90, 30), (10, -30, 20, -1)])
def test_a_box_without_area_or_outside_of_the_image_is_refused(box):
    with pytest.raises(ValueError, match="box .* 64 x 48"):
        crop_face(np.zeros((48, 64, 3), np.uint8), box, 1.0, 448)


def test_an_aligned_image_without_a_box_is_stored_whole(tmp_path):
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8), (0, 0), 3)
    path = write(tmp_path / "a.png", image)
    done = IngestImages(IngestConfig(scale=2.0, aligned_scale=1.25, quality=100))([still(path)])
    stored = cv2.imdecode(np.frombuffer(done.table["jpeg"][0].as_py(), np.uint8), cv2.IMREAD_COLOR)
    assert stored.shape == (100, 100, 3)
    assert np.abs(stored.astype(int) - image).max() < 12
    assert done.table["scale"].to_pylist() == [1.25]
    boxed = IngestImages(IngestConfig(scale=2.0))([still(path, box=(30, 30, 70, 70))])
    assert boxed.table["scale"].to_pylist() == [2.0]


def test_labels_are_indices_of_class_names_and_rows_keep_the_order_of_the_images(tmp_path):
    path = write(tmp_path / "a.jpg", np.full((50, 50, 3), 99, np.uint8))
    config = IngestConfig(classes=("Happiness", "Neutral", "Anger"))
    images = [
        still(path, "Anger", name="1"),
        still(path, "Contempt", name="2"),
        still(path, "Happiness", name="3", split="val"),
        still(path, "Neutral", name="4"),
    ]
    done = IngestImages(config)(images)
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
    done = IngestImages(IngestConfig())([*(still(tmp_path / name) for name in names), still(good), still(good, box=(60, 0, 90, 20), name="far")])
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
        IngestImages(IngestConfig())([still(tmp_path / "a.jpg")])


def test_grey_and_transparent_images_become_three_channels(tmp_path):
    grey = write(tmp_path / "grey.png", np.full((40, 40), 120, np.uint8))
    clear = write(tmp_path / "clear.png", np.full((40, 40, 4), 120, np.uint8))
    table = IngestImages(IngestConfig(aligned_scale=2.0))([still(grey), still(clear)]).table
    for jpeg in table["jpeg"].to_pylist():
        stored = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
        assert stored.shape == (40, 40, 3)
        assert np.abs(stored.astype(int) - 120).max() < 3


def test_an_empty_shard_gives_an_empty_table():
    done = IngestImages(IngestConfig())([])
    assert done.table.schema.equals(schema.IMAGE)
    assert done.table.num_rows == 0


def test_ingest_settings_out_of_range_are_refused():
    for change in ({"classes": ("a", "a")}, {"scale": 0.5}, {"quality": 0}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            IngestConfig(**change)
