import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError, StageError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.images import open_image_set


def table(names, split="train"):
    jpegs = [cv2.imencode(".png", np.full((8, 8, 3), number % 251, np.uint8))[1].tobytes() for number in range(len(names))]
    columns = [
        names,
        jpegs,
        range(len(names)),
        ["synthetic"] * len(names),
        [split] * len(names),
        [2.0] * len(names),
        [None] * len(names),
        [None] * len(names),
        [1.0] * len(names),
        [None] * len(names),
    ]
    return pa.Table.from_arrays(
        [pa.array(list(column), field.type) for column, field in zip(columns, schema.IMAGE, strict=True)], schema=schema.IMAGE
    )


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path / "store")))


def test_rows_of_many_shards_are_in_the_order_of_the_shards_names(storage, tmp_path):
    for shard, count in (("b", 3), ("a", 5), ("c", 2500)):
        storage.write_table(f"{shard}.parquet", table([f"{shard}{row}" for row in range(count)], "val" if shard == "b" else "train"))
    images = open_image_set(storage, ["c.parquet", "b.parquet", "a.parquet"], tmp_path)
    assert len(images) == 2508
    np.testing.assert_array_equal(images.labels, [*range(5), *range(3), *range(2500)])
    np.testing.assert_array_equal(images.rows("val"), [5, 6, 7])
    for row, value in ((0, 0), (4, 4), (5, 0), (7, 2), (8, 0), (8 + 200, 200)):
        assert (images.pixels(row) == value).all()


def test_shards_are_read_several_at_a_time_and_never_all_at_once(storage, tmp_path, monkeypatch):
    read, lock = Storage.read_table, threading.Lock()
    running, most = 0, 0

    def slow(self, path, *options):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return read(self, path, *options)

    monkeypatch.setattr(Storage, "read_table", slow)
    shards = [f"{number:02d}.parquet" for number in range(24)]
    for number, shard in enumerate(shards):
        storage.write_table(shard, table([str(number)] * (number + 1)))
    images = open_image_set(storage, shards, tmp_path)
    np.testing.assert_array_equal(images.labels, [label for number in range(24) for label in range(number + 1)])
    assert 2 <= most <= 8


def test_a_shard_that_cannot_be_read_leaves_no_local_file(storage, tmp_path, monkeypatch):
    def no_answer(self, path, *options):
        raise StorageError(f"{path}: no answer")

    storage.write_table("a.parquet", table(["a"]))
    monkeypatch.setattr(Storage, "read_table", no_answer)
    with pytest.raises(StorageError, match=r"a\.parquet: no answer"):
        open_image_set(storage, ["a.parquet"], tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_pixels_are_in_rgb_order(storage, tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 250  # OpenCV writes blue, green, red
    rows = table(["red"]).set_column(1, schema.IMAGE.field("jpeg"), pa.array([cv2.imencode(".png", red)[1].tobytes()]))
    storage.write_table("a.parquet", rows)
    assert open_image_set(storage, ["a.parquet"], tmp_path).pixels(0)[4, 4].tolist() == [250, 0, 0]


def test_the_local_file_is_built_once_for_several_concurrent_readers(storage, tmp_path, monkeypatch):
    storage.write_table("a.parquet", table(["x", "y"]))
    reads, read = [], Storage.read_table
    monkeypatch.setattr(Storage, "read_table", lambda self, path: reads.append(path) or read(self, path))
    with ThreadPoolExecutor(4) as pool:
        paths = {images.path for images in pool.map(lambda _: open_image_set(storage, ["a.parquet"], tmp_path), range(4))}
    assert len(paths) == 1
    assert reads == ["a.parquet"]
    assert not list(tmp_path.glob("*.tmp-*"))


def test_a_shard_that_changed_or_is_missing_is_detected(storage, tmp_path):
    storage.write_table("images/a.parquet", table(["x", "y"]))
    assert len(open_image_set(storage, ["images/a.parquet"], tmp_path)) == 2
    storage.write_table("images/a.parquet", table(["x", "y", "z"]))
    assert len(open_image_set(storage, ["images/a.parquet"], tmp_path)) == 3
    storage.delete("images/a.parquet")
    with pytest.raises(DataError, match=r"images/a.parquet: .* missing \(1 of 1"):
        open_image_set(storage, ["images/a.parquet"], tmp_path)


def test_another_set_of_shards_has_another_file(storage, tmp_path):
    for shard in ("a", "b"):
        storage.write_table(f"{shard}.parquet", table([shard]))
    assert len(open_image_set(storage, ["a.parquet"], tmp_path)) == 1
    assert len(open_image_set(storage, ["a.parquet", "b.parquet"], tmp_path)) == 2


def test_an_open_image_set_outlives_its_file(storage, tmp_path):
    storage.write_table("a.parquet", table(["x", "y"]))
    images = open_image_set(storage, ["a.parquet"], tmp_path)
    images.path.unlink()
    assert (images.pixels(1) == 1).all()
    assert open_image_set(storage, ["a.parquet"], tmp_path).path.exists()


def test_a_set_without_images_and_a_shard_with_another_schema_are_refused(storage, tmp_path):
    storage.write_table("a.parquet", table([]))
    with pytest.raises(DataError, match="empty"):
        open_image_set(storage, ["a.parquet"], tmp_path)
    storage.write_table("b.parquet", pa.table({"image": ["x"]}))
    with pytest.raises(StageError, match="jpeg"):
        open_image_set(storage, ["b.parquet"], tmp_path)


def test_rows_with_a_face_can_be_selected_and_have_its_center(storage, tmp_path):
    rows = table(["a", "b", "c"])
    for name, values in (("box", [[1.0, 2.0, 5.0, 8.0], None, [0.0, 0.0, 2.0, 2.0]]), ("no_face", [None, "no face found", None])):
        field = schema.IMAGE.field(name)
        rows = rows.set_column(rows.column_names.index(name), field, pa.array(values, field.type))
    storage.write_table("a.parquet", rows)
    images = open_image_set(storage, ["a.parquet"], tmp_path)
    np.testing.assert_array_equal(images.rows("train"), [0, 1, 2])
    np.testing.assert_array_equal(images.rows("train", with_face=True), [0, 2])
    assert images.face(0).tolist() == [3, 5] and images.face(1) is None and images.face(2).tolist() == [1, 1]
