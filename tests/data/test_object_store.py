import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abaw_ray.core.errors import DataError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, resolve
from abaw_ray.data.affwild2 import AffWild2, is_affwild2
from abaw_ray.data.still_images.image_folders import read_image_folder
from abaw_ray.data.still_images.rafdb import read_rafdb
from abaw_ray.data.trees import Tree
from abaw_ray.data.videos import identity_of, list_videos

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(object_store):
    """A function that puts an object into a bucket on loopback."""
    object_store.create_bucket(Bucket="data")
    return lambda path, body: object_store.put_object(Bucket="data", Key=path, Body=body)


def test_videos_of_an_object_store_are_listed_like_those_of_a_folder(bucket):
    bucket("clips/a.mp4", b"one")
    bucket("clips/b/c.avi", b"two")
    bucket("lists/mine.txt", b"s3://data/clips/a.mp4\n")
    rows = list_videos("s3://data/clips")
    assert [(row["video"], row["uri"]) for row in rows] == [("a.mp4", "s3://data/clips/a.mp4"), ("b/c.avi", "s3://data/clips/b/c.avi")]
    assert [row["video"] for row in list_videos("s3://data/clips/**/*.avi")] == ["b/c.avi"]
    assert [row["video"] for row in list_videos("s3://data/lists/mine.txt")] == ["data/clips/a.mp4"]
    before = rows[0]["identity"]
    assert before == identity_of("s3://data/clips/a.mp4")
    assert rows[0]["size"] == 3 and list_videos("s3://data/lists/mine.txt")[0]["identity"] == before
    bucket("clips/a.mp4", b"another")
    assert identity_of("s3://data/clips/a.mp4") != before
    with pytest.raises(DataError, match="no such"):
        list_videos("s3://data/nowhere")


def test_a_whole_bucket_is_a_folder(bucket):
    bucket("whole/a.mp4", b"one")
    assert "whole/a.mp4" in [row["video"] for row in list_videos("s3://data")]
    assert list_videos("s3://data") == list_videos("s3://data/")


def test_a_list_of_objects_keeps_their_order_and_a_missing_one_is_an_error(bucket):
    for number in range(40):
        bucket(f"many/{number:02d}.mp4", b"x" * number)
    names = [f"s3://data/many/{number:02d}.mp4" for number in range(40)]
    table = io.BytesIO()
    pq.write_table(pa.table({"path": names}), table)
    bucket("lists/all.parquet", table.getvalue())
    assert [(row["uri"], row["size"]) for row in list_videos("s3://data/lists/all.parquet")] == [(name, at) for at, name in enumerate(names)]
    bucket("lists/wrong.csv", "uri\n{}\n../many/gone.mp4\n".format("\n".join(names)).encode())
    with pytest.raises(DataError, match=r"wrong\.csv:42: '\.\./many/gone\.mp4' is not a file"):
        list_videos("s3://data/lists/wrong.csv")


def test_data_sets_are_read_from_an_object_store(bucket):
    header = b"Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n"
    bucket("aff/anno/EXPR_Recognition_Challenge/Train_Set/1.txt", header + b"0\n1\n")
    bucket("aff/anno/EXPR_Recognition_Challenge/Validation_Set/2.txt", header + b"-1\n")
    bucket("aff/batch1/1.mp4", b"x")
    bucket("aff/batch2/2.avi", b"x")
    bucket("raf/basic/EmoLabel/list_patition_label.txt", b"train_00001.jpg 5\n")
    assert is_affwild2("s3://data/aff") and is_affwild2("s3://data") and not is_affwild2("s3://data/raf")
    tree = AffWild2("s3://data/aff")
    assert [row["uri"] for row in tree.videos()] == ["s3://data/aff/batch1/1.mp4", "s3://data/aff/batch2/2.avi"]
    assert tree.labels("1").tolist() == [0, 1]
    assert [image.path for image in read_rafdb("s3://data/raf")] == ["s3://data/raf/basic/Image/aligned/train_00001_aligned.jpg"]


def test_images_by_class_are_read_from_an_object_store(bucket):
    for path in ("mine/Happy/a.jpg", "mine/Happy/b.jpg", "split/train/sad/c.jpg", "split/val/sad/d.jpg"):
        bucket(path, b"x")
    mine = read_image_folder("s3://data/mine/", "mine", val_fraction=0.5)
    assert [(image.name, image.path, image.expression) for image in mine] == [
        ("mine/Happy/a.jpg", "s3://data/mine/Happy/a.jpg", "Happiness"),
        ("mine/Happy/b.jpg", "s3://data/mine/Happy/b.jpg", "Happiness"),
    ]
    assert sorted(image.split for image in mine) == ["train", "val"]
    assert [(image.path, image.split) for image in read_image_folder("s3://data/split", "split")] == [
        ("s3://data/split/train/sad/c.jpg", "train"),
        ("s3://data/split/val/sad/d.jpg", "val"),
    ]


def test_an_unreachable_store_is_an_error_and_not_an_empty_folder(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with pytest.raises(StorageError, match="s3://data"):
        list_videos("s3://data/clips/*.mp4", StorageConfig(endpoint="http://127.0.0.1:9", region="us-east-1"))


def test_a_failed_read_of_a_list_is_retried(bucket, monkeypatch):
    for name in ("a", "b"):
        bucket(f"flaky/{name}.mp4", b"one")
    original, requests = resolve("s3://data/flaky"), []

    class Flaky:
        def get_file_info(self, what):
            requests.append(what)
            if len(requests) % 2:
                raise OSError("AWS Error SLOW_DOWN during ListObjectsV2 operation")
            return original[0].get_file_info(what)

    monkeypatch.setattr("abaw_ray.core.storage.retries.wait_random_exponential", lambda **_: lambda state: 0)
    monkeypatch.setattr("abaw_ray.data.trees.resolve", lambda *_: (Flaky(), original[1]))
    tree = Tree("s3://data/flaky")
    assert [entry.name for entry in tree.entries()] == ["a.mp4", "b.mp4"]
    assert [entry and entry.size for entry in tree.stat(["a.mp4", "b.mp4", "c.mp4"])] == [3, 3, None]
    monkeypatch.setattr(Flaky, "get_file_info", lambda *_: (_ for _ in ()).throw(OSError("AWS Error SLOW_DOWN")))
    with pytest.raises(StorageError, match="SLOW_DOWN"):
        tree.entries()
