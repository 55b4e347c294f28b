"""Checkpoints in storage: local copies, and errors of incomplete ones."""

import errno
import json
import tempfile

import pytest

from abaw_ray.cluster.training.checkpoint import delete_local_copy, fetch, write
from abaw_ray.core.errors import StorageError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.images import node_cache_folder


@pytest.fixture
def stored(tmp_path):
    """Storage with a checkpoint of two ranks, as both upload it."""
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    storage.write_bytes("run/c1/meta.json", json.dumps({"world_size": 2}).encode())
    storage.write_bytes("run/c1/zero/state/model.pt", b"model")
    for rank in range(2):
        storage.write_bytes(f"run/c1/zero/state/rank{rank}.pt", b"shard")
    storage.write_bytes("run/c1/files-0.json", json.dumps({"meta.json": 17, "zero/state/model.pt": 5, "zero/state/rank0.pt": 5}).encode())
    storage.write_bytes("run/c1/files-1.json", json.dumps({"zero/state/rank1.pt": 5}).encode())
    yield storage
    delete_local_copy(storage, "run/c1", world_size=2)
    delete_local_copy(storage, "run/c1", world_size=4)


def test_a_complete_checkpoint_is_downloaded_once_per_node_until_its_copy_is_deleted(stored):
    folder, universal = fetch(stored, "run/c1", world_size=2, convert=True)
    assert not universal
    assert sorted(path.name for path in (folder / "state").iterdir()) == ["model.pt", "rank0.pt", "rank1.pt"]
    (folder / "state" / "mark").touch()
    assert fetch(stored, "run/c1", world_size=2, convert=True) == (folder, False)
    assert (folder / "state" / "mark").exists()
    delete_local_copy(stored, "run/c1", world_size=2)
    assert not folder.exists()


def test_stage_zero_needs_no_conversion_for_another_number_of_ranks(stored):
    assert not fetch(stored, "run/c1", world_size=4, convert=False)[1]


@pytest.mark.parametrize(("lost", "message"), [("files-1.json", "rank 1 of 2 are missing"), ("zero/state/rank1.pt", "rank1.pt: has 0 of 5 bytes")])
def test_a_checkpoint_with_a_missing_file_is_refused_by_name(stored, lost, message):
    stored.delete(f"run/c1/{lost}")
    with pytest.raises(StorageError, match=message):
        fetch(stored, "run/c1", world_size=2, convert=True)


def test_a_truncated_file_is_refused_by_name(stored):
    stored.write_bytes("run/c1/zero/state/model.pt", b"mod")
    with pytest.raises(StorageError, match=r"model.pt: has 3 of 5 bytes"):
        fetch(stored, "run/c1", world_size=2, convert=True)
    assert not list(node_cache_folder().glob(f"checkpoint-{digest([stored.uri('run/c1'), 2])}*/"))


class FailingEngine:
    """An engine whose save raises after half of a file."""

    def __init__(self, error):
        self.error = error

    def save(self, folder, state):
        folder.mkdir()
        (folder / "shard.pt").write_bytes(b"half of it")
        raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_checkpoint_leaves_nothing_on_the_disk(tmp_path, monkeypatch, error):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(type(error)):
        write(FailingEngine(error), {}, rank=0, world_size=2)
    assert not list(tmp_path.iterdir())
