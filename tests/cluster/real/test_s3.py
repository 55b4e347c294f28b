"""An S3 server behind a proxy that injects faults: nothing is lost, and no partial object is used as a result."""

import io
import json
import os
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import ray.train
from two_writers import outcomes_of_two_writers

from abaw_ray.cluster.training.checkpoints import checkpoint
from abaw_ray.cluster.training.checkpoints.meta import CheckpointMeta
from abaw_ray.core.errors import StorageError
from abaw_ray.core.stage_store import lock
from abaw_ray.core.stage_store.lock import writer_lock
from abaw_ray.core.stage_store.lock_file import has_conditional_put
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from tools.clusters.namespaces.clusters import KEYS
from tools.clusters.namespaces.hosts import CLIENT

from faultproxy import FaultProxy, Rule

LARGE = 24 << 20
"""Size in bytes that requires a multipart upload."""


@pytest.fixture(scope="module", autouse=True)
def keys():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def proxy(store):
    parts = urlsplit(store.endpoint)
    return FaultProxy((parts.hostname, parts.port), host=parts.hostname).start()


@pytest.fixture
def faulty(proxy, request):
    """Return a function that creates a Storage behind the proxy with fault rules."""

    def make(*rules: Rule, attempts: int = 5) -> Storage:
        proxy.rules = list(rules)
        uri = f"s3://abaw/{request.node.name.replace('[', '-').rstrip(']')}"
        return Storage(StorageConfig(uri=uri, endpoint=proxy.url, checksums="when_required", attempts=attempts))

    yield make
    proxy.rules = []


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(os.urandom(LARGE))
    return path


FAULTS = {
    "503 at the first try of each part": [Rule("503", method="PUT", path="partNumber=", nth=(1, 3))],
    "503 three times at the end of an upload": [Rule("503", method="POST", path="uploadId=", times=3)],
    "500 once": [Rule("500", method="PUT", times=1)],
    "429 twice": [Rule("429", method="PUT", times=2)],
    "a connection reset before the request": [Rule("reset", times=2)],
    "a lost response to the end of an upload": [Rule("lost", method="POST", path="uploadId=", times=1)],
    "a lost response to a part": [Rule("lost", method="PUT", path="partNumber=", times=1)],
    "a slow server": [Rule("delay", seconds=1.0, times=3)],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_large_file_is_written_completely_despite(name, faulty, large, store):
    storage = faulty(*FAULTS[name])
    storage.put_file(large, "large.bin")
    key = f"{storage.config.uri.removeprefix('s3://abaw/')}/large.bin"
    assert store.read(key) == large.read_bytes()


@pytest.mark.parametrize(
    "rule",
    [
        Rule("cut", method="GET", times=2),
        Rule("reset", method="GET", times=2),
        Rule("503", method="GET", times=4),
        Rule("slow", method="GET", kib=6000),
    ],
)
def test_a_large_file_is_read_completely_despite(rule, faulty, large, tmp_path):
    storage = faulty()
    storage.put_file(large, "large.bin")
    storage = faulty(rule)
    storage.get_file("large.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()


def test_a_permanent_fault_is_an_error_with_the_address_and_leaves_no_object(faulty, large):
    storage = faulty(Rule("503", method="PUT"), Rule("503", method="POST"), attempts=2)
    with pytest.raises(StorageError, match="s3://abaw/.*large.bin"):
        storage.put_file(large, "large.bin")
    storage = faulty()
    assert not storage.exists("large.bin")


class StubEngine:
    """Writes a checkpoint of one rank: a shard of many megabytes and a small file."""

    def save(self, folder, state):
        folder.mkdir(parents=True)
        (folder / "shard.pt").write_bytes(os.urandom(LARGE))
        (folder / "model.pt").write_bytes(json.dumps(state).encode())


@pytest.fixture
def save_checkpoint(monkeypatch):
    """Return a function that writes a checkpoint, uploads it as Ray Train's report does, and returns the files' contents."""
    place = SimpleNamespace(build_checkpoint_path_from_name=lambda name: name, storage_filesystem=pafs.LocalFileSystem())
    monkeypatch.setattr("ray.train.get_context", lambda: SimpleNamespace(get_storage=lambda: place))

    def make(storage):
        folder = checkpoint.write(StubEngine(), {"step": 7}, CheckpointMeta(world_size=1), rank=0)
        written = {path.name: path.read_bytes() for path in (folder / "zero").iterdir()}
        try:
            checkpoint.uploader(storage, "run")(ray.train.Checkpoint.from_directory(folder), "checkpoint_1")
        finally:
            assert not folder.exists()
        return written

    return make


@pytest.mark.parametrize("name", ["503 at the first try of each part", "a lost response to the end of an upload"])
def test_a_checkpoint_is_uploaded_completely_despite(name, faulty, save_checkpoint):
    written = save_checkpoint(faulty(*FAULTS[name]))
    storage = faulty()
    folder, _ = checkpoint.fetch(storage, "run/checkpoint_1", world_size=1, convert=False)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == written
    checkpoint.delete_local_copy(storage, "run/checkpoint_1", world_size=1)


@pytest.mark.parametrize("lost", ["shard", "model"])
def test_a_checkpoint_with_a_missing_file_is_an_error_at_upload_and_at_fetch(lost, faulty, save_checkpoint):
    with pytest.raises(StorageError, match=rf"s3://abaw/.*{lost}\.pt"):
        save_checkpoint(faulty(Rule("503", path=rf"{lost}\.pt"), attempts=2))
    with pytest.raises(StorageError, match=rf"{lost}\.pt: has 0 of"):
        checkpoint.fetch(faulty(), "run/checkpoint_1", world_size=1, convert=False)


def test_rejected_credentials_are_one_error_that_does_not_show_them(faulty, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anothersecret")
    with pytest.raises(StorageError) as caught:
        faulty().check()
    assert "anothersecret" not in str(caught.value) and "credentials" in str(caught.value)


def test_the_error_of_a_server_without_checksums_names_the_setting(store, large, monkeypatch):
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION", raising=False)  # set by earlier tests
    storage = Storage(StorageConfig(uri="s3://abaw/checksums", endpoint=store.endpoint, attempts=1))
    with pytest.raises(StorageError, match="--storage.checksums when_required"):
        storage.put_file(large, "large.bin")


def test_tables_and_folders_are_the_same_as_on_a_disk(faulty, tmp_path):
    table = pa.table({"video": ["a", "b"] * 5000, "time": pa.array(range(10000), pa.float64())})
    disk, remote = Storage(StorageConfig(uri=str(tmp_path))), faulty()
    for storage in (disk, remote):
        for name in ("one/a.parquet", "one/two/b.parquet"):
            storage.write_table(name, table)
    assert disk.files("", recursive=True) == remote.files("", recursive=True)
    assert disk.read_bytes("one/a.parquet") == remote.read_bytes("one/a.parquet")
    for storage in (disk, remote):
        storage.delete("one/two")
        assert storage.files("one", recursive=True).keys() == {"a.parquet"}
        assert not storage.exists("one/two") and storage.table_rows("one/a.parquet") == 10000


SYNTHETIC = {
    "train-subjects": 6,
    "val-subjects": 3,
    "test-subjects": 1,
    "video-duration-s": 2.4,
    "affectnet-train-images": 8,
    "affectnet-val-images": 8,
    "rafdb-train-images": 7,
    "rafdb-test-images": 7,
}


def test_of_two_writers_behind_a_slow_connection_one_is_admitted(faulty):
    """Each write of the lock takes longer than the wait by which two writers are found in a store without conditional puts."""
    storage = faulty(Rule("delay", method="PUT", path="writer.json", seconds=1.0))
    assert has_conditional_put(storage.config)
    assert outcomes_of_two_writers(storage, timeout=60) == ["admitted", "refused"]


def test_a_lock_is_renewed_and_released(faulty, monkeypatch):
    monkeypatch.setattr(lock, "_HEARTBEAT_INTERVAL", 0.3)
    storage = faulty()
    with writer_lock(storage, "stage"):
        first = json.loads(storage.read_bytes("stage/writer.json"))
        time.sleep(2.0)
        later = json.loads(storage.read_bytes("stage/writer.json"))
    assert later["owner"] == first["owner"] and later["heartbeat"] > first["heartbeat"] + 0.5
    assert json.loads(storage.read_bytes("stage/writer.json")) == {}


def test_a_lock_whose_response_is_lost_is_held(faulty):
    storage = faulty(Rule("lost", method="PUT", path="writer.json", times=1))
    with writer_lock(storage, "stage"):
        assert json.loads(storage.read_bytes("stage/writer.json"))["owner"]


def test_a_job_behind_a_faulty_connection_has_the_results_of_one_on_a_disk(hosts, proxy, store, tmp_path):
    job, single_node = ["python", "jobs/prepare_faces.py", "smoke"], {"RAY_AUTH_MODE": "disabled"}
    small = [part for name, value in SYNTHETIC.items() for part in (f"--data.synthetic.{name}", str(value))]
    generate = ["--data.synthetic-dir", str(tmp_path / "data"), *small, "--data.synthetic.segment-duration-s", "0.4", "0.9"]
    hosts.run(CLIENT, *job, *generate, "--storage", str(tmp_path / "runs"), env=single_node)
    proxy.rules = [
        Rule("503", method="PUT", every=5),
        Rule("reset", every=13),
        Rule("lost", method="PUT", every=11),
        Rule("cut", method="GET", path="parquet", every=3),
    ]
    existing = ["--data.no-use-synthetic", "--data.affwild2", str(tmp_path / "data/affwild2"), "--storage", "s3://abaw/faulty"]
    hosts.run(CLIENT, *job, *existing, "--endpoint", proxy.url, "--storage.checksums", "when_required", env=KEYS | single_node)
    hits, proxy.rules = [rule.hits for rule in proxy.rules], []
    assert min(hits[:3]) > 0, hits
    remote = {key.partition("/faces/")[2]: key for key in store.list_objects("faulty/faces/") if "/outputs/" in key}
    local = {str(path.relative_to(tmp_path / "runs/faces")): path for path in (tmp_path / "runs/faces").glob("*/outputs/*.parquet")}
    assert local.keys() == remote.keys() and len(local) > 5
    assert all(pq.read_table(path).equals(pq.read_table(io.BytesIO(store.read(remote[name])))) for name, path in local.items())
