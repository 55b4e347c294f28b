"""A worker of items, called in this process: retries, repeated items, stored failures."""

import json
from functools import partial

import pytest
from logged_work import LoggedWork

from abaw_ray.cluster.engine.workers.worker import ItemWorker, WorkerConfig, manifest
from abaw_ray.core.errors import ItemError, StorageError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage


def worker_of(build, store):
    return ItemWorker(WorkerConfig(store=store, build=build, longest_pause=0))


@pytest.fixture
def store(tmp_path):
    return StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "faces", {}, 1)


def task(name, payload=None, *, retried=()):
    return manifest([(Item(name=name, identity="1"), payload or {})], dict.fromkeys(retried))[0]


def test_an_item_whose_failure_cannot_be_stored_is_retried_later(tmp_path, store, monkeypatch):
    def no_answer(*_):
        raise StorageError("no answer")

    monkeypatch.setattr(StageStore, "write_failure", no_answer)
    (tmp_path / "calls").touch()
    row = worker_of(partial(LoggedWork, tmp_path / "calls"), store).process(task("e", {"bad": True}))
    assert (row["lost"], row["reason"], row["error"], row["finished"]) == ("no answer", "", b"", False)


def test_an_item_that_meets_a_full_disk_is_retried_later(store):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    row = worker_of(lambda: full_disk, store).process(task("e"))
    assert "the disk is full" in row["lost"] and not (row["reason"] or row["finished"])


def test_work_that_could_not_be_built_is_built_for_the_next_item(store):
    calls = []

    def build():
        calls.append(1)
        if len(calls) == 1:
            raise StorageError("no answer")
        return lambda *_: {"rows": 1}

    worker, row = worker_of(build, store), task("e")
    assert worker.process(row)["lost"] == "no answer"
    assert worker.process(row)["finished"] and worker.process(row)["finished"] and len(calls) == 2


def test_a_repeated_item_whose_output_exists_is_not_processed_again(tmp_path, store):
    worker = worker_of(partial(LoggedWork, tmp_path / "calls"), store)
    first, second = (worker.process(task("e", {"n": 3})) for _ in range(2))
    assert (tmp_path / "calls").read_text() == "e\n"
    assert first["finished"] and second["finished"]
    assert [json.loads(row["figures"])["rows"] for row in (first, second)] == [1, 1], "the number of rows is read from the footer of the output"


def test_a_repeated_item_that_failed_is_reported_again_and_not_processed_again(tmp_path, store):
    worker = worker_of(partial(LoggedWork, tmp_path / "calls"), store)
    for name, payload, reason in (("e", {"bad": True}, "not a video"), ("f", {"damaged": True}, "decoding broke; 5 good frames are kept")):
        first, second = (worker.process(task(name, payload)) for _ in range(2))
        assert first["reason"] == second["reason"] == reason and second["finished"]
    assert (tmp_path / "calls").read_text() == "e\nf\n"


def test_a_failure_that_is_retried_is_processed_again(tmp_path, store):
    worker = worker_of(partial(LoggedWork, tmp_path / "calls"), store)
    worker.process(task("e", {"damaged": True}))
    row = worker.process(task("e", {"n": 3}, retried=["e"]))
    assert (row["reason"], row["finished"]) == ("", True) and (tmp_path / "calls").read_text() == "e\ne\n"


def test_an_item_whose_worker_was_killed_between_failure_and_output_is_processed_again(tmp_path, store):
    item = Item(name="f", identity="1")
    store.write_failure(item, ItemError("decoding broke", last_frame=5))
    row = worker_of(partial(LoggedWork, tmp_path / "calls"), store).process(task("f", {"n": 3}))
    assert (row["reason"], row["finished"]) == ("", True)
