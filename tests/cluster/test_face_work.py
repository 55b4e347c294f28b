"""The work on one video: its weights and address, and which errors are failures of the video, and which are retried or end the job."""

import threading
from dataclasses import replace

import pyarrow as pa
import pytest

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.faces import PREPARE_FACES, FaceWork, build_work
from abaw_ray.cluster.stages.features import FeatureWork
from abaw_ray.core.errors import DataError, ItemError, StorageError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.identity.config import PeopleConfig
from abaw_ray.faces.output import FaceWriter
from abaw_ray.faces.weights import FaceWeights
from abaw_ray.media.isolated_audio import IsolatedAudioDecoder

HAAR = FacesConfig(detector=DetectorConfig(kind="haar"))


@pytest.fixture
def work(tmp_path):
    """A function that processes one video; ``child`` replaces the child process."""

    def run(uri, child):
        face_work = FaceWork(HAAR, ChildLimits(), FaceWeights())
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
    storage.write_table("faces/v.parquet", pa.table({"frame": [1, 2, 3], "time": [0.0, 0.1, 0.2], "chip": pa.nulls(3, pa.binary())}))
    work, store = FeatureWork.__new__(FeatureWork), StageStore(storage, "features", HAAR, 1)  # without loading models
    work.extract, work.decode_audio, work.device_lock = StubExtractor(), IsolatedAudioDecoder(ChildLimits()), threading.Lock()
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


@pytest.fixture
def run(tmp_path):
    """A function that returns a run on one video of the user, with these weights of the embedder."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "v.mp4").write_bytes(b"not read")

    def make(embedder_weights):
        faces = FacesConfig(people=PeopleConfig(weights=embedder_weights), chips=SMOKE.faces.chips)
        data = replace(SMOKE.data, use_synthetic=False, videos=(str(tmp_path / "videos"),))
        return Run(replace(SMOKE, faces=faces, data=data, storage=StorageConfig(uri=str(tmp_path / "runs"))), RaySession(SMOKE.compute))

    return make


def test_the_address_depends_on_whether_embeddings_are_used_and_not_on_where_the_weights_are(run):
    addresses = [PREPARE_FACES.store(run(weights)).path for weights in ("", "none", "sface.onnx", "hub")]
    assert addresses[0] == addresses[1] != addresses[2] == addresses[3]


@pytest.mark.parametrize(("weights", "text"), [("", "not joined across cuts"), ("sface.onnx", "identified by face embeddings")])
def test_the_driver_reads_the_weights_for_the_workers_and_says_how_people_are_identified(run, monkeypatch, capsys, weights, text):
    monkeypatch.setattr("abaw_ray.faces.weights.yunet_weights", lambda value, storage: b"yunet")
    monkeypatch.setattr("abaw_ray.faces.weights.sface_weights", lambda value, storage: f"sface of {value}".encode())
    work = build_work(run(weights))
    assert work.args[2:] == (FaceWeights(detector=b"yunet", embedder=b"sface of sface.onnx" if weights else None),)
    assert text in capsys.readouterr().out
