"""The index of a store: valid for what a listing shows, built again when it is missing or damaged."""

import os

import pyarrow as pa
import pytest

from abaw_ray.core.errors import ItemError, StorageError
from abaw_ray.core.stage_store import store_index
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

ITEMS = [Item(name=f"video {number}", identity=str(number)) for number in range(3)]


@pytest.fixture
def store(tmp_path):
    return StageStore(Storage(StorageConfig(uri=str(tmp_path))), "faces", {"size": 70}, 1)


@pytest.fixture
def footers(monkeypatch):
    """Paths whose footer is read."""
    paths, rows = [], Storage.table_rows
    monkeypatch.setattr(Storage, "table_rows", lambda storage, path: paths.append(path) or rows(storage, path))
    return paths


def write(store, item, rows):
    store.storage.write_table(store.output(item), pa.table({"n": list(range(rows))}))


def total(store):
    """Rows of all outputs, and what was read is kept."""
    index = store.index()
    rows = index.rows(store.state(ITEMS, index).outputs.values())
    index.save()
    return rows


def test_a_footer_is_read_once(store, footers):
    for item in ITEMS:
        write(store, item, 2)
    assert (total(store), len(footers)) == (6, 3)
    assert (total(store), len(footers)) == (6, 3)


def test_a_replaced_output_is_read_again_and_a_deleted_one_is_not_counted(store, footers):
    for item in ITEMS:
        write(store, item, 2)
    total(store)
    footers.clear()
    write(store, ITEMS[0], 5)
    store.storage.delete(store.output(ITEMS[1]))
    assert (total(store), footers) == (7, [store.output(ITEMS[0])])


def test_an_output_of_the_same_size_that_was_written_later_is_read_again(store, footers):
    write(store, ITEMS[0], 2)
    total(store)
    path = store.storage.uri(store.output(ITEMS[0]))
    stat = os.stat(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    total(store)
    assert len(footers) == 2


@pytest.mark.parametrize("content", [b"", b"PAR1 not a table", None])
def test_a_damaged_or_missing_index_is_built_again(store, footers, content):
    for item in ITEMS:
        write(store, item, 2)
    total(store)
    path = f"{store.path}/index.parquet"
    store.storage.delete(path) if content is None else store.storage.write_bytes(path, content)
    assert (total(store), len(footers)) == (6, 6)
    assert (total(store), len(footers)) == (6, 6)


def test_an_index_of_another_version_is_built_again(store, footers):
    write(store, ITEMS[0], 2)
    store.storage.write_table(f"{store.path}/index.parquet", pa.table({"file": ["outputs/x.parquet"]}))
    assert (total(store), total(store), len(footers)) == (2, 2, 1)


def test_a_failure_is_read_once_and_a_deleted_one_is_gone(store, monkeypatch):
    store.write_failure(ITEMS[0], ItemError("not a video"))
    index = store.index()
    assert store.state(ITEMS, index).failures["video 0"]["reason"] == "not a video"
    index.save()

    def no_answer(*_):
        raise StorageError("read again")

    monkeypatch.setattr(Storage, "read_bytes", no_answer)
    assert store.state(ITEMS).failures["video 0"]["reason"] == "not a video"
    store.forget_failures(ITEMS)
    assert store.state(ITEMS).failures == {}


def test_rows_that_are_known_are_not_read_and_saved_from_time_to_time(store, footers, monkeypatch):
    index = store.index()
    index.refresh()
    write(store, ITEMS[0], 2)
    index.add(store.output(ITEMS[0]), 2)
    assert not store.storage.exists(f"{store.path}/index.parquet"), "not at each item"
    monkeypatch.setattr(store_index, "_SAVE_INTERVAL", -1.0)
    write(store, ITEMS[1], 3)
    index.add(store.output(ITEMS[1]), 3)
    assert (total(store), footers) == (5, [])


def test_an_index_that_cannot_be_saved_ends_no_run(store, monkeypatch):
    def no_answer(*_):
        raise StorageError("no answer")

    index = store.index()
    write(store, ITEMS[0], 2)
    monkeypatch.setattr(store_index, "_SAVE_INTERVAL", -1.0)
    monkeypatch.setattr(Storage, "write_bytes", no_answer)
    index.add(store.output(ITEMS[0]), 2)


def test_a_store_without_changes_is_not_written_again(store, monkeypatch):
    write(store, ITEMS[0], 2)
    total(store)

    def refused(*_):
        raise AssertionError("written again")

    monkeypatch.setattr(Storage, "write_bytes", refused)
    assert total(store) == 2
