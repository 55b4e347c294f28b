"""Metadata of checkpoints: what the plan reads of a training that was interrupted."""

import pytest

from abaw_ray.cluster.training.checkpoints.file_list import CheckpointError
from abaw_ray.cluster.training.checkpoints.meta import META_FILE, CheckpointMeta, checkpoint_folder, fraction_trained, read_meta
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

ITEM = Item(name="run", identity="images")


@pytest.fixture
def store(tmp_path):
    return StageStore(Storage(StorageConfig(uri=str(tmp_path))), "encoder", {}, 1)


@pytest.fixture
def write(store):
    """A function that writes the metadata of the checkpoint of an hour."""

    def write(hour, text):
        store.storage.write_bytes(f"{checkpoint_folder(store, ITEM)}/checkpoint_2026-11-30_0{hour}-00-00/{META_FILE}", text.encode())

    return write


def test_the_newest_readable_checkpoint_gives_the_fraction_of_the_training(store, write):
    assert fraction_trained(store, ITEM) == 0.0
    write(0, CheckpointMeta(world_size=2, step=10, total_steps=40).to_json())
    write(1, CheckpointMeta(world_size=2, step=30, total_steps=40).to_json())
    store.storage.write_bytes(f"{checkpoint_folder(store, ITEM)}/best/3/model.safetensors", b"weights")
    assert fraction_trained(store, ITEM) == 0.75
    store.storage.write_bytes(f"{checkpoint_folder(store, ITEM)}/checkpoint_2026-11-30_02-00-00/zero/rank1.pt", b"of an upload that was cut off")
    assert fraction_trained(store, ITEM) == 0.75
    write(1, "{}")
    assert fraction_trained(store, ITEM) == 0.25


def test_a_training_whose_output_is_complete_is_done_although_its_checkpoints_are_deleted(store):
    store.complete_folder(ITEM, {})
    assert fraction_trained(store, ITEM) == 1.0


def test_metadata_of_an_earlier_version_count_as_the_start(store, write):
    write(0, '{"world_size": 2}')
    path = f"{checkpoint_folder(store, ITEM)}/checkpoint_2026-11-30_00-00-00"
    assert read_meta(store.storage, path) == CheckpointMeta(world_size=2)
    assert fraction_trained(store, ITEM) == 0.0


@pytest.mark.parametrize(("text", "message"), [("{}", "is not the file that was written"), ("{", "is not the file"), ("[1]", "is not the file")])
def test_damaged_metadata_are_an_error_with_their_address(store, write, text, message):
    write(0, text)
    with pytest.raises(CheckpointError, match=rf"checkpoint_2026-11-30_00-00-00/meta.json: {message}"):
        read_meta(store.storage, f"{checkpoint_folder(store, ITEM)}/checkpoint_2026-11-30_00-00-00")
