import os
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from abaw_ray.core.errors import ConfigError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, resolve
from abaw_ray.core.storage.storage import Storage


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path / "root"), attempts=3))


def test_what_is_written_is_read_back_and_listed_with_its_size(storage):
    storage.write_bytes("a/b.txt", b"hello")
    assert storage.read_bytes("a/b.txt") == b"hello"
    assert storage.files("a") == {"b.txt": 5}
    assert storage.files("nowhere") == {}
    assert storage.files("", recursive=True) == {"a/b.txt": 5}


def test_a_table_comes_back_with_its_schema(storage):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float16)), 3)
    table = pa.table([vectors], schema=pa.schema([pa.field("v", pa.list_(pa.float16(), 3), nullable=False)]))
    storage.write_table("t.parquet", table)
    assert storage.read_table("t.parquet").schema.equals(table.schema)
    assert storage.read_table("t.parquet").equals(table)


@contextmanager
def full_disk():
    """No file of this process grows beyond some bytes, as on a disk without room; a log that takes its output neither, so: not for long."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_bytes_that_the_disk_does_not_take_leave_nothing_under_the_final_name(storage):
    storage.write_bytes("part", b"old")
    with pytest.raises(StorageError, match="too large"), full_disk():
        storage.write_bytes("part", bytes(1000))
    assert storage.read_bytes("part") == b"old"
    assert list(storage.files("")) == ["part"]


def test_a_file_that_the_disk_does_not_take_leaves_nothing_under_the_final_name(storage, tmp_path):
    storage.write_bytes("part", b"old")
    (tmp_path / "new").write_bytes(bytes(1000))
    with pytest.raises(StorageError, match="too large"), full_disk():
        storage.put_file(tmp_path / "new", "part")
    assert storage.read_bytes("part") == b"old"
    assert list(storage.files("")) == ["part"]


def test_a_file_that_arrives_short_is_an_error_though_nobody_said_anything(storage, tmp_path, monkeypatch):
    (tmp_path / "new").write_bytes(b"hello")
    monkeypatch.setattr("shutil.copyfile", lambda source, target: Path(target).write_bytes(Path(source).read_bytes()[:3]))
    with pytest.raises(StorageError, match="3 of 5 bytes arrived"):
        storage.put_file(tmp_path / "new", "part")


def test_a_file_is_put_where_the_store_is_no_disk(storage, tmp_path, monkeypatch):
    (tmp_path / "new").write_bytes(b"hello")
    monkeypatch.setattr("abaw_ray.core.storage.storage.resolve", lambda *_: (pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "store"))
    (tmp_path / "store").mkdir()
    Storage(storage.config).put_file(tmp_path / "new", "part")
    assert (tmp_path / "store" / "part").read_bytes() == b"hello"


def test_a_file_has_its_name_only_when_the_disk_has_its_content(storage, tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (events.append((os.fstat(file).st_size, "on the disk")), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda source, target: (events.append("named"), replace(source, target)))
    (tmp_path / "new").write_bytes(b"hello")
    storage.put_file(tmp_path / "new", "part")
    storage.write_bytes("other", b"bytes")
    assert events == [(5, "on the disk"), "named"] * 2


class HalfWay:
    """A store that is no disk, on which every upload is broken off."""

    def __init__(self, error):
        self.error, self.inner = error, pafs.LocalFileSystem()

    def open_output_stream(self, path):
        self.out = self.inner.open_output_stream(path)
        return self

    def write(self, data):
        self.out.write(data[:2])
        raise self.error

    def close(self):
        self.out.close()

    def delete_file(self, path):
        self.inner.delete_file(path)


@pytest.mark.parametrize("error", [OSError("Input/output error"), KeyboardInterrupt()])
def test_an_upload_that_is_broken_off_leaves_no_half_object(storage, tmp_path, monkeypatch, error):
    (tmp_path / "new").write_bytes(b"hello")
    (tmp_path / "store").mkdir()
    monkeypatch.setattr("abaw_ray.core.storage.retries.wait_random_exponential", lambda **_: lambda state: 0)
    monkeypatch.setattr("abaw_ray.core.storage.storage.resolve", lambda *_: (HalfWay(error), str(tmp_path / "store")))
    for upload in (lambda there: there.put_file(tmp_path / "new", "part"), lambda there: there.write_bytes("part", b"hello")):
        with pytest.raises((StorageError, KeyboardInterrupt)):
            upload(Storage(storage.config))
        assert list((tmp_path / "store").iterdir()) == []


def test_a_broken_connection_is_tried_again(storage, monkeypatch):
    calls = []
    original = pafs.LocalFileSystem.open_input_file

    def flaky(self, path):
        calls.append(path)
        if len(calls) < 3:
            raise OSError("connection reset")
        return original(self, path)

    storage.write_bytes("a", b"1")
    monkeypatch.setattr("abaw_ray.core.storage.retries.wait_random_exponential", lambda **_: lambda state: 0)
    monkeypatch.setattr("abaw_ray.core.storage.storage.resolve", lambda *_: (Flaky(flaky), resolve(storage.uri())[1]))
    assert Storage(storage.config).read_bytes("a") == b"1"
    assert len(calls) == 3


class Flaky:
    """A local file system whose reads go through a function of the test."""

    def __init__(self, read):
        self.read, self.inner = read, pafs.LocalFileSystem()

    def open_input_file(self, path):
        return self.read(self.inner, path)


def test_a_missing_file_is_not_tried_again(storage):
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("missing")


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match=r"storage\.uri"):
        StorageConfig(uri="")
    with pytest.raises(StorageError, match="names no bucket"):
        resolve("s3://")
    with pytest.raises(StorageError, match="use a local folder"):
        resolve("ftp7://somewhere/else")


def test_a_folder_that_cannot_be_written_says_so_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="check the address") as caught:
        Storage(StorageConfig(uri=str(tmp_path / "file" / "below"), attempts=1)).check()
    assert "\n" not in str(caught.value)


def test_a_copy_for_which_this_machine_has_no_room_is_not_the_stores_fault_and_leaves_nothing(storage, tmp_path, monkeypatch):
    storage.write_bytes("part", b"hello")

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", no_room)
    with pytest.raises(StorageError, match="No space left on device; the disk is full"):
        storage.get_file("part", tmp_path / "here" / "part")
    assert list((tmp_path / "here").iterdir()) == []
