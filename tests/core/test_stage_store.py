from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from abaw_ray.core.errors import ItemError, StageError
from abaw_ray.core.settings import NO_RESULT
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

ITEMS = [Item(name=f"video {number}", identity=str(number)) for number in range(4)]


def store_of(tmp_path, settings=None, inputs=()):
    return StageStore(Storage(StorageConfig(uri=str(tmp_path))), "faces", settings or {"size": 70}, 1, tuple(inputs))


def write(store, items):
    for item in items:
        store.storage.write_table(store.output(item), pa.table({"a": [1]}))


def test_there_is_no_record_before_every_item_has_its_output(tmp_path):
    store = store_of(tmp_path)
    write(store, ITEMS[:3])
    with pytest.raises(StageError, match="1 of 4 items have no result, first video 3"):
        store.finish(ITEMS, {}, 1.0)
    assert store.record(ITEMS) is None
    write(store, ITEMS[3:])
    record = store.finish(ITEMS, {"frames": 4}, 1.0)
    assert store.record(ITEMS) == record
    assert list(record.outputs) == [item.name for item in ITEMS]


def test_a_record_is_valid_for_its_set_of_items_only_and_finished_outputs_for_any(tmp_path):
    store = store_of(tmp_path)
    write(store, ITEMS[:2])
    store.finish(ITEMS[:2], {}, 1.0)
    assert store.record(ITEMS) is None
    assert set(store.finished(ITEMS)) == {"video 0", "video 1"}


def test_other_settings_inputs_or_revision_give_another_address(tmp_path):
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    addresses = {
        store_of(tmp_path).path,
        store_of(tmp_path, {"size": 98}).path,
        store_of(tmp_path, inputs=["x"]).path,
        StageStore(storage, "faces", {"size": 70}, 2).path,
    }
    assert len(addresses) == 4
    assert store_of(tmp_path / "elsewhere").path == store_of(tmp_path).path


@dataclass(frozen=True, kw_only=True)
class Model:
    size: int = 70
    weights: str = field(default="here", metadata=NO_RESULT)


def test_the_location_of_a_file_changes_no_address_and_is_in_the_record(tmp_path):
    store = store_of(tmp_path, Model(weights="there"))
    assert store.path == store_of(tmp_path, Model()).path != store_of(tmp_path, Model(size=98)).path
    write(store, ITEMS)
    assert store.finish(ITEMS, {}, 1.0).settings == {"size": 70, "weights": "there"}


def test_an_item_of_changed_content_has_another_output(tmp_path):
    store = store_of(tmp_path)
    write(store, ITEMS[:1])
    assert not store.finished([Item(name="video 0", identity="changed")])


def test_names_that_differ_only_in_special_characters_have_different_keys():
    assert Item(name="a/b", identity="1").key != Item(name="a_b", identity="1").key


def test_one_failure_is_always_allowed_and_is_in_the_record(tmp_path):
    store = store_of(tmp_path)
    write(store, ITEMS[:3])
    store.write_failure(ITEMS[3], ItemError("not a\nvideo", last_frame=7))
    record = store.finish(ITEMS, {}, 1.0)
    assert record.failures == [{"item": "video 3", "stage": "faces", "reason": "not a video", "last_frame": 7}]


def test_more_failures_than_allowed_fail_the_stage_and_finished_outputs_are_kept(tmp_path):
    store = store_of(tmp_path)
    write(store, ITEMS[:2])
    for item in ITEMS[2:]:
        store.write_failure(item, ItemError("broken"))
    with pytest.raises(StageError, match="2 of 4 items failed.*video 2: broken.*--retry-failures, or raise --max-failures") as caught:
        store.finish(ITEMS, {}, 1.0)
    root = store.storage.uri(store.path)
    assert f"2 good outputs are kept in {root}/outputs, all reasons in {root}/failures" in str(caught.value) and "\n" not in str(caught.value)
    assert len(store.finished(ITEMS)) == 2
    store.forget_failures(ITEMS)
    assert store.failures(ITEMS) == {}


def test_a_stage_without_any_good_item_is_never_complete(tmp_path):
    store = store_of(tmp_path)
    store.write_failure(ITEMS[0], ItemError("broken"))
    with pytest.raises(StageError, match="1 of 1 items failed, none is good; first video 0: broken; all reasons are in .*/failures; fix them"):
        store.finish(ITEMS[:1], {}, 1.0)


def test_an_output_of_several_files_counts_only_when_it_is_complete(tmp_path):
    store = store_of(tmp_path)
    store.storage.write_bytes(f"{store.output(ITEMS[0], '')}/model.safetensors", b"123")
    assert not store.finished(ITEMS)
    store.complete_folder(ITEMS[0], {"loss": 1.5})
    assert store.finished(ITEMS) == {"video 0": store.output(ITEMS[0], "")}
    assert store.folder_figures(ITEMS[0]) == {"loss": 1.5}
