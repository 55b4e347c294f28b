"""What one video's worker says of what is missing: whose fault it is decides what becomes of it."""

import pyarrow as pa
import pytest

from abaw_ray.cluster.faces import FaceWork
from abaw_ray.cluster.features import FeatureWork
from abaw_ray.core.errors import DataError, ItemError, StorageError
from abaw_ray.core.records import Home, Item
from abaw_ray.core.storage import Storage
from abaw_ray.core.stores import StorageConfig
from abaw_ray.core.watched import Limits
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detect import DetectorConfig

HAAR = FacesConfig(detector=DetectorConfig(kind="haar"))


@pytest.fixture
def work(tmp_path):
    """One video through a worker, whose child is a function of the test."""

    def run(uri, child):
        face_work = FaceWork(HAAR, Limits(), None)
        face_work.parts.child = child
        home = Home(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "faces", HAAR, 1)
        return face_work(home, Item(name="v", identity="1"), {"video": "v", "uri": str(uri), "subjects": []})

    return run


def in_this_process(what, *args):
    from abaw_ray.faces.part import WriteParts

    return WriteParts(HAAR)(what, *args)


def test_a_video_that_is_gone_is_its_own_failure(work, tmp_path):
    with pytest.raises(ItemError, match="it is gone .*no such file"):
        work(tmp_path / "v.mp4", in_this_process)


def test_a_video_that_went_after_its_faces_were_cut_is_its_own_failure_too(tmp_path):
    class Listens:
        schema = pa.schema([("time", pa.float64())])

        def stream(self, pieces, times, voice):
            yield from voice

    store = Storage(StorageConfig(uri=str(tmp_path / "runs")))
    store.write_table("faces/v.parquet", pa.table({"time": [0.0]}, schema=Listens.schema))
    work = FeatureWork.__new__(FeatureWork)  # without its models
    work.extract = Listens()
    with pytest.raises(ItemError, match="it is gone .*no such file"):
        work(Home(store, "features", HAAR, 1), Item(name="v", identity="1"), {"faces": "faces/v.parquet", "uri": str(tmp_path / "v.mp4")})


def test_a_machine_that_does_not_see_the_videos_says_so_and_blames_none(work, tmp_path):
    with pytest.raises(StorageError, match="has no such folder; every machine must see the videos at the same place"):
        work(tmp_path / "share" / "v.mp4", in_this_process)


def test_a_table_of_boxes_that_is_missing_is_not_the_videos_failure(work, tmp_path):
    def no_table(*_):
        raise DataError("boxes.csv: there is no such table; check detector.boxes")

    with pytest.raises(DataError, match=r"boxes\.csv"):
        work(tmp_path / "v.mp4", no_table)
