"""A column that is deleted from the outputs of a store: the outputs keep everything else, and it is known which have none."""

import pyarrow as pa
import pytest

from abaw_ray.core.errors import StorageError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.stage_store.stored_column import StoredColumn
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

ITEMS = [Item(name=f"video {number}", identity=str(number)) for number in range(4)]
CHIPS = [b"\x01" * 50_000, None]


@pytest.fixture(params=["disk", "object store"])
def store(tmp_path, request):
    config = StorageConfig(uri=str(tmp_path))
    if request.param == "object store":
        client = request.getfixturevalue("object_store")
        client.create_bucket(Bucket="bucket")
        config = StorageConfig(uri=f"s3://bucket/{tmp_path.name}", endpoint=client.meta.endpoint_url)  # moto keeps objects between servers
    return StageStore(Storage(config), "faces", {}, 1)


@pytest.fixture
def column(store):
    for item in ITEMS[:3]:
        write(store, item)
    return StoredColumn(store, "chip")


def write(store, item):
    table = pa.table({"frame": [1, 2], "chip": CHIPS, "track": ["main", "main"]}).replace_schema_metadata({"video": item.name})
    store.storage.write_table(store.output(item), table)


def finish(store, items=ITEMS[:3]):
    return store.finish(items, {}, 1.0)


def delete(column, record):
    return column.delete(record, "face crops", "videos")


def paths(store, items):
    return {store.output(item) for item in items}


def test_outputs_keep_their_other_columns_their_rows_and_their_record(column, store):
    record = finish(store)
    assert delete(column, record) > 40 * 3  # zstd packs equal bytes well
    for item in ITEMS[:3]:
        table = store.storage.read_table(store.output(item))
        assert table.to_pydict() == {"frame": [1, 2], "track": ["main", "main"]}
        assert table.schema.metadata[b"video"].decode() == item.name
    assert store.record(ITEMS[:3]) == record
    assert column.without(record.outputs.values()) == set(record.outputs.values())


def test_the_second_time_no_output_is_opened(column, store, monkeypatch):
    record = finish(store)
    delete(column, record)
    monkeypatch.setattr(Storage, "table_schema", lambda *_: pytest.fail("an output was opened"))
    assert delete(column, record) == 0


def test_only_outputs_that_are_new_in_a_record_are_opened(column, store, monkeypatch):
    delete(column, finish(store))
    write(store, ITEMS[3])
    opened, schema = [], Storage.table_schema
    monkeypatch.setattr(Storage, "table_schema", lambda storage, path: opened.append(path) or schema(storage, path))
    assert delete(column, finish(store, ITEMS)) > 0
    assert set(opened) == paths(store, ITEMS[3:])
    opened.clear()
    assert column.without(paths(store, ITEMS)) == paths(store, ITEMS) and opened == []


def test_where_nothing_was_deleted_no_output_is_opened(column, store, monkeypatch):
    monkeypatch.setattr(Storage, "table_schema", lambda *_: pytest.fail("an output was opened"))
    assert column.without(paths(store, ITEMS)) == set()


def test_an_interrupted_deletion_is_continued_and_what_has_the_column_counts_as_such(column, store, monkeypatch):
    record, write_table = finish(store), Storage.write_table

    def fail_at_second(storage, path, table):
        if path == store.output(ITEMS[1]):
            raise StorageError("no connection")
        write_table(storage, path, table)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write_table", fail_at_second)
        with pytest.raises(StorageError):
            delete(column, record)
    assert store.output(ITEMS[1]) not in column.without(paths(store, ITEMS))
    assert delete(column, record) > 0
    assert column.without(paths(store, ITEMS)) == paths(store, ITEMS[:3])


def test_what_is_made_again_is_found_and_deleted_again(column, store):
    record = finish(store)
    delete(column, record)
    column.expect([store.output(ITEMS[0])])
    write(store, ITEMS[0])
    assert column.without(paths(store, ITEMS)) == paths(store, ITEMS[1:3])
    assert delete(column, record) > 0
    assert column.without(paths(store, ITEMS)) == paths(store, ITEMS[:3])


def test_what_was_expected_and_is_not_made_counts_as_without(column, store):
    delete(column, finish(store))
    column.expect(paths(store, ITEMS[:1]))
    assert column.without(paths(store, ITEMS)) == paths(store, ITEMS[:3])


def test_an_output_that_is_gone_is_without_the_column_and_no_obstacle(column, store):
    record = finish(store)
    store.storage.delete(store.output(ITEMS[0]))
    assert delete(column, record) > 0
    column.expect(paths(store, ITEMS[:1]))
    assert column.without(paths(store, ITEMS[:3])) == paths(store, ITEMS[:3]) and column.is_listed


def test_the_index_of_the_store_stays_valid(column, store, monkeypatch):
    record, index = finish(store), store.index()
    index.rows(store.state(ITEMS, index).outputs.values())
    index.save()
    delete(column, record)
    monkeypatch.setattr(Storage, "table_rows", lambda *_: pytest.fail("a footer was read"))
    index = store.index()
    assert index.rows(store.state(ITEMS, index).outputs.values()) == 6
