"""Errors of the work on one video: which are failures of the video, and which are retried or end the job."""

import pyarrow as pa
import pytest

from abaw_ray.cluster.stages.faces import FaceWork
from abaw_ray.cluster.stages.features import FeatureWork
from abaw_ray.core.errors import DataError, ItemError, StorageError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.output import FaceWriter
from abaw_ray.media.isolated_audio import IsolatedAudioDecoder

HAAR = FacesConfig(detector=DetectorConfig(kind="haar"))


@pytest.fixture
def work(tmp_path):
    """A function that processes one video; ``child`` replaces the child process."""

    def run(uri, child):
        face_work = FaceWork(HAAR, ChildLimits(), None)
        face_work.writer.crash_retry.child = child
        store = StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "faces", HAAR, 1)
        return face_work(store, Item(name="v", identity="1"), {"video": "v", "uri": str(uri), "subjects": []})

    return run


def in_this_process(method, *args):
    """The call of the child process, without a process."""
    return FaceWriter(HAAR)(method, *args)


def test_a_deleted_video_is_a_failure_of_the_video(work, tmp_path):
    with pytest.raises(ItemError, match="it no longer exists .*no such file"):
        work(tmp_path / "v.mp4", in_this_process)


class StubExtractor:
    """Replaces the feature models: every row has a face and none has audio."""

    schema = pa.schema([("time", pa.float64()), ("seen", pa.bool_()), ("heard", pa.bool_())])

    def stream(self, batches, times, audio):
        assert audio is None
        for batch in batches:
            yield pa.table({"time": batch["time"], "seen": [True] * len(batch), "heard": [False] * len(batch)}, schema=self.schema)


@pytest.fixture
def features(tmp_path):
    """Features of a video of three rows: the store, the item, and the work as a function of the video's address."""
    storage, item = Storage(StorageConfig(uri=str(tmp_path / "runs"))), Item(name="v", identity="1")
    storage.write_table("faces/v.parquet", pa.table({"frame": [1, 2, 3], "time": [0.0, 0.1, 0.2]}))
    work, store = FeatureWork.__new__(FeatureWork), StageStore(storage, "features", HAAR, 1)  # without loading models
    work.extract, work.decode_audio = StubExtractor(), IsolatedAudioDecoder(ChildLimits())
    yield store, item, lambda uri: work(store, item, {"faces": "faces/v.parquet", "uri": str(uri)})
    work.decode_audio.close()


def test_a_video_that_is_deleted_after_its_faces_were_cropped_is_a_failure_of_the_video(features, tmp_path):
    store, item, work = features
    with pytest.raises(ItemError, match="it no longer exists .*no such file"):
        work(tmp_path / "v.mp4")
    assert store.finished([item]) == {}


def test_a_video_whose_audio_cannot_be_decoded_keeps_its_faces_and_is_a_failure(features, tmp_path):
    store, item, work = features
    (tmp_path / "v.mp4").write_text("no longer a video")
    with pytest.raises(ItemError, match="its frames have no audio features: "):
        work(tmp_path / "v.mp4")
    table = store.storage.read_table(store.finished([item])["v"])
    assert table["seen"].to_pylist() == [True] * 3 and table["heard"].to_pylist() == [False] * 3
    assert store.done([item]) == {"v"} and "no audio features" in store.failures([item])["v"]["reason"]


def test_a_machine_without_the_folder_of_videos_is_a_storage_error_and_not_a_failure_of_the_video(work, tmp_path):
    with pytest.raises(StorageError, match="has no such folder; all machines need the videos at the same path"):
        work(tmp_path / "share" / "v.mp4", in_this_process)


def test_a_missing_table_of_boxes_is_a_data_error_and_not_a_failure_of_the_video(work, tmp_path):
    def no_table(*_):
        raise DataError("boxes.csv: there is no such table; check detector.boxes")

    with pytest.raises(DataError, match=r"boxes\.csv"):
        work(tmp_path / "v.mp4", no_table)
