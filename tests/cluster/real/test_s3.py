"""A real S3 server, and a proxy in front of it that goes wrong: nothing is lost, nothing half-written is taken for a result."""

import io
import json
import os
from types import SimpleNamespace
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import ray.train

from abaw_ray.cluster.training import checkpoint
from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from tools.clusters.namespaces.clusters import KEYS
from tools.clusters.namespaces.hosts import LAP

from faultproxy import FaultProxy, Rule

LARGE = 24 << 20
"""Bytes that no client sends in one piece."""


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
    """Makes a storage of this test behind the proxy; in every request whatever the rules say goes wrong."""

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


ONCE = {
    "an answer of 503 to each part's first try": [Rule("503", method="PUT", path="partNumber=", nth=(1, 3))],
    "three answers of 503 to the end of an upload": [Rule("503", method="POST", path="uploadId=", times=3)],
    "an answer of 500": [Rule("500", method="PUT", times=1)],
    "an answer of 429": [Rule("429", method="PUT", times=2)],
    "a connection that breaks before the store hears": [Rule("reset", times=2)],
    "an end of upload of which the answer is lost": [Rule("lost", method="POST", path="uploadId=", times=1)],
    "a part of which the answer is lost": [Rule("lost", method="PUT", path="partNumber=", times=1)],
    "a slow store": [Rule("delay", seconds=1.0, times=3)],
}


@pytest.mark.parametrize("name", ONCE)
def test_a_large_file_arrives_whole_in_spite_of(name, faulty, large, store):
    storage = faulty(*ONCE[name])
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
def test_a_large_file_is_read_whole_in_spite_of(rule, faulty, large, tmp_path):
    storage = faulty()
    storage.put_file(large, "large.bin")
    storage = faulty(rule)
    storage.get_file("large.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()


def test_what_never_goes_well_is_an_error_with_its_address_and_leaves_no_result(faulty, large):
    storage = faulty(Rule("503", method="PUT"), Rule("503", method="POST"), attempts=2)
    with pytest.raises(StorageError, match="s3://abaw/.*large.bin"):
        storage.put_file(large, "large.bin")
    storage = faulty()
    assert not storage.exists("large.bin")


class Saves:
    """Stands for the engine of a rank: a shard of many megabytes and a small file."""

    def save(self, folder, state):
        folder.mkdir(parents=True)
        (folder / "shard.pt").write_bytes(os.urandom(LARGE))
        (folder / "model.pt").write_bytes(json.dumps(state).encode())


@pytest.fixture
def checkpointed(monkeypatch):
    """Writes a checkpoint and uploads it as a report of Ray Train does; returns what was written."""
    place = SimpleNamespace(build_checkpoint_path_from_name=lambda name: name, storage_filesystem=pafs.LocalFileSystem())
    monkeypatch.setattr("ray.train.get_context", lambda: SimpleNamespace(get_storage=lambda: place))

    def make(storage):
        folder = checkpoint.write(Saves(), {"step": 7}, rank=0, world_size=1)
        written = {path.name: path.read_bytes() for path in (folder / "zero").iterdir()}
        try:
            checkpoint.uploader(storage, "run")(ray.train.Checkpoint.from_directory(folder), "checkpoint_1")
        finally:
            assert not folder.exists()
        return written

    return make


@pytest.mark.parametrize("name", ["an answer of 503 to each part's first try", "an end of upload of which the answer is lost"])
def test_a_checkpoint_arrives_whole_in_spite_of(name, faulty, checkpointed):
    written = checkpointed(faulty(*ONCE[name]))
    storage = faulty()
    folder, _ = checkpoint.fetch(storage, "run/checkpoint_1", world_size=1, convert=False)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == written
    checkpoint.delete_local_copy(storage, "run/checkpoint_1", world_size=1)


@pytest.mark.parametrize("lost", ["shard", "model"])
def test_a_checkpoint_of_which_a_file_never_arrives_is_an_error_and_is_not_taken_for_one(lost, faulty, checkpointed):
    with pytest.raises(StorageError, match=rf"s3://abaw/.*{lost}\.pt"):
        checkpointed(faulty(Rule("503", path=rf"{lost}\.pt"), attempts=2))
    with pytest.raises(StorageError, match=rf"{lost}\.pt: has 0 of"):
        checkpoint.fetch(faulty(), "run/checkpoint_1", world_size=1, convert=False)


def test_a_refused_key_is_said_at_once_and_not_shown(faulty, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anothersecret")
    with pytest.raises(StorageError) as caught:
        faulty().check()
    assert "anothersecret" not in str(caught.value) and "credentials" in str(caught.value)


def test_a_store_of_yesterday_is_named_the_setting_that_helps(store, large, monkeypatch):
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION", raising=False)  # which the tests before have set
    storage = Storage(StorageConfig(uri="s3://abaw/yesterday", endpoint=store.endpoint, attempts=1))
    with pytest.raises(StorageError, match="--storage.checksums when_required"):
        storage.put_file(large, "large.bin")


def test_tables_and_folders_are_the_same_there_as_on_a_disk(faulty, tmp_path):
    table = pa.table({"video": ["a", "b"] * 5000, "time": pa.array(range(10000), pa.float64())})
    here, there = Storage(StorageConfig(uri=str(tmp_path))), faulty()
    for storage in (here, there):
        for name in ("one/a.parquet", "one/two/b.parquet"):
            storage.write_table(name, table)
    assert here.files("", recursive=True) == there.files("", recursive=True)
    assert here.read_bytes("one/a.parquet") == there.read_bytes("one/a.parquet")
    for storage in (here, there):
        storage.delete("one/two")
        assert storage.files("one", recursive=True).keys() == {"a.parquet"}
        assert not storage.exists("one/two") and storage.table_rows("one/a.parquet") == 10000


DRAWN = {
    "train-subjects": 6,
    "val-subjects": 3,
    "test-subjects": 1,
    "video-duration-s": 2.4,
    "affectnet-train-images": 8,
    "affectnet-val-images": 8,
    "rafdb-train-images": 7,
    "rafdb-test-images": 7,
}


def test_a_job_through_a_bad_line_has_the_results_of_one_on_a_disk(hosts, proxy, store, tmp_path):
    job, alone = ["python", "jobs/prepare_faces.py", "smoke"], {"RAY_AUTH_MODE": "disabled"}
    small = [part for name, value in DRAWN.items() for part in (f"--data.synthetic.{name}", str(value))]
    drawn = ["--data.synthetic-dir", str(tmp_path / "data"), *small, "--data.synthetic.segment-duration-s", "0.4", "0.9"]
    hosts.run(LAP, *job, *drawn, "--storage", str(tmp_path / "runs"), env=alone)
    proxy.rules = [
        Rule("503", method="PUT", every=5),
        Rule("reset", every=13),
        Rule("lost", method="PUT", every=11),
        Rule("cut", method="GET", path="parquet", every=3),
    ]
    same = ["--data.no-use-synthetic", "--data.affwild2", str(tmp_path / "data/affwild2"), "--storage", "s3://abaw/badline"]
    hosts.run(LAP, *job, *same, "--endpoint", proxy.url, "--storage.checksums", "when_required", env=KEYS | alone)
    hits, proxy.rules = [rule.hits for rule in proxy.rules], []
    assert min(hits[:3]) > 0, hits
    there = {key.partition("/faces/")[2]: key for key in store.written("badline/faces/") if key.endswith(".parquet")}
    here = {str(path.relative_to(tmp_path / "runs/faces")): path for path in (tmp_path / "runs/faces").rglob("*.parquet")}
    assert here.keys() == there.keys() and len(here) > 5
    assert all(pq.read_table(path).equals(pq.read_table(io.BytesIO(store.read(there[name])))) for name, path in here.items())
