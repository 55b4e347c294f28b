import shutil
from collections import namedtuple

import pytest
from safetensors import SafetensorError

from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch):
    """Sets the free bytes of the disk of temporary files."""
    return lambda count: monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1 << 40, (1 << 40) - count, count))


def fail(error):
    with disk_full_to_storage_error():
        raise error


def test_an_error_of_a_full_disk_names_the_machine(free, monkeypatch):
    free(1 << 30)
    monkeypatch.setattr("platform.node", lambda: "worker-7")
    with pytest.raises(StorageError, match="^worker-7: .*No space left on device.*; the disk is full: free space there"):
        fail(OSError(28, "No space left on device"))


def test_an_error_without_a_disk_full_code_is_converted_where_little_space_is_free(free):
    free(4096)
    with pytest.raises(StorageError, match="PytorchStreamWriter failed; the disk is full"):
        fail(RuntimeError("PytorchStreamWriter\n failed"))


def test_a_full_disk_is_recognized_by_the_message_of_safetensors(free):
    free(1 << 30)  # where the deletion of the temporary folder has made space again
    with pytest.raises(StorageError, match="No space left on device.*; the disk is full"):
        fail(SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"))


def test_an_error_of_ours_keeps_its_message(free):
    free(0)
    with pytest.raises(StorageError, match="^s3://bucket: No space left on device$"):
        fail(StorageError("s3://bucket: No space left on device"))


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), FileNotFoundError(2, "No such file"), ValueError("no")])
def test_other_errors_are_raised_unchanged(free, error):
    free(1 << 30)
    with pytest.raises(type(error)):
        fail(error)
