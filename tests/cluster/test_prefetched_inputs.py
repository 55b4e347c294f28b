"""A video that waits for the device: it has no files on the disk, its errors are its own, and its results are those of a single thread."""

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from timeouts import TIMEOUT_S

from abaw_ray.cluster.stages.analysis import work as analysis
from abaw_ray.cluster.stages.analysis.work import ScoreWork, chips_folder
from abaw_ray.cluster.stages.features import FeatureWork
from abaw_ray.core.errors import ItemError, StorageError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.predict.find_faces import FACES_FILE, SUMMARY_FILE

"""Seconds after which a wait counts as a defect."""
ITEMS = [Item(name=name, identity="1") for name in ("a", "b", "c")]


class Gate:
    """Holds the first call on the device until it is opened, and records the order of calls."""

    def __init__(self):
        self.calls, self._open = [], threading.Event()
        self.entered = threading.Event()

    def open(self):
        self._open.set()

    def __call__(self, value):
        self.calls.append(value)
        self.entered.set()
        assert self._open.wait(TIMEOUT_S), "the gate was not opened"


class GatedExtractor:
    """Replaces the feature models: the column ``seen`` is whether the video has audio."""

    schema = pa.schema([("time", pa.float64()), ("seen", pa.bool_()), ("heard", pa.bool_())])

    def __init__(self, gate):
        self.gate = gate

    def stream(self, batches, times, audio):
        self.gate(float(times[0]))
        for batch in batches:
            yield pa.table({"time": batch["time"], "seen": [True] * len(batch), "heard": [audio is not None] * len(batch)}, schema=self.schema)


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """The folder of temporary files, for this test alone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def store(tmp_path):
    """A store that is no local file system, so its files are copied."""
    storage = Storage(StorageConfig(uri=str(tmp_path / "runs")))
    storage.__dict__["_root"] = pafs.SubTreeFileSystem("/", pafs.LocalFileSystem()), str(tmp_path / "runs").lstrip("/")
    store = StageStore(storage, "stage", {}, 1)
    for folder in ("faces", f"{store.path}/outputs", f"{store.path}/failures", *(chips_folder(store, item) for item in ITEMS)):
        (tmp_path / "runs" / folder).mkdir(parents=True)
    return store


def until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.01)


@pytest.fixture
def features(store, disk):
    """The work on features with a gate in place of the models; ``process`` is its call for an item, ``read`` lists the videos that were read."""
    for number, item in enumerate(ITEMS):
        store.storage.write_table(
            f"faces/{item.name}.parquet", pa.table({"frame": [1, 2], "time": [number + 0.0, number + 0.5], "chip": pa.nulls(2, pa.binary())})
        )
    work, gate = FeatureWork.__new__(FeatureWork), Gate()  # without loading models
    work.extract, work.device_lock, work.read = GatedExtractor(gate), threading.Lock(), []

    def decode_audio(uri):
        if uri == "b.mp4":
            raise ItemError("not a media file")

    read = work._read

    def recorded(storage, payload):
        inputs = read(storage, payload)
        work.read.append(payload["uri"])
        return inputs

    work.decode_audio, work._read, work.gate = decode_audio, recorded, gate
    work.process = lambda item: work(store, item, {"faces": f"faces/{item.name}.parquet", "uri": f"{item.name}.mp4"})
    return work


def test_a_video_that_waits_for_the_models_has_been_read_and_has_no_file_on_the_disk(features, disk):
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(features.process, ITEMS[0])
        assert features.gate.entered.wait(TIMEOUT_S)
        second = threads.submit(features.process, ITEMS[2])
        until(lambda: features.read == ["a.mp4", "c.mp4"])
        names = [path.name for path in disk.iterdir()]
        assert len(names) == 1 and names[0].startswith("abaw-features-"), "the folder of the first video's output alone"
        assert features.gate.calls == [0.0]
        features.gate.open()
        assert first.result() == second.result() == {"rows": 2, "seen": 2, "heard": 0}
    assert features.gate.calls == [0.0, 2.0] and not list(disk.iterdir())


def test_features_and_failures_are_those_of_one_thread_after_the_other(features, store, disk):
    features.gate.open()

    def outcome(item):
        try:
            return features.process(item)
        except ItemError as error:
            return str(error)

    def written():
        return {name: store.storage.read_table(path) for name, path in store.finished(ITEMS).items()}, store.failures(ITEMS)

    one_by_one, expected = [outcome(item) for item in ITEMS], written()
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(outcome, ITEMS)) == one_by_one
    assert written() == expected and expected[1].keys() == {"b"} and "no audio features: not a media file" in one_by_one[1]
    assert not list(disk.iterdir())


@pytest.fixture
def scores(store, disk, monkeypatch):
    """The scoring of chips with a gate in place of the model; ``process`` is its call for an item."""
    for item in ITEMS[:2]:
        store.storage.write_bytes(f"{chips_folder(store, item)}/{FACES_FILE}", item.name.encode())
        store.storage.write_bytes(f"{chips_folder(store, item)}/{SUMMARY_FILE}", b"{}")
    work, gate = ScoreWork.__new__(ScoreWork), Gate()  # without loading a model

    def score(payload, folder):
        gate(payload["video"])
        return (folder / FACES_FILE).read_text()

    def finish(store, item, payload, analysis, write, folder):
        return {"read": analysis, "summary": (folder / SUMMARY_FILE).read_text()}

    monkeypatch.setattr(analysis, "_finish", finish)
    work.score, work.write, work.keep_chips, work.gate = score, None, False, gate
    work.device_lock, work.files_lock = threading.Lock(), threading.Lock()
    work.process = lambda item: work(store, item, {"video": item.name})
    return work


def test_a_video_that_waits_to_be_scored_has_been_read_and_has_no_file_on_the_disk(scores, store, disk, monkeypatch):
    read = []
    monkeypatch.setattr(analysis, "open_all", lambda *args, opened=analysis.open_all: read.append(1) or opened(*args))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(scores.process, ITEMS[0])
        assert scores.gate.entered.wait(TIMEOUT_S)
        second = threads.submit(scores.process, ITEMS[1])
        until(lambda: len(read) == 2 and len(list(disk.iterdir())) == 1)
        scores.gate.open()
        assert first.result() == {"read": "a", "summary": "{}"} and second.result() == {"read": "b", "summary": "{}"}
    assert scores.gate.calls == ["a", "b"] and not list(disk.iterdir())
    assert store.storage.files(f"{store.path}/{analysis.CHIPS}", recursive=True) == {}


def test_a_video_whose_chips_are_gone_is_retried_later_and_the_one_on_the_device_is_scored(scores):
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(scores.process, ITEMS[0])
        assert scores.gate.entered.wait(TIMEOUT_S)
        with pytest.raises(StorageError, match="the chips of c are gone"):
            threads.submit(scores.process, ITEMS[2]).result()
        scores.gate.open()
        assert first.result() == {"read": "a", "summary": "{}"}
