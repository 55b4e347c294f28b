import shutil
from collections import namedtuple

import pytest

from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.local_disk import own_disk

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch):
    """Sets the bytes left on the disk of temporary files."""
    return lambda count: monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1 << 40, (1 << 40) - count, count))


def fail(error):
    with own_disk():
        raise error


def test_a_full_disk_is_told_by_its_machine(free, monkeypatch):
    free(1 << 30)
    monkeypatch.setattr("platform.node", lambda: "worker-7")
    with pytest.raises(StorageError, match="^worker-7: .*No space left on device.*; the disk is full: make room there"):
        fail(OSError(28, "No space left on device"))


def test_an_error_that_does_not_say_so_is_told_by_what_is_left(free):
    free(4096)
    with pytest.raises(StorageError, match="PytorchStreamWriter failed; the disk is full"):
        fail(RuntimeError("PytorchStreamWriter\n failed"))


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), FileNotFoundError(2, "No such file"), ValueError("no")])
def test_other_errors_stay_as_they_are(free, error):
    free(1 << 30)
    with pytest.raises(type(error)):
        fail(error)
