"""Checkpoints in storage: what is not whole is not loaded."""

import errno
import json
import tempfile

import pytest

from abaw_ray.cluster.training.checkpoint import drop, fetch, write
from abaw_ray.core.errors import StorageError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.images import node_folder


@pytest.fixture
def stored(tmp_path):
    """A checkpoint of two ranks as both have uploaded it."""
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    storage.write_bytes("run/c1/meta.json", json.dumps({"ranks": 2}).encode())
    storage.write_bytes("run/c1/zero/state/model.pt", b"model")
    for rank in range(2):
        storage.write_bytes(f"run/c1/zero/state/rank{rank}.pt", b"shard")
    storage.write_bytes("run/c1/files-0.json", json.dumps({"meta.json": 12, "zero/state/model.pt": 5, "zero/state/rank0.pt": 5}).encode())
    storage.write_bytes("run/c1/files-1.json", json.dumps({"zero/state/rank1.pt": 5}).encode())
    yield storage
    drop(storage, "run/c1", ranks=2)
    drop(storage, "run/c1", ranks=4)


def test_a_whole_checkpoint_comes_to_the_node_once_and_goes_when_it_is_dropped(stored):
    folder, converted = fetch(stored, "run/c1", ranks=2, convert=True)
    assert not converted
    assert sorted(path.name for path in (folder / "state").iterdir()) == ["model.pt", "rank0.pt", "rank1.pt"]
    (folder / "state" / "mark").touch()
    assert fetch(stored, "run/c1", ranks=2, convert=True) == (folder, False)
    assert (folder / "state" / "mark").exists()
    drop(stored, "run/c1", ranks=2)
    assert not folder.exists()


def test_stage_zero_needs_no_conversion_for_another_number_of_ranks(stored):
    assert not fetch(stored, "run/c1", ranks=4, convert=False)[1]


@pytest.mark.parametrize(("lost", "said"), [("files-1.json", "rank 1 of 2 are missing"), ("zero/state/rank1.pt", "rank1.pt: has 0 of 5 bytes")])
def test_a_checkpoint_that_lost_a_file_is_refused_by_name(stored, lost, said):
    stored.delete(f"run/c1/{lost}")
    with pytest.raises(StorageError, match=said):
        fetch(stored, "run/c1", ranks=2, convert=True)


def test_a_file_that_was_cut_short_is_refused_by_name(stored):
    stored.write_bytes("run/c1/zero/state/model.pt", b"mod")
    with pytest.raises(StorageError, match=r"model.pt: has 3 of 5 bytes"):
        fetch(stored, "run/c1", ranks=2, convert=True)
    assert not list(node_folder().glob(f"checkpoint-{digest([stored.uri('run/c1'), 2])}*/"))


class BreaksOff:
    """An engine whose save ends in the middle."""

    def __init__(self, error):
        self.error = error

    def save(self, folder, state):
        folder.mkdir()
        (folder / "shard.pt").write_bytes(b"half of it")
        raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_checkpoint_that_is_broken_off_leaves_nothing_on_the_disk(tmp_path, monkeypatch, error):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(type(error)):
        write(BreaksOff(error), {}, rank=0, ranks=2)
    assert not list(tmp_path.iterdir())
